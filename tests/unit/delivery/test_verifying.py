"""What a provider's list proves about an attempt in doubt: a false "sent" loses a message, a false "not sent"
repeats it."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.contracts.outcomes import ASKABLE, Channel, Lane, Mode, OnUnknown, Status
from libs.contracts.reasons import Reason
from libs.ids import uuid7
from libs.service import Runtime
from libs.settings import load
from services.delivery.domain.verifying import MOST_CRASHES, Answer, Doubt, Judge, Learned, Taken, Unclear, VerifyPolicy
from services.delivery.domain.work import Queued, Request, WorkRow
from services.delivery.settings import DeliverySettings

NOON = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)
OURS, OTHER = b"our text", b"another text"


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def a_doubt(digest: bytes = OURS, at: float = 0.0, attempt: int = 1, crashes: int = 0, returns: int = 0) -> Doubt:
    """An attempt claimed so many seconds after noon that timed out ten seconds later."""
    id_ = uuid7()
    request = Request(
        id_,
        1,
        Mode.LIVE,
        id_,
        id_,
        "c",
        None,
        0,
        Lane.BULK,
        OnUnknown.VERIFY,
        NOON + timedelta(hours=1),
        None,
        b"",
        NOON,
    )
    row = WorkRow(0, Queued(1, 1), request, (0,), 0, attempt, returns, crashes)
    began = NOON + seconds(at)
    return Doubt(row, 0, uuid7(), 1, "customer:1", Channel.SMS, 3, 0, None, began, began + seconds(10), digest, b"hash")


def taken(at: float = 1.0, digest: bytes = OURS, ref: str = "SM1") -> Taken:
    return Taken(ref, digest, NOON + seconds(at))


def judged(doubts: Sequence[Doubt], answer: Answer, after: float = 100.0, draw: float = 0.0) -> list[Learned]:
    return Judge(VerifyPolicy(), 5, NOON + seconds(after), draw).of(doubts, answer)


def verdict(answer: Answer, after: float = 100.0, doubt: Doubt | None = None) -> tuple[Status, Reason]:
    [learned] = judged([doubt or a_doubt()], answer, after)
    return learned.status, learned.reason


OPEN = (Status.UNKNOWN, Reason.VERIFYING)


def test_a_listed_message_was_sent() -> None:
    [learned] = judged([a_doubt()], [taken()], after=12.0)
    assert learned[1:4] == (Status.SENT, Reason.VERIFIED_SENT, "SM1")


def test_absence_from_the_list_is_certain_only_after_a_delay() -> None:
    """The list lags: a message missing after a second may appear after ten."""
    assert verdict([], after=69.9) == OPEN
    assert verdict([], after=70.0) == (Status.PENDING, Reason.VERIFIED_NOT_SENT)
    assert verdict([], doubt=a_doubt(attempt=6)) == (Status.FAILED, Reason.RETRIES_EXHAUSTED)


def test_a_message_at_another_time_is_another_message() -> None:
    late = taken(at=10 + 60.1)
    assert verdict([taken(at=-60.1), late]) == (Status.PENDING, Reason.VERIFIED_NOT_SENT)
    assert verdict([taken(at=-59.9)])[0] is Status.SENT, "clocks differ a little"


def test_duplicate_texts_prove_nothing_about_either() -> None:
    assert verdict([taken(), taken(ref="SM2")]) == OPEN
    twins = [a_doubt(), a_doubt(at=30.0)]
    assert [one[1:3] for one in judged(twins, [taken()])] == [OPEN, OPEN]
    assert {one.status for one in judged(twins, [])} == {Status.PENDING}, "neither is listed: both are certain"
    apart = [a_doubt(), a_doubt(at=200.0)]
    assert judged(apart, [taken(at=201.0)], after=400.0)[1].status is Status.SENT


def test_another_text_at_that_time_may_be_ours_altered() -> None:
    """Twilio replaces characters and shortens links: then only the time can match."""
    assert verdict([taken(digest=OTHER)]) == OPEN
    both = [a_doubt(), a_doubt(OTHER)]
    known = judged(both, [taken(digest=OTHER)])
    assert [one.status for one in known] == [Status.PENDING, Status.SENT], (
        "the other doubt's text belongs to that doubt"
    )


def test_without_an_answer_queries_repeat_up_to_a_limit() -> None:
    away = Unclear("HTTP 500")
    steps = [judged([a_doubt(returns=asked)], away)[0].ask_at for asked in range(9)]
    assert [(at - NOON).total_seconds() - 100 for at in steps if at] == [10, 20, 40, 80, 160, 320, 450, 450, 450]
    assert verdict(away, after=7_209.9) == OPEN
    assert verdict(away, after=7_210.0) == (Status.UNKNOWN, Reason.NOT_VERIFIED)
    assert verdict(Unclear("erased", final=True)) == (Status.UNKNOWN, Reason.NOT_VERIFIED)
    assert verdict(away, doubt=a_doubt(crashes=MOST_CRASHES + 1)) == (Status.UNKNOWN, Reason.NOT_VERIFIED)
    [told] = judged([a_doubt()], Unclear("429", retry_after=90.0), draw=0.0)
    assert told.ask_at is not None
    assert told.ask_at >= NOON + seconds(190)


@given(
    st.lists(st.tuples(st.integers(-200, 300), st.sampled_from((OURS, OTHER, b"third"))), max_size=6),
    st.integers(10, 8_000),
)
def test_only_an_empty_stretch_of_the_list_repeats_a_message(listed: list[tuple[int, bytes]], after: int) -> None:
    """Whatever the list contains, a message is sent again only if nothing is listed around its time."""
    near = [digest for at, digest in listed if -60 <= at <= 70]
    answer = [taken(at, digest, f"SM{n}") for n, (at, digest) in enumerate(listed)]
    status, _ = verdict(answer, after)
    assert status is not Status.PENDING or not near
    assert (status is Status.SENT) == (near.count(OURS) == 1)


def test_askable_channels_are_those_with_an_enquiry(runtime: Runtime) -> None:
    from services.delivery.app import create_service

    assert set(create_service(runtime).deps.line.enquiries) == ASKABLE


@pytest.mark.parametrize("name", ["verify_after_seconds", "verify_certain_seconds", "verify_give_up_seconds"])
def test_settings_default_to_the_policys_values(name: str, tmp_path: Path) -> None:
    settings, policy = load(DeliverySettings, None), VerifyPolicy()
    known = {
        "verify_after_seconds": policy.backoff.base_seconds,
        "verify_certain_seconds": policy.certain_seconds,
        "verify_give_up_seconds": policy.give_up_seconds,
    }
    assert getattr(settings, name) == known[name]
