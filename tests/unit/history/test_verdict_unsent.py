"""Verdicts on messages not sent, not sent yet, or without a trace."""

from dataclasses import replace

import pytest

from libs.contracts.outcomes import Mode, Status
from libs.contracts.reasons import Reason
from services.history.domain.case import KeptRejection, Trace, Waiting, cases_of
from services.history.domain.facts import Rejection
from services.history.domain.no_trace import decide_without_trace
from services.history.domain.verdict import decide
from tests.unit.history.stories import LOST, NOON, SENT, at, cause, decided, message, moved, story, verdict

# ---- not yet, unknown


def test_a_waiting_message_says_for_what_and_until_when() -> None:
    waiting = Waiting(Reason.QUIET_HOURS, at(3600))
    said = decide(replace(story(decisions=(decided(),)), waiting=waiting))
    assert (said.code, said.reason, said.until) == ("not_yet", Reason.QUIET_HOURS, at(3600))
    assert "quiet hours" in said.sentence
    assert "13:00:00" in said.sentence


@pytest.mark.parametrize(
    ("ended", "code"),
    [(Status.SENT, "sent"), (Status.UNKNOWN, "unknown"), (Status.SKIPPED, "not_sent"), (Status.FAILED, "not_sent")],
)
def test_a_message_that_delivery_has_ended_is_not_waiting(ended: Status, code: str) -> None:
    waiting = Waiting(Reason.NONE if ended is Status.SENT else Reason.EXPIRED, ended=ended)
    assert decide(replace(story(decisions=(decided(),)), waiting=waiting)).code == code


def test_a_message_back_in_the_queue_waits_for_its_reason() -> None:
    said = verdict(message(moved(Status.SENDING, Status.PENDING, reason=Reason.THROTTLED)))
    assert (said.code, said.reason) == ("not_yet", Reason.THROTTLED)
    # a full mailbox is postponed, too
    assert "sender's rate limit is reached, or the provider is temporarily refusing" in said.sentence


def test_a_request_unknown_to_delivery_is_lost_in_between() -> None:
    said = decide(replace(story(decisions=(decided(),)), lost=True))
    assert (said.code, said.lost_at) == ("no_trace", "request")


def test_a_request_in_flight_is_not_lost() -> None:
    assert decide(story(decisions=(decided(),))).code == "not_yet"


def test_no_answer_and_no_later_event_is_unknown() -> None:
    said = verdict(message(LOST))
    assert (said.code, said.reason) == ("unknown", Reason.TIMED_OUT)


def test_an_unknown_that_nothing_will_send_again_says_whom_to_ask() -> None:
    waits = replace(story(message(LOST)), waiting=Waiting(Reason.TIMED_OUT))
    assert "on_unknown" in decide(waits).next_step
    left = decide(replace(waits, waiting=Waiting(Reason.TIMED_OUT, ended=Status.UNKNOWN)))
    assert left.sentence.startswith("It is not known whether it was sent.")
    assert left.next_step.startswith("Ask the customer whether it arrived. It is not sent again by itself")


def test_an_abandoned_unknown_says_so() -> None:
    final = moved(Status.UNKNOWN, Status.FAILED, 90_000, reason=Reason.UNKNOWN_FINAL)
    said = verdict(message(LOST, final))
    assert (said.code, said.reason) == ("unknown", Reason.UNKNOWN_FINAL)
    assert "It was not sent" not in said.sentence


# ---- not sent


@pytest.mark.parametrize("reason", [reason for reason in Reason if 0 < reason < 20])
def test_every_rule_of_ours_is_explained_with_a_next_step(reason: Reason) -> None:
    said = verdict(message(moved(Status.PENDING, Status.SKIPPED, reason=reason), address=0))
    assert (said.code, said.reason, said.next_step) == ("not_sent", reason, reason.text.next_step)
    assert "{detail}" not in said.sentence


def test_the_sentence_quotes_the_provider() -> None:
    said = verdict(
        message(
            moved(Status.SENDING, Status.FAILED, reason=Reason.PROVIDER_REJECTED, detail="552 too big"),
            rejections=(Rejection(at(1), 1, True, "552 too big", 552),),
        )
    )
    assert "552 too big." in said.sentence


def test_a_suppressed_address_is_named_as_the_reason() -> None:
    said = verdict(message(moved(Status.PENDING, Status.SUPPRESSED, reason=Reason.SUPPRESSED_BOUNCE)))
    assert (said.code, said.reason) == ("not_sent", Reason.SUPPRESSED_BOUNCE)


