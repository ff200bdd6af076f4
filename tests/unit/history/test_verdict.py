"""Verdicts: sent once or twice, bounced, and all other outcomes."""

from dataclasses import replace
from uuid import uuid4

import pytest

from libs.contracts.outcomes import Mode, ReceiptKind, Status
from libs.contracts.reasons import Reason
from services.bounce.domain.categories import CATEGORIES, Action
from services.history.domain.came_back import MEANINGS, NOT_BACK
from services.history.domain.case import Rendered, cases_of, twins_of
from services.history.domain.facts import Document, Message, Receipt
from services.history.domain.verdict import decide
from tests.unit.history.stories import AGAIN, LOST, SENT, at, cause, message, moved, story, verdict

# ---- sent


def test_a_message_accepted_by_the_provider_counts_as_sent() -> None:
    said = verdict(message(SENT))
    assert said.code == "sent"
    assert "accepted it by push at 2027-03-01 12:00:01 UTC" in said.sentence
    assert "No delivery or bounce has been reported" in said.sentence


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (ReceiptKind.DELIVERED, "was delivered"),
        (ReceiptKind.OPENED, "opened it"),
        (ReceiptKind.COMPLAINED, "reported it as spam"),
    ],
)
def test_the_verdict_names_the_strongest_receipt(kind: ReceiptKind, words: str) -> None:
    receipts = (Receipt(at(2), 1, ReceiptKind.DELIVERED, "p"), Receipt(at(3), 1, kind, "p"))
    said = verdict(message(SENT, receipts=receipts))
    assert said.code == "sent"
    assert words in said.sentence


@pytest.mark.parametrize(
    ("digest", "words"),
    [("equal", "byte for byte"), ("differs", "a different text"), ("not_reproducible", "no longer be reproduced")],
)
def test_the_verdict_says_whether_the_text_renders_equal(digest: str, words: str) -> None:
    said = decide(replace(story(message(SENT)), rendered=Rendered(digest, "The name changed since.")))
    assert said.code == "sent"
    assert words in said.sentence
    assert said.sentence.endswith(".")
    assert ".." not in said.sentence
    assert ("The name changed since." in said.sentence) is (digest != "equal")


def test_one_device_of_two_is_enough() -> None:
    dead = message(moved(Status.SENDING, Status.FAILED, reason=Reason.DEVICE_UNREGISTERED), address=18)
    said = verdict(message(SENT), dead)
    assert said.code == "sent"
    assert "1 other address got nothing" in said.sentence


def test_a_successful_fallback_counts_as_sent() -> None:
    push = message(moved(Status.SENDING, Status.FAILED, reason=Reason.DEVICE_UNREGISTERED, step=0))
    mail = message(moved(Status.SENDING, Status.SENT, 5, step=1), address=30)
    assert verdict(push, mail).code == "sent"


def test_a_retry_after_429_is_not_a_repeat() -> None:
    back = moved(Status.SENDING, Status.PENDING, 1, reason=Reason.THROTTLED)
    again = moved(Status.SENDING, Status.SENT, 9, attempt=2)
    said = verdict(message(back, again))
    assert (said.code, said.certain) == ("sent", True)


# ---- sent twice


def test_a_resend_after_no_answer_may_have_arrived_twice() -> None:
    said = verdict(message(LOST, AGAIN))
    assert (said.code, said.certain, said.reason) == ("sent_twice", False, Reason.TIMED_OUT)
    assert "Attempt 1 got no answer" in said.sentence


def test_a_receipt_for_the_earlier_attempt_proves_a_repeat() -> None:
    late = Receipt(at(20), 1, ReceiptKind.DELIVERED, "p")
    said = verdict(message(LOST, AGAIN, receipts=(late,)))
    assert (said.code, said.certain) == ("sent_twice", True)
    assert "attempts 1 and 2" in said.sentence


def test_an_earlier_attempt_settled_as_sent_proves_a_repeat() -> None:
    settled = moved(Status.UNKNOWN, Status.SENT, 20)
    assert verdict(message(LOST, AGAIN, settled)).certain


def test_an_earlier_attempt_settled_as_refused_is_not_a_repeat() -> None:
    settled = moved(Status.UNKNOWN, Status.FAILED, 20, reason=Reason.PROVIDER_REJECTED)
    assert verdict(message(LOST, AGAIN, settled)).code == "sent"


def test_an_unknown_settled_by_its_receipt_is_just_sent() -> None:
    assert verdict(message(LOST, moved(Status.UNKNOWN, Status.SENT, 20))).code == "sent"


def test_two_receipts_of_one_attempt_are_not_a_repeat() -> None:
    receipts = (Receipt(at(2), 1, ReceiptKind.DELIVERED, "p"), Receipt(at(3), 1, ReceiptKind.OPENED, "p"))
    assert verdict(message(SENT, receipts=receipts)).code == "sent"


