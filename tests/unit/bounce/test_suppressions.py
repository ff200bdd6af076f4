"""A suppression is placed by evidence, lifted by a person, and placed again only by new evidence."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from libs.contracts.delivery import Receipt, Rejection
from libs.contracts.outcomes import Mode, Scope
from libs.contracts.reasons import Reason
from libs.errors import Conflict
from libs.privacy import redacted
from services.bounce.domain.evidence import evidence_id
from services.bounce.domain.suppressions import Evidence, Suppression, SuppressionKey, lift, place
from services.bounce.handlers.refusals import fact_of_receipt, facts_of_rejections
from tests.compiled import compiled_rules as rules

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
KEY = SuppressionKey(1, Mode.LIVE, b"h" * 32, Scope.ALL)
NEVER_PLACED = Suppression(UUID(int=1), KEY, Reason.NONE, False, 0, NOON, "")


def bounced(at: datetime = NOON) -> Evidence:
    return Evidence(KEY, Reason.SUPPRESSED_BOUNCE, at, "system", UUID(int=7), "m.1", "customer:1")


def placed(at: datetime = NOON) -> Suppression:
    made = place(NEVER_PLACED, bounced(at))
    assert made is not None
    return made


def test_evidence_suppresses_an_address() -> None:
    made = placed()
    assert (made.active, made.version, made.reason) == (True, 1, Reason.SUPPRESSED_BOUNCE)
    assert (made.bounce_id, made.recipient) == (UUID(int=7), "customer:1")


def test_more_evidence_does_not_change_an_active_suppression() -> None:
    assert place(placed(), bounced(NOON + timedelta(hours=1))) is None


def test_a_lift_ends_it_with_its_note() -> None:
    lifted = lift(placed(), at=NOON + timedelta(days=1), actor="key1", note="works again")
    assert (lifted.active, lifted.version, lifted.note, lifted.actor) == (False, 2, "works again", "key1")


def test_an_inactive_suppression_cannot_be_lifted() -> None:
    with pytest.raises(Conflict):
        lift(NEVER_PLACED, at=NOON, actor="key1", note="why not")


def test_after_a_lift_only_new_evidence_counts() -> None:
    lifted = lift(placed(), at=NOON + timedelta(days=1), actor="key1", note="works again")
    for hours in (23, 24):
        assert place(lifted, bounced(NOON + timedelta(hours=hours))) is None
    again = place(lifted, bounced(NOON + timedelta(days=2)))
    assert again is not None
    assert (again.active, again.version) == (True, 3)


def test_the_same_evidence_has_one_id() -> None:
    assert evidence_id("m.1", 1, "unknown-user") == evidence_id("m.1", 1, "unknown-user")
    assert evidence_id("m.1", 1, "unknown-user") != evidence_id("m.1", 2, "unknown-user")


def rejection(channel: str, text: str = "", *, final: bool = True, error: str | None = None) -> Rejection:
    return Rejection(
        message="m.1",
        recipient="customer:1",
        attempt=1,
        channel=channel,
        sender=1,
        address_id=1,
        address_hash=b"h" * 32,
        final=final,
        text=text,
        at=NOON,
        error=error,
    )


def test_a_retryable_rejection_is_no_fact() -> None:
    assert facts_of_rejections([rejection("email", "550 5.1.1 user unknown", final=False)], rules())[0] is None


def test_a_final_rejection_by_the_mail_server_is_a_fact() -> None:
    fact = facts_of_rejections([rejection("email", "550 5.1.1 user unknown")], rules())[0]
    assert fact is not None
    assert (fact.category, fact.permanent) == ("unknown-user", True)


@pytest.mark.parametrize(
    ("error", "category", "permanent"),
    [
        ("21211", "unknown-user", True),
        ("30005", "unknown-user", True),
        ("21635", "unknown-user", True),
        ("30003", "network", False),
        ("21610", "unsubscribe", False),
        ("20003", None, None),
    ],
)
def test_sms_errors_about_a_number_are_classified(error: str, category: str | None, permanent: bool | None) -> None:
    fact = facts_of_rejections([rejection("sms", error=error)], rules())[0]
    assert (fact and fact.category, fact and fact.permanent) == (category, permanent)


def test_a_dead_device_is_not_judged_here() -> None:
    assert facts_of_rejections([rejection("push", error="UNREGISTERED")], rules())[0] is None


@pytest.mark.parametrize(
    ("kind", "detail", "category"),
    [
        ("complained", None, "complaint"),
        ("bounced", "550 5.1.1 no such user", "unknown-user"),
        ("bounced", None, "undetermined"),
        ("failed", "30006", "unknown-user"),
        ("failed", "something", None),
        ("delivered", None, None),
        ("opened", "550 5.1.1 no such user", None),
        ("unsubscribed", None, "unsubscribe"),
        ("deferred", "450 4.2.1 try later", None),
        ("dropped", "550 5.1.1 on our list", "suppressed-by-provider"),
    ],
)
def test_receipts_are_classified(kind: str, detail: str | None, category: str | None) -> None:
    receipt = Receipt(provider="p", provider_event_id="1", message="m.1", attempt=1, kind=kind, at=NOON, detail=detail)
    fact = fact_of_receipt(receipt, rules())
    assert (fact.category if fact else None) == category


def test_a_number_in_a_mail_reply_is_no_sms_error_code() -> None:
    receipt = Receipt(
        provider="ses", provider_event_id="1", message="m.1", attempt=1, kind="bounced", at=NOON,
        detail="450 4.2.1 queue id 30005", vendor_class="Transient/General",
    )  # fmt: skip
    fact = fact_of_receipt(receipt, rules())
    assert fact is not None
    assert (fact.category, fact.permanent) != ("unknown-user", True)


def test_a_dropped_message_says_nothing_about_the_mailbox() -> None:
    receipt = Receipt(provider="p", provider_event_id="1", message="m.1", attempt=1, kind="dropped", at=NOON)
    fact = fact_of_receipt(receipt, rules())
    assert fact is not None
    assert not fact.counts


@pytest.mark.parametrize(
    ("detail", "category", "permanent", "expected"),
    [
        ("550 5.2.2 mailbox full", "unknown-user", True, ("mailbox-full", True)),  # the server's words win
        (None, "unknown-user", True, ("unknown-user", True)),
        (None, "unknown-user", False, ("unknown-user", False)),
        (None, None, True, ("undetermined", True)),
        (None, "made-up", True, ("undetermined", True)),
    ],
)
def test_a_vendors_category_counts_where_the_servers_words_are_unclear(
    detail: str | None, category: str | None, permanent: bool, expected: tuple[str, bool]
) -> None:
    receipt = Receipt(
        provider="ses", provider_event_id="1", message="m.1", attempt=1, kind="bounced", at=NOON, detail=detail,
        vendor_class="Permanent/NoEmail", vendor_category=category, vendor_permanent=permanent,
    )  # fmt: skip
    fact = fact_of_receipt(receipt, rules())
    assert fact is not None
    assert (fact.category, fact.permanent) == expected


def test_stored_texts_contain_no_address() -> None:
    assert redacted("550 <kim.b+x@mail.example> and +4915123456789\n gone") == "550 <address> and <number> gone"
    assert (
        redacted("a@b.de+ to:<c@d.example>, 1+1 +49151234567+e@f @ +") == "<address>+ to:<address>, 1+1 <address> @ +"
    )
