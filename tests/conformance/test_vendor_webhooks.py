"""What every reader of a mail vendor's webhooks promises, tested with that vendor's signature scheme."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from libs.contracts.outcomes import ReceiptKind
from libs.errors import BadRequest, Invalid, Unauthorized
from libs.verp import ReturnPath
from services.bounce.domain.categories import CATEGORIES
from services.delivery.adapters.vendors import HEADERS, brevo, postmark, readers, sendgrid, ses, sparkpost
from services.delivery.domain.callbacks import Callback
from services.delivery.domain.mail_vendors import Reading, Vendor, WebhookKeys
from tests.conformance.webhook_http_senders import Brevo, Mailgun, Postmark, SendGrid, SparkPost, basic
from tests.conformance.webhook_senders import Amazon, Post, Ses, WebhookSender, keys_of

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
PATH = ReturnPath(b"v" * 32, "bounce.shop.example").make(UUID("01936b1e-7c00-8000-8000-000000000001"), 17, 1)
AMAZON = Amazon()
MAKERS: dict[str, Callable[[], WebhookSender]] = {
    "ses": lambda: Ses(AMAZON),
    "ses signed by SHA-1": lambda: Ses(AMAZON, version="1"),
    "sendgrid": SendGrid,
    "mailgun": Mailgun,
    "postmark": Postmark,
    "sparkpost": SparkPost,
    "brevo": Brevo,
}
KINDS = {
    "hard": ReceiptKind.BOUNCED,
    "soft": ReceiptKind.BOUNCED,
    "block": ReceiptKind.BOUNCED,
    "complaint": ReceiptKind.COMPLAINED,
    "unsubscribe": ReceiptKind.UNSUBSCRIBED,
    "delivered": ReceiptKind.DELIVERED,
    "deferred": ReceiptKind.DEFERRED,
    "opened": ReceiptKind.OPENED,
    "clicked": ReceiptKind.CLICKED,
    "dropped": ReceiptKind.DROPPED,
}


@pytest.fixture(params=list(MAKERS))
def sender(request: pytest.FixtureRequest) -> WebhookSender:
    return MAKERS[request.param]()


async def read(sender: WebhookSender, post: Post, keys: WebhookKeys | None = None, now: datetime = NOW) -> Reading:
    amazon = sender.amazon if isinstance(sender, Ses) else AMAZON
    callback = Callback(f"https://depesche.example/delivery/v1/callbacks/{sender.vendor}", post.headers, post.body)
    return await readers(amazon.fetch)[sender.vendor].read(callback, keys or keys_of(sender), now)


def test_every_vendor_has_a_fake_sender() -> None:
    assert {make().vendor for make in MAKERS.values()} == set(Vendor) == set(HEADERS) == set(readers(AMAZON.fetch))


@pytest.mark.parametrize("what", KINDS)
async def test_each_event_is_read_with_its_time_and_return_path(sender: WebhookSender, what: str) -> None:
    at = NOW - timedelta(minutes=3)
    reading = await read(sender, sender.post([sender.event(what, PATH, at)], NOW))
    [news] = reading.news
    assert (news.kind, news.at) == (KINDS[what], at)
    assert ReturnPath(b"v" * 32, "").read(news.paths[0]) == ReturnPath(b"v" * 32, "").read(PATH)
    assert reading.unreadable == []


async def test_a_hard_bounce_carries_the_servers_text_and_the_vendors_category(sender: WebhookSender) -> None:
    [news] = (await read(sender, sender.post([sender.event("hard", PATH, NOW)], NOW))).news
    assert news.text is not None
    assert news.text.startswith("550 5.1.1")
    assert news.opinion is not None
    assert (bool(news.opinion.vendor_class), news.opinion.permanent) == (True, True)
    assert news.opinion.category in (None, "unknown-user")


async def test_a_soft_bounce_is_not_permanent(sender: WebhookSender) -> None:
    [news] = (await read(sender, sender.post([sender.event("soft", PATH, NOW)], NOW))).news
    assert news.opinion is not None
    assert news.opinion.permanent is False
    assert news.text is not None
    assert news.text.startswith("452")


async def test_a_repeat_has_the_same_id_and_another_event_another(sender: WebhookSender) -> None:
    one, other = (sender.event(what, PATH, NOW) for what in ("delivered", "opened"))
    post = sender.post([one], NOW)
    ids = [news.event_id for again in (post, post) for news in (await read(sender, again)).news]
    ids += [news.event_id for news in (await read(sender, sender.post([other], NOW))).news]
    assert ids[0] == ids[1] != ids[2]
    assert "kim" not in "".join(ids)


async def test_unauthenticated_posts_are_refused(sender: WebhookSender) -> None:
    """Another's key, no signature, or a body changed in transit."""
    stranger = {"ses": lambda: Ses(Amazon()), "sendgrid": SendGrid}.get(sender.vendor.value)
    if stranger is not None:
        post, keys = stranger().post([sender.event("hard", PATH, NOW)], NOW), keys_of(sender)
    else:
        post, keys = sender.post([sender.event("hard", PATH, NOW)], NOW), WebhookKeys(("some other secret key",))
    with pytest.raises(Unauthorized):
        await read(sender, post, keys)
    with pytest.raises((Unauthorized, BadRequest)):
        await read(sender, Post({}, json.dumps({"event": "bounce"}).encode()))
    with pytest.raises(Unauthorized):
        await read(sender, sender.post([sender.event("hard", PATH, NOW)], NOW), WebhookKeys())