def test_the_last_step_of_a_plan_gives_the_reason() -> None:
    push = message(moved(Status.SENDING, Status.FAILED, 50, reason=Reason.DEVICE_UNREGISTERED, step=0))
    mail = message(moved(Status.SENDING, Status.FAILED, 9, reason=Reason.MAILBOX_UNAVAILABLE, step=1), address=3)
    assert verdict(push, mail).reason is Reason.MAILBOX_UNAVAILABLE


@pytest.mark.parametrize("reason", [Reason.CONDITION_FALSE, Reason.NO_COMMUNICATION, Reason.RECIPIENT_MISSING])
def test_a_refusal_before_any_notification_is_not_sent(reason: Reason) -> None:
    said = decide(story(decisions=(decided(reason),)))
    assert (said.code, said.reason) == ("not_sent", reason)


def test_a_sent_message_failed_by_a_receipt_is_not_sent() -> None:
    back = moved(Status.SENT, Status.FAILED, 30, reason=Reason.PROVIDER_GAVE_UP)
    assert verdict(message(SENT, back)).reason is Reason.PROVIDER_GAVE_UP


def test_an_overturned_outcome_is_ignored_despite_clock_skew() -> None:
    back = moved(Status.SENT, Status.FAILED, 0.5, reason=Reason.PROVIDER_GAVE_UP)  # another replica's clock
    assert verdict(message(SENT, back)).code == "not_sent"
    assert verdict(message(back, SENT)).code == "not_sent"


def test_a_failed_message_sent_by_a_receipt_is_sent() -> None:
    failed = moved(Status.SENDING, Status.FAILED, 1, reason=Reason.PROVIDER_UNAVAILABLE)
    assert verdict(message(failed, moved(Status.FAILED, Status.SENT, 30))).code == "sent"


# ---- no trace


def test_an_unavailable_intake_is_reported_without_a_guess() -> None:
    said = decide_without_trace(None, Mode.LIVE)
    assert (said.code, said.certain, said.lost_at) == ("no_trace", False, "intake")


def test_an_event_that_never_arrived_was_lost_at_the_source() -> None:
    said = decide_without_trace(Trace(), Mode.LIVE)
    assert said.lost_at == "source"
    assert "in live mode" in said.sentence
    assert "--mode test" in said.next_step  # where most missing messages are


def test_a_refused_event_names_its_error() -> None:
    said = decide_without_trace(Trace(rejections=(KeptRejection(NOON, "The field total is missing."),)), Mode.LIVE)
    assert (said.code, said.lost_at) == ("no_trace", "intake")
    assert "The field total is missing." in said.sentence


def test_an_accepted_event_without_a_decision_waits() -> None:
    assert decide_without_trace(Trace(undecided=("e-1",)), Mode.LIVE).code == "not_yet"


@pytest.mark.parametrize(("reason", "code"), [(Reason.CONDITION_FALSE, "not_sent"), (Reason.NONE, "not_yet")])
def test_decisions_missing_in_history_are_taken_from_intake(reason: Reason, code: str) -> None:
    assert decide_without_trace(Trace(events=(decided(reason),)), Mode.LIVE).code == code


def test_among_several_decisions_the_requested_one_decides() -> None:
    trace = Trace(events=(decided(), decided(Reason.CONDITION_FALSE, name="order-gift")))
    assert decide_without_trace(trace, Mode.LIVE).code == "not_yet"


# ---- which case


def test_the_newest_notification_is_the_answer() -> None:
    found = cases_of([message(SENT), message(SENT, of=cause(60))], [])
    assert [case.cause_id for case in found] == [cause(60), cause(0)]


def test_the_requested_case_of_an_event_comes_first() -> None:
    others = decided(Reason.CONDITION_FALSE, name="order-gift")
    found = cases_of([message(SENT)], [others, decided()])
    assert [case.communication for case in found] == ["parcel-shipped", "order-gift"]
    assert len(found[0].decisions) == 1


def test_an_event_without_a_communication_comes_last() -> None:
    unheard = decided(Reason.NO_COMMUNICATION, of=cause(600), name=None)
    assert cases_of([message(SENT)], [unheard])[0].communication == "parcel-shipped"


def test_simultaneous_transitions_are_ranked_by_stage() -> None:
    pending, sent = moved(Status.PENDING, Status.SENDING, 1), moved(Status.SENDING, Status.SENT, 1)
    assert message(sent, pending).latest is sent
