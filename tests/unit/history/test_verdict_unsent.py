"""What was not sent, not yet, or left no trace: one verdict for every story."""

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


def test_a_message_that_waits_says_for_what_and_until_when() -> None:
    waiting = Waiting(Reason.QUIET_HOURS, at(3600))
    said = decide(replace(story(decisions=(decided(),)), waiting=waiting))
    assert (said.code, said.reason, said.until) == ("not_yet", Reason.QUIET_HOURS, at(3600))
    assert "quiet hours" in said.sentence
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
    assert (
        "sender's rate limit is reached, or the provider is temporarily refusing" in said.sentence
    )  # a full mailbox is put off, too


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
    assert (said.code, said.reason) == ("unknown", Reason.UNKNOWN_FINAL)
    assert "It was not sent" not in said.sentence


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


def test_an_end_that_was_undone_is_over_whatever_clocks_say() -> None:
    back = moved(Status.SENT, Status.FAILED, 0.5, reason=Reason.PROVIDER_GAVE_UP)  # another replica's clock
    assert verdict(message(SENT, back)).code == "not_sent"
    assert verdict(message(back, SENT)).code == "not_sent"


def test_a_failed_undone_by_a_receipt_is_sent() -> None:
    failed = moved(Status.SENDING, Status.FAILED, 1, reason=Reason.PROVIDER_UNAVAILABLE)
    assert verdict(message(failed, moved(Status.FAILED, Status.SENT, 30))).code == "sent"


# ---- no trace


def test_intake_away_is_said_and_not_guessed() -> None:
    said = decide_without_trace(None, Mode.LIVE)
    assert (said.code, said.certain, said.lost_at) == ("no_trace", False, "intake")


def test_what_never_arrived_was_lost_before_us() -> None:
    said = decide_without_trace(Trace(), Mode.LIVE)
    assert said.lost_at == "source"
    assert "in live mode" in said.sentence
    assert "--mode test" in said.next_step  # where most of what is not found has gone


def test_a_refused_event_names_its_fault() -> None:
    said = decide_without_trace(Trace(rejections=(KeptRejection(NOON, "The field total is missing."),)), Mode.LIVE)
    assert (said.code, said.lost_at) == ("no_trace", "intake")
    assert "The field total is missing." in said.sentence


def test_an_accepted_event_without_a_decision_waits() -> None:
    assert decide_without_trace(Trace(undecided=("e-1",)), Mode.LIVE).code == "not_yet"


@pytest.mark.parametrize(("reason", "code"), [(Reason.CONDITION_FALSE, "not_sent"), (Reason.NONE, "not_yet")])
def test_decisions_that_history_has_not_heard_yet(reason: Reason, code: str) -> None:
    assert decide_without_trace(Trace(events=(decided(reason),)), Mode.LIVE).code == code


def test_of_several_decisions_the_one_that_asked_for_something_counts() -> None:
    trace = Trace(events=(decided(), decided(Reason.CONDITION_FALSE, name="order-gift")))
    assert decide_without_trace(trace, Mode.LIVE).code == "not_yet"


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
