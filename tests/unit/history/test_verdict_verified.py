"""Verdicts on messages whose provider was asked for their outcome."""

from dataclasses import replace

from libs.contracts.outcomes import ReceiptKind, Status
from libs.contracts.reasons import Reason
from services.history.domain.case import Waiting
from services.history.domain.chain import of_message
from services.history.domain.facts import Receipt
from services.history.domain.verdict import decide
from tests.unit.history.stories import AGAIN, LOST, SENT, at, message, moved, story, verdict

HAD = moved(Status.UNKNOWN, Status.SENT, 20, reason=Reason.VERIFIED_SENT, provider_ref="SM1")
HAD_NOT = moved(Status.UNKNOWN, Status.PENDING, 20, reason=Reason.VERIFIED_NOT_SENT)
COULD_NOT_SAY = moved(Status.UNKNOWN, Status.UNKNOWN, 20, reason=Reason.NOT_VERIFIED, detail="HTTP 500")


def test_the_verdict_says_that_the_provider_is_being_asked() -> None:
    asked = replace(story(message(LOST)), waiting=Waiting(Reason.VERIFYING, at(60), "asked"))
    said = decide(asked)
    assert (said.code, said.reason, said.until) == ("unknown", Reason.VERIFYING, at(60))
    assert "is being queried about it" in said.sentence
    assert "12:01:00" in said.sentence
    assert (
        "It was sent a moment ago" in decide(replace(asked, waiting=Waiting(Reason.NONE, ended=Status.SENT))).sentence
    )


def test_the_provider_had_it() -> None:
    said = verdict(message(LOST, HAD))
    assert (said.code, said.certain, said.reason) == ("sent", True, Reason.VERIFIED_SENT)
    assert "A later query showed that it had the message." in said.sentence
    assert "under SM1" in of_message(message(LOST, HAD))[-1].text


def test_a_resend_after_the_provider_denied_having_it_is_not_a_repeat() -> None:
    said = verdict(message(LOST, HAD_NOT, replace(AGAIN, at=at(30))))
    assert (said.code, said.certain, said.reason) == ("sent", True, Reason.VERIFIED_NOT_SENT)
    assert "it did not have the message. So it was sent again, once." in said.sentence


def test_verified_not_sent_outranks_unknown() -> None:
    assert message(LOST, HAD_NOT).latest == HAD_NOT
    assert verdict(message(LOST, HAD_NOT)).code == "not_yet"
    expired = moved(Status.PENDING, Status.SKIPPED, 21, reason=Reason.EXPIRED)
    assert verdict(message(HAD_NOT, expired, LOST)).reason is Reason.EXPIRED


def test_a_wrong_answer_of_the_provider_is_named_as_the_cause_of_a_repeat() -> None:
    late = Receipt(at(40), 1, ReceiptKind.DELIVERED, "twilio")
    said = verdict(message(LOST, HAD_NOT, AGAIN, receipts=(late,)))
    assert said.code == "sent_twice"
    assert "when asked, did not have it, so attempt 2 was made" in said.sentence


def test_an_inconclusive_answer_stays_unknown_and_is_quoted() -> None:
    said = verdict(message(LOST, COULD_NOT_SAY))
    assert (said.code, said.reason) == ("unknown", Reason.NOT_VERIFIED)
    assert "HTTP 500" in said.sentence
    assert "provider's own log" in said.next_step


def test_an_ordinary_verdict_does_not_mention_asking_the_provider() -> None:
    assert "later query" not in verdict(message(SENT)).sentence