def test_two_events_about_one_order_are_two_notifications() -> None:
    first, second = message(SENT), message(moved(Status.SENDING, Status.SENT, 60), of=cause(59))
    newest, older = cases_of([first, second], [])
    said = decide(replace(newest, twins=twins_of(newest, [older])))
    assert said.code == "sent_twice"
    assert "2 different events" in said.sentence


def test_the_same_for_somebody_else_is_no_repeat() -> None:
    """A family's order: both are told of the parcel."""
    ann = replace(message(SENT, of=cause(59)), recipient="customer:ann")
    newest, older = cases_of([message(SENT), ann], [])
    assert twins_of(newest, [older]) == twins_of(older, [newest]) == ()


def test_two_sendings_are_given_by_their_own_times() -> None:
    """The first of several addresses may have failed, much later."""
    dead = message(moved(Status.SENDING, Status.FAILED, 900, reason=Reason.DEVICE_UNREGISTERED), address=3)
    second = message(moved(Status.SENDING, Status.SENT, 60), of=cause(59))
    newest, older = cases_of([message(SENT), dead, second], [])
    said = decide(replace(newest, twins=twins_of(newest, [older])))
    assert "at 2027-03-01 12:00:01 UTC and 2027-03-01 12:01:00 UTC" in said.sentence


def test_another_communication_about_the_order_is_not_a_repeat() -> None:
    newest, older = cases_of([message(SENT), message(SENT, of=cause(59), name="order-confirmation")], [])
    assert twins_of(newest, [older]) == ()


# ---- bounced


def bounce(of: Message, category: str = "unknown-user") -> Document:
    return Document(
        uuid4(), "bounce.classified", 1, Mode.LIVE, at(60), {"category": category, "text": "550 gone"}, message=of.id
    )


def test_a_bounced_message_is_not_reported_as_sent() -> None:
    one = message(SENT)
    barred = Document(uuid4(), "suppression.changed", 1, Mode.LIVE, at(61), {"active": True, "scope": "all"})
    said = decide(replace(story(one), documents=(bounce(one), barred)))
    assert said.code == "bounced"
    assert "unknown-user" in said.sentence
    assert "suppressed since" in said.sentence


def test_a_suppression_that_was_lifted_since_bars_nothing() -> None:
    one = message(SENT)

    def changed(version: int, *, active: bool) -> Document:
        body = {"active": active, "scope": "all", "suppression_id": "s", "version": version}
        return Document(uuid4(), "suppression.changed", 1, Mode.LIVE, at(60 + version), body)

    told = (bounce(one), changed(2, active=False), changed(1, active=True))  # in any order
    assert "been suppressed since" not in decide(replace(story(one), documents=told)).sentence
    again = decide(replace(story(one), documents=(*told, changed(3, active=True))))
    assert "been suppressed since" in again.sentence


def test_a_bounce_receipt_is_enough() -> None:
    assert verdict(message(SENT, receipts=(Receipt(at(5), 1, ReceiptKind.BOUNCED, "p"),))).code == "bounced"


def test_a_complaint_is_not_a_bounce() -> None:
    one = message(SENT)
    said = decide(replace(story(one), documents=(bounce(one, "complaint"),)))
    assert said.code == "sent"
    assert "reported it as spam" in said.sentence
    assert "No delivery or bounce has been reported" not in said.sentence
    assert said.next_step == Reason.SUPPRESSED_COMPLAINT.text.next_step


@pytest.mark.parametrize(
    ("category", "means", "step"),
    [
        ("mailbox-full", "the mailbox is full", "free space"),
        ("reputation-block", "blocks the sender", "The address is fine"),
        ("spam-content", "classified as spam", "The address is fine"),
        ("unknown-user", "no such mailbox", "Ask the customer for an address that works."),
    ],
)
def test_no_new_address_is_requested_if_the_address_is_fine(category: str, means: str, step: str) -> None:
    one = message(SENT)
    said = decide(replace(story(one), documents=(bounce(one, category),)))
    assert said.code == "bounced"
    assert means in said.sentence
    assert step in said.next_step


def test_every_bounce_category_has_a_meaning() -> None:
    ignored = {name for name, category in CATEGORIES.items() if category.action is Action.IGNORE}
    assert MEANINGS.keys() == CATEGORIES.keys() - ignored - NOT_BACK


def test_one_address_that_bounced_does_not_hide_the_other() -> None:
    one, two = message(SENT), message(SENT, address=18)
    said = decide(replace(story(one, two), documents=(bounce(one),)))
    assert said.code == "sent"
    assert "It bounced from 1 of 2 addresses: there is no such mailbox (unknown-user)." in said.sentence
