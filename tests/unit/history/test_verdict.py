"""One verdict for every story that a message can have."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from libs.contracts.outcomes import Channel, Mode, ReceiptKind, Status
from libs.contracts.reasons import Reason
from libs.ids import first_id_at, notification_id
from services.history.domain.case import Case, KeptRejection, Rendered, Trace, Waiting, cases_of, twins_of
from services.history.domain.facts import Decision, Document, Message, Receipt, Rejection, Transition
from services.history.domain.verdict import Verdict, decide, decide_without_trace

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
KIM = "customer:1042"


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def cause(seconds: float = 0) -> UUID:
    return first_id_at(at(seconds))


def moved(
    was: Status, status: Status, seconds: float = 1, *, attempt: int = 1, reason: Reason = Reason.NONE, **more: Any
) -> Transition:
    return Transition(at(seconds), attempt, was, status, reason, Channel.PUSH, **more)


def message(
    *transitions: Transition, address: int = 17, of: UUID | None = None, name: str = "parcel-shipped", **more: Any
) -> Message:
    of = of or cause()
    return Message(
        notification_id(of, name, KIM), address, name, of, uuid4(), uuid4(), KIM, "A-1042", transitions, **more
    )


def decided(reason: Reason = Reason.NONE, *, of: UUID | None = None, name: str | None = "parcel-shipped") -> Decision:
    of = of or cause()
    requested = notification_id(of, name, KIM) if name and reason is Reason.NONE else None
    return Decision(
        NOON, of, "e-1", "parcel.shipped", "shop", reason, "A-1042", name, KIM, None, requested, detail=None
    )


def story(*messages: Message, decisions: tuple[Decision, ...] = ()) -> Case:
    return cases_of(messages, decisions)[0]


SENT = moved(Status.SENDING, Status.SENT)


def verdict(*messages: Message) -> Verdict:
    return decide(story(*messages))


# ---- sent


def test_what_the_provider_accepted_was_sent() -> None:
    said = verdict(message(SENT))
    assert said.code == "sent"
    assert "accepted it by push at 2027-03-01 12:00:01 UTC" in said.sentence
    assert "Nothing has come back" in said.sentence


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (ReceiptKind.DELIVERED, "was delivered"),
        (ReceiptKind.OPENED, "opened it"),
        (ReceiptKind.COMPLAINED, "reported it as spam"),
    ],
)
def test_the_strongest_receipt_is_told(kind: ReceiptKind, words: str) -> None:
    receipts = (Receipt(at(2), 1, ReceiptKind.DELIVERED, "p"), Receipt(at(3), 1, kind, "p"))
    said = verdict(message(SENT, receipts=receipts))
    assert said.code == "sent"
    assert words in said.sentence


@pytest.mark.parametrize(
    ("digest", "words"),
    [("equal", "the same to the byte"), ("differs", "would differ"), ("not_reproducible", "cannot be shown")],
)
def test_the_text_is_compared_with_what_was_sent(digest: str, words: str) -> None:
    said = decide(replace(story(message(SENT)), rendered=Rendered(digest, "the name changed since")))
    assert said.code == "sent"
    assert words in said.sentence


def test_one_device_of_two_is_enough() -> None:
    dead = message(moved(Status.SENDING, Status.FAILED, reason=Reason.DEVICE_UNREGISTERED), address=18)
    said = verdict(message(SENT), dead)
    assert said.code == "sent"
    assert "1 other address got nothing" in said.sentence


def test_a_fallback_that_worked_is_sent() -> None:
    push = message(moved(Status.SENDING, Status.FAILED, reason=Reason.DEVICE_UNREGISTERED, step=0))
    mail = message(moved(Status.SENDING, Status.SENT, 5, step=1), address=30)
    assert verdict(push, mail).code == "sent"


def test_a_429_tried_again_is_one_sending() -> None:
    back = moved(Status.SENDING, Status.PENDING, 1, reason=Reason.THROTTLED)
    again = moved(Status.SENDING, Status.SENT, 9, attempt=2)
    said = verdict(message(back, again))
    assert (said.code, said.certain) == ("sent", True)


# ---- sent twice

LOST = moved(Status.SENDING, Status.UNKNOWN, 1, reason=Reason.TIMED_OUT)
AGAIN = moved(Status.SENDING, Status.SENT, 9, attempt=2)


def test_a_resend_after_no_answer_may_have_arrived_twice() -> None:
    said = verdict(message(LOST, AGAIN))
    assert (said.code, said.certain, said.reason) == ("sent_twice", False, Reason.TIMED_OUT)
    assert "Try 1 ended without an answer" in said.sentence


def test_a_receipt_for_the_overtaken_try_proves_it() -> None:
    late = Receipt(at(20), 1, ReceiptKind.DELIVERED, "p")
    said = verdict(message(LOST, AGAIN, receipts=(late,)))
    assert (said.code, said.certain) == ("sent_twice", True)
    assert "tries 1 and 2" in said.sentence


def test_an_overtaken_try_settled_as_sent_proves_it_too() -> None:
    settled = moved(Status.UNKNOWN, Status.SENT, 20)
    assert verdict(message(LOST, AGAIN, settled)).certain


def test_an_overtaken_try_settled_as_refused_was_no_repeat() -> None:
    settled = moved(Status.UNKNOWN, Status.FAILED, 20, reason=Reason.PROVIDER_REJECTED)
    assert verdict(message(LOST, AGAIN, settled)).code == "sent"


def test_an_unknown_settled_by_its_receipt_is_just_sent() -> None:
    assert verdict(message(LOST, moved(Status.UNKNOWN, Status.SENT, 20))).code == "sent"


def test_two_receipts_of_one_try_are_no_repeat() -> None:
    receipts = (Receipt(at(2), 1, ReceiptKind.DELIVERED, "p"), Receipt(at(3), 1, ReceiptKind.OPENED, "p"))
    assert verdict(message(SENT, receipts=receipts)).code == "sent"


def test_two_events_about_one_order_are_two_notifications() -> None:
    first, second = message(SENT), message(moved(Status.SENDING, Status.SENT, 60), of=cause(59))
    newest, older = cases_of([first, second], [])
    said = decide(replace(newest, twins=twins_of(newest, [older])))
    assert said.code == "sent_twice"
    assert "2 different events" in said.sentence


def test_another_communication_about_the_order_is_no_repeat() -> None:
    newest, older = cases_of([message(SENT), message(SENT, of=cause(59), name="order-confirmation")], [])
    assert twins_of(newest, [older]) == ()


# ---- bounced


def bounce(of: Message, category: str = "unknown-user") -> Document:
    return Document(
        uuid4(), "bounce.classified", 1, Mode.LIVE, at(60), {"category": category, "text": "550 gone"}, message=of.id
    )


def test_what_came_back_is_not_called_sent() -> None:
    one = message(SENT)
    barred = Document(uuid4(), "suppression.changed", 1, Mode.LIVE, at(61), {"active": True, "scope": "all"})
    said = decide(replace(story(one), documents=(bounce(one), barred)))
    assert said.code == "bounced"
    assert "unknown-user" in said.sentence
    assert "barred since then" in said.sentence


def test_a_bounce_receipt_is_enough() -> None:
    assert verdict(message(SENT, receipts=(Receipt(at(5), 1, ReceiptKind.BOUNCED, "p"),))).code == "bounced"


def test_a_complaint_is_no_bounce() -> None:
    one = message(SENT)
    assert decide(replace(story(one), documents=(bounce(one, "complaint"),))).code == "sent"


def test_one_address_that_bounced_does_not_hide_the_other() -> None:
    one, two = message(SENT), message(SENT, address=18)
    assert decide(replace(story(one, two), documents=(bounce(one),))).code == "sent"


# ---- not yet, unknown


def test_a_message_that_waits_says_for_what_and_until_when() -> None:
    waiting = Waiting(Reason.QUIET_HOURS, at(3600))
    said = decide(replace(story(decisions=(decided(),)), waiting=waiting))
    assert (said.code, said.reason, said.until) == ("not_yet", Reason.QUIET_HOURS, at(3600))
    assert "quiet time" in said.sentence
    assert "13:00:00" in said.sentence


@pytest.mark.parametrize(
    ("ended", "code"),
    [(Status.SENT, "sent"), (Status.UNKNOWN, "unknown"), (Status.SKIPPED, "not_sent"), (Status.FAILED, "not_sent")],
)
def test_what_delivery_has_ended_is_not_called_waiting(ended: Status, code: str) -> None:
    waiting = Waiting(Reason.NONE if ended is Status.SENT else Reason.EXPIRED, ended=ended)
    assert decide(replace(story(decisions=(decided(),)), waiting=waiting)).code == code


def test_a_message_back_in_the_queue_waits_for_its_reason() -> None:
    said = verdict(message(moved(Status.SENDING, Status.PENDING, reason=Reason.THROTTLED)))
    assert (said.code, said.reason) == ("not_yet", Reason.THROTTLED)


def test_a_request_that_delivery_does_not_know_is_lost_between_the_two() -> None:
    said = decide(replace(story(decisions=(decided(),)), lost=True))
    assert (said.code, said.lost_at) == ("no_trace", "request")


def test_a_request_still_on_its_way_is_not_lost() -> None:
    assert decide(story(decisions=(decided(),))).code == "not_yet"


def test_no_answer_and_nothing_since_is_unknown() -> None:
    said = verdict(message(LOST))
    assert (said.code, said.reason) == ("unknown", Reason.TIMED_OUT)


def test_an_unknown_given_up_says_so() -> None:
    final = moved(Status.UNKNOWN, Status.FAILED, 90_000, reason=Reason.UNKNOWN_FINAL)
    said = verdict(message(LOST, final))
    assert (said.code, said.reason) == ("not_sent", Reason.UNKNOWN_FINAL)


# ---- not sent


@pytest.mark.parametrize("reason", [reason for reason in Reason if 0 < reason < 20])
def test_every_rule_of_ours_is_told_with_its_next_step(reason: Reason) -> None:
    said = verdict(message(moved(Status.PENDING, Status.SKIPPED, reason=reason), address=0))
    assert (said.code, said.reason, said.next_step) == ("not_sent", reason, reason.text.next_step)
    assert "{detail}" not in said.sentence


def test_the_providers_words_stand_in_the_sentence() -> None:
    said = verdict(
        message(
            moved(Status.SENDING, Status.FAILED, reason=Reason.PROVIDER_REJECTED, detail="552 too big"),
            rejections=(Rejection(at(1), 1, True, "552 too big", 552),),
        )
    )
    assert "552 too big." in said.sentence


def test_a_barred_address_is_told_as_such() -> None:
    said = verdict(message(moved(Status.PENDING, Status.SUPPRESSED, reason=Reason.SUPPRESSED_BOUNCE)))
    assert (said.code, said.reason) == ("not_sent", Reason.SUPPRESSED_BOUNCE)


def test_a_plan_that_went_on_ended_where_it_ended() -> None:
    push = message(moved(Status.SENDING, Status.FAILED, 50, reason=Reason.DEVICE_UNREGISTERED, step=0))
    mail = message(moved(Status.SENDING, Status.FAILED, 9, reason=Reason.MAILBOX_UNAVAILABLE, step=1), address=3)
    assert verdict(push, mail).reason is Reason.MAILBOX_UNAVAILABLE


@pytest.mark.parametrize("reason", [Reason.CONDITION_FALSE, Reason.NO_COMMUNICATION, Reason.RECIPIENT_MISSING])
def test_a_no_before_there_was_a_notification(reason: Reason) -> None:
    said = decide(story(decisions=(decided(reason),)))
    assert (said.code, said.reason) == ("not_sent", reason)


def test_a_sent_taken_back_by_a_receipt_is_not_sent() -> None:
    back = moved(Status.SENT, Status.FAILED, 30, reason=Reason.PROVIDER_GAVE_UP)
    assert verdict(message(SENT, back)).reason is Reason.PROVIDER_GAVE_UP


def test_a_failed_undone_by_a_receipt_is_sent() -> None:
    failed = moved(Status.SENDING, Status.FAILED, 1, reason=Reason.PROVIDER_UNAVAILABLE)
    assert verdict(message(failed, moved(Status.FAILED, Status.SENT, 30))).code == "sent"


# ---- no trace


def test_intake_away_is_said_and_not_guessed() -> None:
    said = decide_without_trace(None)
    assert (said.code, said.certain, said.lost_at) == ("no_trace", False, "intake")


def test_what_never_arrived_was_lost_before_us() -> None:
    assert decide_without_trace(Trace()).lost_at == "source"


def test_a_refused_event_names_its_fault() -> None:
    said = decide_without_trace(Trace(rejections=(KeptRejection(NOON, "The field total is missing."),)))
    assert (said.code, said.lost_at) == ("no_trace", "intake")
    assert "The field total is missing." in said.sentence


def test_an_accepted_event_without_a_decision_waits() -> None:
    assert decide_without_trace(Trace(undecided=("e-1",))).code == "not_yet"


@pytest.mark.parametrize(("reason", "code"), [(Reason.CONDITION_FALSE, "not_sent"), (Reason.NONE, "not_yet")])
def test_decisions_that_history_has_not_heard_yet(reason: Reason, code: str) -> None:
    assert decide_without_trace(Trace(events=(decided(reason),))).code == code


# ---- which case


def test_the_newest_notification_is_the_answer() -> None:
    found = cases_of([message(SENT), message(SENT, of=cause(60))], [])
    assert [case.cause_id for case in found] == [cause(60), cause(0)]


def test_of_one_event_the_requested_one_comes_first() -> None:
    others = decided(Reason.CONDITION_FALSE, name="order-gift")
    found = cases_of([message(SENT)], [others, decided()])
    assert [case.communication for case in found] == ["parcel-shipped", "order-gift"]
    assert len(found[0].decisions) == 1


def test_an_event_that_nobody_listens_to_comes_last() -> None:
    unheard = decided(Reason.NO_COMMUNICATION, of=cause(600), name=None)
    assert cases_of([message(SENT)], [unheard])[0].communication == "parcel-shipped"


def test_transitions_in_one_instant_are_ranked_by_stage() -> None:
    pending, sent = moved(Status.PENDING, Status.SENDING, 1), moved(Status.SENDING, Status.SENT, 1)
    assert message(sent, pending).latest is sent