async def test_a_changed_body_is_refused_where_the_signature_covers_it(sender: WebhookSender) -> None:
    post = sender.post([sender.event("delivered", PATH, NOW)], NOW)
    changed = Post(post.headers, post.body.replace(b"elivered", b"eliverec", 1).replace(b"elivery", b"elivert", 1))
    assert changed.body != post.body
    if sender.vendor in (Vendor.SES, Vendor.SENDGRID):
        with pytest.raises(Unauthorized):
            await read(sender, changed)
    elif sender.vendor is Vendor.MAILGUN:  # not covered: the token is bound to the first body instead
        assert (await read(sender, post)).nonce == (await read(sender, changed)).nonce is not None


@pytest.mark.parametrize("late", [timedelta(hours=30), timedelta(minutes=-10)])
@pytest.mark.parametrize("name", ["ses", "ses signed by SHA-1", "sendgrid", "mailgun"])
async def test_old_and_future_signatures_are_refused(name: str, late: timedelta) -> None:
    """The other vendors sign nothing, so there is no timestamp."""
    sender = MAKERS[name]()
    with pytest.raises(Unauthorized, match=r"timestamp|not signed"):
        await read(sender, sender.post([sender.event("hard", PATH, NOW)], NOW), now=NOW + late)


async def test_a_retry_an_hour_later_is_accepted(sender: WebhookSender) -> None:
    """The vendor retries for an hour and more, with the signature of its first attempt."""
    hour_later = NOW + timedelta(hours=1)
    assert (await read(sender, sender.post([sender.event("hard", PATH, NOW)], NOW), now=hour_later)).news


async def test_both_keys_are_valid_during_a_rotation(sender: WebhookSender) -> None:
    keys = keys_of(sender)
    both = replace(keys, keys=(*_another(sender), *keys.keys), topics=("arn:aws:sns:x:1:other", *keys.topics))
    assert (await read(sender, sender.post([sender.event("hard", PATH, NOW)], NOW), both)).news


def _another(sender: WebhookSender) -> tuple[str, ...]:
    return (SendGrid().public,) if sender.vendor is Vendor.SENDGRID else ("the key that comes next",)


async def test_irrelevant_and_unknown_events_are_counted_not_refused(sender: WebhookSender) -> None:
    nothing = await read(sender, sender.post([sender.event("nothing", PATH, NOW)], NOW))
    assert (nothing.news, nothing.ignored, nothing.new_to_us) == ([], 1, 0)
    new = await read(sender, sender.post([sender.event("new", PATH, NOW)], NOW))
    assert (new.news, new.ignored, new.new_to_us, new.unreadable) == ([], 0, 1, [])


async def test_what_amazon_publishes_about_no_mail_is_not_refused() -> None:
    """It says so when an identity gets its topic; of kinds that are new to us nobody knows the fields."""
    sender = Ses(AMAZON)
    subscribed, new, broken = [
        await read(sender, sender.post([event], NOW))
        for event in (
            {"notificationType": "AmazonSnsSubscriptionSucceeded", "message": "You have successfully subscribed"},
            {"eventType": "Teleported"},
            {"eventType": "Bounce", "bounce": {"bounceType": "Permanent"}},
        )
    ]
    assert (subscribed.ignored, subscribed.new_to_us, subscribed.unreadable) == (1, 0, [])
    assert (new.ignored, new.new_to_us, new.unreadable) == (0, 1, [])
    assert ([error.pointer for error in broken.unreadable], broken.news) == (["/Message"], [])


@pytest.mark.parametrize("name", ["sendgrid", "sparkpost", "brevo"])
async def test_a_mixed_batch_is_read_event_by_event(name: str) -> None:
    """The other vendors send one event at a time."""
    sender = MAKERS[name]()
    events = [sender.event(what, PATH, NOW) for what in (*KINDS, "nothing", "new")]
    reading = await read(sender, sender.post([events[0], {"no": "event"}, *events[1:], 17], NOW))
    assert [news.kind for news in reading.news] == list(KINDS.values())
    assert (reading.ignored, reading.new_to_us) == (1, 1)
    assert [error.pointer for error in reading.unreadable] == ["/1", f"/{len(events) + 1}"]


