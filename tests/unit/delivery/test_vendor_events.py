"""How each vendor's own terms are mapped: the cases beyond those that all vendors share."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from libs.contracts.outcomes import ReceiptKind
from services.delivery.adapters.vendors import readers
from services.delivery.domain.callbacks import Callback, Opinion
from services.delivery.domain.mail_vendors import MailNews, Reading
from tests.conformance.webhook_http_senders import Brevo, Mailgun, Postmark, SendGrid, SparkPost
from tests.conformance.webhook_senders import Amazon, Ses, WebhookSender, keys_of

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
PATH = "b-path@bounce.shop.example"
AMAZON = Amazon()
B, D, U = ReceiptKind.BOUNCED, ReceiptKind.DROPPED, ReceiptKind.UNSUBSCRIBED


async def read(sender: WebhookSender, event: Any) -> Reading:
    post = sender.post([event], NOW)
    callback = Callback("https://depesche.example/x", post.headers, post.body)
    return await readers(AMAZON.fetch)[sender.vendor].read(callback, keys_of(sender), NOW)


async def news(sender: WebhookSender, event: Any) -> MailNews:
    reading = await read(sender, event)
    assert reading.unreadable == []
    [one] = reading.news
    return one


async def said(sender: WebhookSender, event: Any) -> ReceiptKind | None:
    found = (await read(sender, event)).news
    return found[0].kind if found else None


# ---- Amazon SES


def bounce(kind: str, sub: str, *recipients: dict[str, str]) -> Any:
    event = Ses(AMAZON).event("hard", PATH, NOW)
    event["bounce"] |= {"bounceType": kind, "bounceSubType": sub}
    if recipients:
        event["bounce"]["bouncedRecipients"] = list(recipients)
    return event


@pytest.mark.parametrize(
    ("kind", "sub", "expected"),
    [
        ("Permanent", "General", (B, None, True)),
        ("Permanent", "NoEmail", (B, "unknown-user", True)),
        ("Permanent", "Suppressed", (D, None, True)),
        ("Permanent", "OnAccountSuppressionList", (D, None, True)),
        ("Permanent", "SuppressedByAnotherList", (D, None, True)),
        ("Transient", "General", (B, None, False)),
        ("Transient", "MailboxFull", (B, "mailbox-full", False)),
        ("Transient", "MessageTooLarge", (B, "too-large", False)),
        ("Undetermined", "Undetermined", (B, None, None)),
        ("Permanent", "SomethingNew", (B, None, True)),
    ],
)
async def test_amazon_bounce_types(kind: str, sub: str, expected: tuple[Any, ...]) -> None:
    one = await news(Ses(AMAZON), bounce(kind, sub))
    assert one.opinion is not None
    assert (one.kind, one.opinion.category, one.opinion.permanent) == expected
    assert one.opinion.vendor_class == f"{kind}/{sub}"


async def test_among_several_recipients_ours_is_reported() -> None:
    """An alias leads to other addresses; their status is not that of ours."""
    other = {"emailAddress": "sam@other.example", "status": "5.1.1", "diagnosticCode": "smtp; 550 5.1.1 gone"}
    ours = {"emailAddress": "Kim@customer.example", "status": "4.2.2", "diagnosticCode": "smtp; 452 4.2.2 full"}
    one = await news(Ses(AMAZON), bounce("Permanent", "General", other, ours))
    assert (one.text, one.enhanced) == ("452 4.2.2 full", "4.2.2")
    alone = await news(Ses(AMAZON), bounce("Permanent", "General", other))
    assert alone.text == "550 5.1.1 gone"


async def test_a_bounce_without_recipients_has_no_text() -> None:
    event = bounce("Permanent", "General")
    event["bounce"]["bouncedRecipients"] = []
    assert (await news(Ses(AMAZON), event)).text is None


@pytest.mark.parametrize(
    ("complaint", "kind"),
    [
        ({"complaintFeedbackType": "abuse"}, ReceiptKind.COMPLAINED),
        ({}, ReceiptKind.COMPLAINED),
        ({"complaintFeedbackType": "fraud"}, ReceiptKind.COMPLAINED),
        ({"complaintFeedbackType": "not-spam"}, None),
        ({"complaintFeedbackType": "auth-failure"}, None),
        ({"complaintSubType": "OnAccountSuppressionList"}, D),  # nothing was sent, so this is no complaint
    ],
)
async def test_amazon_complaints(complaint: dict[str, str], kind: ReceiptKind | None) -> None:
    event = Ses(AMAZON).event("complaint", PATH, NOW)
    event["complaint"] = complaint
    assert await said(Ses(AMAZON), event) is kind


@pytest.mark.parametrize(
    ("wishes", "kind"),
    [
        ({"unsubscribeAll": True}, U),
        ({"topicSubscriptionStatus": [{"topicName": "news", "subscriptionStatus": "OptOut"}]}, U),
        ({"topicSubscriptionStatus": [{"topicName": "news", "subscriptionStatus": "OptIn"}]}, None),
    ],
)
async def test_amazon_subscriptions(wishes: dict[str, Any], kind: ReceiptKind | None) -> None:
    event = Ses(AMAZON).event("unsubscribe", PATH, NOW)
    event["subscription"]["newTopicPreferences"] = wishes
    assert await said(Ses(AMAZON), event) is kind


async def test_identity_notifications_carry_their_type_in_another_field() -> None:
    event = Ses(AMAZON).event("delivered", PATH, NOW)
    event["notificationType"] = event.pop("eventType")
    assert await said(Ses(AMAZON), event) is ReceiptKind.DELIVERED


# ---- the other vendors


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"type": "bounce", "bounce_classification": "Mailbox Unavailable"}, (None, True)),
        ({"type": "blocked", "bounce_classification": "Reputation"}, ("reputation-block", False)),
        ({"type": "expired", "bounce_classification": ""}, ("expired", False)),
        ({"type": "new", "bounce_classification": ""}, (None, None)),
    ],
)
async def test_sendgrid_bounce_types(changes: dict[str, str], expected: tuple[Any, ...]) -> None:
    one = await news(SendGrid(), SendGrid().event("hard", PATH, NOW) | changes)
    assert one.opinion is not None
    assert (one.opinion.category, one.opinion.permanent) == expected


async def test_a_generic_status_is_ignored_in_favour_of_the_text() -> None:
    one = await news(SendGrid(), SendGrid().event("hard", PATH, NOW) | {"status": "5.0.0"})
    assert one.enhanced is None


async def test_a_group_unsubscribe_counts_and_a_resubscribe_does_not() -> None:
    event = SendGrid().event("unsubscribe", PATH, NOW)
    assert await said(SendGrid(), event | {"event": "group_unsubscribe"}) is U
    assert await said(SendGrid(), event | {"event": "group_resubscribe"}) is None


@pytest.mark.parametrize(
    ("changes", "kind", "opinion"),
    [
        ({}, B, Opinion("permanent/bounce", None, True)),
        ({"reason": "old"}, B, Opinion("permanent/old", "expired", False)),
        ({"severity": "temporary"}, ReceiptKind.DEFERRED, Opinion("temporary/bounce", None, False)),
        ({"reason": "suppress-complaint"}, D, Opinion("permanent/suppress-complaint", None, True)),
        ({"reason": "suppress-unsubscribe"}, D, Opinion("permanent/suppress-unsubscribe", None, True)),
    ],
)
async def test_mailgun_failures(changes: dict[str, str], kind: ReceiptKind, opinion: Opinion) -> None:
    one = await news(Mailgun(), Mailgun().event("hard", PATH, NOW) | changes)
    assert (one.kind, one.opinion, one.reply_code, one.enhanced) == (kind, opinion, 550, "5.1.1")


async def test_mailguns_own_codes_are_not_reply_codes() -> None:
    assert (await news(Mailgun(), Mailgun().event("dropped", PATH, NOW))).reply_code is None


async def test_mailgun_also_returns_the_path_in_the_envelope() -> None:
    event = Mailgun().event("hard", PATH, NOW)
    del event["user-variables"]
    assert PATH in (await news(Mailgun(), event | {"envelope": {"sender": PATH}})).paths


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("HardBounce", (B, None, True)),
        ("BadEmailAddress", (B, "unknown-user", True)),
        ("AddressChange", (B, "moved", False)),
        ("SpamNotification", (B, "spam-content", False)),
        ("DMARCPolicy", (B, "auth-failure", False)),
        ("Unsubscribe", (U, None, None)),
        ("SpamComplaint", (ReceiptKind.COMPLAINED, None, None)),
        ("SMTPApiError", (ReceiptKind.FAILED, None, None)),
    ],
)
async def test_postmark_bounce_types(kind: str, expected: tuple[Any, ...]) -> None:
    one = await news(Postmark(), Postmark().event("hard", PATH, NOW) | {"Type": kind})
    assert one.opinion is not None
    assert (one.kind, one.opinion.category, one.opinion.permanent) == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"Origin": "Customer"},  # by somebody of the shop
        {"Origin": "Admin"},
        {"SuppressSending": False},  # subscribed again
        {"SuppressionReason": "HardBounce"},  # has a webhook of its own
        {"SuppressionReason": "SpamComplaint"},
    ],
)
async def test_only_the_recipients_own_request_is_an_unsubscribe(changes: dict[str, Any]) -> None:
    event = Postmark().event("unsubscribe", PATH, NOW)
    assert await said(Postmark(), event) is U
    assert await said(Postmark(), event | changes) is None


@pytest.mark.parametrize(
    ("bounce_class", "expected"),
    [
        ("10", (B, "unknown-user", True)),
        ("22", (B, "mailbox-full", False)),
        ("30", (B, None, True)),
        ("54", (B, "relay-denied", False)),
        ("25", (D, None, None)),
        ("90", (U, None, None)),
        ("77", (B, None, None)),  # not in the table
        (10, (B, "unknown-user", True)),
    ],
)
async def test_sparkpost_classes(bounce_class: Any, expected: tuple[Any, ...]) -> None:
    event = SparkPost().event("hard", PATH, NOW)
    event["msys"]["message_event"]["bounce_class"] = bounce_class
    one = await news(SparkPost(), event)
    assert one.opinion is not None
    assert (one.kind, one.opinion.category, one.opinion.permanent) == expected


async def test_a_sparkpost_ping_is_no_event() -> None:
    reading = await read(SparkPost(), {"msys": {}})
    assert (reading.news, reading.ignored, reading.unreadable) == ([], 1, [])


@pytest.mark.parametrize(
    ("sender", "event"),
    [
        (Mailgun(), Mailgun().event("opened", PATH, NOW) | {"client-info": {"bot": "apple"}}),
        (Mailgun(), Mailgun().event("clicked", PATH, NOW) | {"client-info": {"bot": "generic"}}),
        (Mailgun(), Mailgun().event("opened", PATH, NOW) | {"client-info": {"client-name": "Firefox"}}),
    ],
)
async def test_opens_and_clicks_by_bots_are_ignored(sender: WebhookSender, event: Any) -> None:
    assert (await said(sender, event) is None) is ("bot" in event["client-info"])


@pytest.mark.parametrize("fetched", [True, False])
async def test_sparkposts_prefetched_opens_are_ignored(fetched: bool) -> None:
    event = SparkPost().event("opened", PATH, NOW)
    next(iter(event["msys"].values()))["is_prefetched"] = fetched
    assert await said(SparkPost(), event) is (None if fetched else ReceiptKind.OPENED)


@pytest.mark.parametrize(
    ("sender", "fields"),
    [
        (SendGrid(), ["type", "bounce_classification", "status"]),
        (Mailgun(), ["severity", "reason", "client-info"]),
        (Postmark(), ["Details", "Description", "Origin"]),
        (Brevo(), ["reason", "link", "ts_event"]),
    ],
)
async def test_null_fields_count_as_absent(sender: WebhookSender, fields: list[str]) -> None:
    for field in fields:
        reading = await read(sender, sender.event("hard", PATH, NOW) | {field: None})
        assert (reading.unreadable, len(reading.news)) == ([], 1), field


async def test_null_fields_of_nested_events_count_as_absent() -> None:
    event = SparkPost().event("hard", PATH, NOW)
    next(iter(event["msys"].values())).update(bounce_class=None, fbtype=None, msg_from=None, reason=None)
    assert (await news(SparkPost(), event)).kind is B
    event = bounce("Permanent", "General")
    event["bounce"] |= {"bounceType": None, "bounceSubType": None}
    assert (await news(Ses(AMAZON), event)).kind is B


@pytest.mark.parametrize("changes", [{}, {"ts_event": None, "ts_epoch": int(NOW.timestamp() * 1_000) - 60_000}])
async def test_brevo_times_are_in_seconds_or_milliseconds(changes: dict[str, Any]) -> None:
    event = Brevo().event("hard", PATH, NOW - timedelta(minutes=1)) | changes
    assert (await news(Brevo(), event)).at == NOW - timedelta(minutes=1)


async def test_two_brevo_clicks_are_two_events() -> None:
    event = Brevo().event("clicked", PATH, NOW)
    first, again = [await news(Brevo(), event) for _ in range(2)]
    other = await news(Brevo(), event | {"link": "https://shop.example/other"})
    assert first.event_id == again.event_id != other.event_id


@pytest.mark.parametrize("sender", [SendGrid(), Mailgun(), Postmark(), SparkPost(), Brevo(), Ses(AMAZON)])
async def test_event_times_are_capped_at_the_present(sender: WebhookSender) -> None:
    """Lifting a suppression ends what was known before it: evidence dated tomorrow would suppress the address again."""
    event = sender.event("hard", PATH, NOW + timedelta(days=300))
    assert (await news(sender, event)).at == NOW