HOSTILE: list[Any] = [
    b"",
    b"\xff\xfe\x00",
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b"[]",
    b"{}",
    b"17",
    b'"text"',
    b"null",
    b'[null, 1, [], {}, "x"]',
    b'{"signature": 1, "event-data": 2, "Type": [], "RecordType": {}, "event": null, "msys": 3}',
    b'{"event": "bounce", "timestamp": 1e308, "sg_event_id": "x"}',
    b'[{"msys": {"message_event": {"type": "bounce", "event_id": "1", "timestamp": "99999999999999999999"}}}]',
    b'[{"msys": {"message_event": {"type": "bounce", "event_id": "1", "timestamp": 1e18}}}]',
    b'{"RecordType": "Bounce", "Type": "HardBounce", "ID": 1, "BouncedAt": "yesterday"}',
    b'{"event": "hard_bounce", "message-id": "m", "ts_event": -99999999999999}',
]


@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
async def test_hostile_bodies_are_refused_without_a_crash(sender: WebhookSender, body: bytes) -> None:
    """A sender with the key can still send rubbish; one without it is refused."""
    try:
        news = (await read(sender, _signed(sender, body))).news
    except (Unauthorized, BadRequest, Invalid):  # any other exception would be a 500
        news = []
    assert news == []


def _signed(sender: WebhookSender, body: bytes) -> Post:
    match sender:
        case Ses():
            return sender.message(body.decode("latin-1").replace("\x00", ""), NOW)
        case SendGrid():
            return sender.signed(body, NOW)
        case Mailgun():
            signature = json.dumps(sender.signature(NOW)).encode()
            return Post({}, b'{"signature": ' + signature + b', "event-data": ' + body + b"}")
        case _:
            return Post(sender.post([sender.event("hard", PATH, NOW)], NOW).headers, body)


async def test_too_many_events_at_once_are_refused() -> None:
    sender = SparkPost()
    with pytest.raises(Invalid):
        await read(sender, Post({"x-webhook-key": sender.token}, b"[" + b"{}," * 10_001 + b"{}]"))


async def test_nul_characters_are_removed_from_texts(sender: WebhookSender) -> None:
    event = json.loads(json.dumps(sender.event("hard", PATH, NOW)).replace("550 5.1.1", "550 5.1.1\\u0000"))
    [news] = (await read(sender, sender.post([event], NOW))).news
    assert news.text is not None
    assert "\0" not in news.text


async def test_every_vendor_category_is_a_bounce_category() -> None:
    """Two services, one table: bounce must know every category that delivery passes on."""
    named = {*ses._CATEGORIES.values(), *sendgrid._CATEGORIES.values(), "expired"}
    named |= {row[1] for table in (postmark._BOUNCES, sparkpost._CLASSES) for row in table.values() if row[1]}
    named |= {opinion.category for opinion in brevo._OPINIONS.values() if opinion.category}
    assert named <= set(CATEGORIES)
    assert len(named) > 8


@pytest.mark.parametrize("vendor", list(Vendor))
def test_our_header_is_one_line_that_carries_the_return_path(vendor: Vendor) -> None:
    local = PATH.partition("@")[0]
    line = HEADERS[vendor](local)
    if vendor is Vendor.SES:
        assert line == ""  # mail.source is the path
        return
    assert line.endswith("\r\n")
    assert line.count("\r\n") == 1
    assert local in line
    assert len(local) <= 80
    value = line.partition(": ")[2].strip()
    if value.startswith("{"):
        assert local in str(json.loads(value))


@pytest.mark.parametrize("kind", ["Basic", "Bearer", "header"])
async def test_a_shared_secret_is_accepted_in_three_forms(kind: str) -> None:
    sender = Brevo()
    secret = "user:a password of length" if kind == "Basic" else "a token of some length"
    headers = {
        "Basic": basic(secret),
        "Bearer": {"authorization": f"Bearer {secret}"},
        "header": {"x-webhook-key": secret},
    }
    post = Post(headers[kind], sender.post([sender.event("hard", PATH, NOW)], NOW).body)
    assert (await read(sender, post, WebhookKeys((secret,)))).news
    for wrong in ({"authorization": "Basic ????"}, {"authorization": kind}, {"x-webhook-key": secret[:-1]}, {}):
        with pytest.raises(Unauthorized):
            await read(sender, Post(wrong, post.body), WebhookKeys((secret,)))
