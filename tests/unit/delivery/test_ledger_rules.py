"""The ledger's pure rules: quiet hours, plans, retries, what receipts mean, explanations of where a message stands."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from libs.contracts.outcomes import ASKABLE, Channel, Lane, Mode, OnUnknown, ReceiptKind, Status
from libs.contracts.reasons import Reason
from libs.ids import uuid7
from libs.keyring import Keyring
from services.delivery.domain.backoff import Backoff
from services.delivery.domain.callbacks import ReceiptNews
from services.delivery.domain.deciding import RetryPolicy, decide
from services.delivery.domain.outcomes import NOT_CALLED, Ambiguous, Deferred, Rejected, Sent
from services.delivery.domain.planning import choose
from services.delivery.domain.quiet import quiet_until
from services.delivery.domain.receiving import verdict_of
from services.delivery.domain.releases import PlannedChannel, Release, Step
from services.delivery.domain.standing import MessageRow, QueuedWork, Standing, explain
from services.delivery.domain.steering import Hold, HoldKind
from services.delivery.domain.work import Group, Later, Message, Prepared, Queued, Request, WorkRow

KEYRING = Keyring(b"a root secret for tests, 32 bytes and more")
NOON = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)
BERLIN = {"from": "22:00", "to": "07:00", "zone": "Europe/Berlin"}


def at(hour: int, minute: int = 0, day: int = 1, month: int = 3) -> datetime:
    return datetime(2027, month, day, hour, minute, tzinfo=UTC)


# ---- quiet hours


@pytest.mark.parametrize(
    ("now", "until"),
    [
        (at(20, 59), None),
        (at(21, 0), at(6, 0, day=2)),  # 22:00 in Berlin
        (at(5, 59, day=2), at(6, 0, day=2)),
        (at(6, 0, day=2), None),
        (at(23, 30, day=27), at(5, 0, day=28)),  # the clock goes forward in this night: it has one hour less
    ],
)
def test_quiet_hours_end_by_the_wall_clock(now: datetime, until: datetime | None) -> None:
    assert quiet_until(BERLIN, now) == until


def test_quiet_hours_within_a_day_and_none_at_all() -> None:
    siesta = {"from": "12:00", "to": "14:00", "zone": "UTC"}
    assert [quiet_until(siesta, at(hour)) for hour in (12, 13)] == [at(14), at(14)]
    assert quiet_until(siesta, at(14)) is None
    assert quiet_until({"from": "00:00", "to": "00:00", "zone": "UTC"}, at(13)) is None
    assert quiet_until(None, at(13)) is None


@pytest.mark.parametrize("night", [at(12, day=27), at(12, day=30, month=10)])  # the clock goes forward, and back
@pytest.mark.parametrize("end", ["01:30", "02:00", "02:30", "03:00"])
def test_quiet_hours_end_in_the_future_across_clock_changes(night: datetime, end: str) -> None:
    """An end in the past would make the message due at once, again and again."""
    for minutes in range(0, 24 * 60, 5):
        now = night + timedelta(minutes=minutes)
        until = quiet_until({"from": "22:00", "to": end, "zone": "Europe/Berlin"}, now)
        assert until is None or now < until <= now + timedelta(hours=6)


# ---- plans


def a_release(*steps: tuple[bool, tuple[Channel, ...]], marketing: bool = False) -> Release:
    texts: Any = None
    plan = [Step(every, [PlannedChannel(channel, texts, 0) for channel in channels]) for every, channels in steps]
    topic = "sale" if marketing else None
    return Release(uuid7(), 1, Mode.LIVE, "c", 1, marketing, topic, False, "en", plan, ("push", "email"))


def reachable(*channels: str, **consents: bool) -> Any:
    return {"addresses": [{"id": n, "channel": c} for n, c in enumerate(channels, 1)], "consents": consents}


def reached(release: Release, recipient: Any, step: int = 0) -> tuple[int, list[int], Reason]:
    choice = choose(release, recipient, step)
    return choice.step, [target.address["id"] for target in choice.targets], choice.reason


def test_first_takes_the_first_usable_channel_and_all_takes_all() -> None:
    both = (Channel.PUSH, Channel.EMAIL)
    recipient = reachable("email", "push", "push")
    assert reached(a_release((False, both)), recipient) == (0, [2, 3], Reason.NONE)
    assert reached(a_release((True, both)), recipient) == (0, [2, 3, 1], Reason.NONE)
    assert reached(a_release((False, both)), reachable("email")) == (0, [1], Reason.NONE)


def test_a_step_that_reaches_nobody_falls_through_to_the_next() -> None:
    release = a_release((True, (Channel.PUSH,)), (True, (Channel.EMAIL,)))
    assert reached(release, reachable("email")) == (1, [1], Reason.NONE)
    assert reached(release, reachable("sms")) == (0, [], Reason.NO_ADDRESS)
    assert reached(release, reachable("push"), step=1) == (1, [], Reason.NO_ADDRESS)


def test_an_address_without_consent_is_skipped() -> None:
    release = a_release((True, (Channel.EMAIL,)), marketing=True)
    assert reached(release, reachable("email")) == (0, [], Reason.NO_CONSENT)
    assert reached(release, reachable("email", email=True)) == (0, [1], Reason.NONE)


# ---- outcomes


def a_row(attempt: int = 1, on_unknown: OnUnknown = OnUnknown.LEAVE, ordinals: tuple[int, ...] = (0,)) -> WorkRow:
    expires = NOON + timedelta(hours=1)
    fields: Any = (
        uuid7(),
        1,
        Mode.LIVE,
        uuid7(),
        uuid7(),
        "c",
        None,
        0,
        Lane.BULK,
        on_unknown,
        expires,
        None,
        b"",
        NOON,
    )
    return WorkRow(0, Queued(1, 1), Request(*fields), ordinals, 0, attempt, 0, 0)


def decided(outcome: Any, attempt: int = 1, on_unknown: OnUnknown = OnUnknown.LEAVE) -> Any:
    message = Message(a_row(attempt, on_unknown), 0, uuid7(), "customer:1", 1, Status.SENDING)
    return decide(message, outcome, RetryPolicy(Backoff(2.0, 900.0), 5, 2), NOON, 0.5)


def test_each_enum_equals_its_stored_number() -> None:
    """Either can be looked up in a table of the other."""
    assert (Status.SENT, Reason.EXPIRED) in {(2, 3)}
    assert Reason.EXPIRED.word == "expired"


def test_definite_answers_are_final() -> None:
    sent = decided(Sent("ref"))
    assert (sent.status, sent.reason, sent.provider_ref) == (Status.SENT, Reason.NONE, "ref")
    refused = decided(Rejected(Reason.ADDRESS_INVALID, "no such address"))
    assert (refused.status, refused.again_at) == (Status.FAILED, None)


def test_unsent_messages_are_retried_until_attempts_or_time_run_out() -> None:
    later = decided(Deferred(Reason.THROTTLED, "429", retry_after=60.0))
    assert (later.status, later.refusal is not None) == (Status.PENDING, True)
    assert NOON + timedelta(seconds=60) <= later.again_at < NOON + timedelta(seconds=70)
    assert decided(NOT_CALLED).refusal is None  # no provider rejected it
    assert decided(Deferred(Reason.THROTTLED, "429", retry_after=7200.0)).again_at == NOON + timedelta(hours=1)
    last = decided(Deferred(Reason.THROTTLED, "429"), attempt=5)
    assert (last.status, last.reason) == (Status.FAILED, Reason.RETRIES_EXHAUSTED)


@pytest.mark.parametrize(
    ("on_unknown", "attempt", "again"),
    [
        (OnUnknown.LEAVE, 1, False),
        (OnUnknown.VERIFY, 1, False),
        (OnUnknown.RESEND, 1, True),
        (OnUnknown.RESEND, 2, True),
        (OnUnknown.RESEND, 3, False),
    ],
)
def test_only_resend_repeats_an_unknown_and_only_up_to_a_limit(
    on_unknown: OnUnknown, attempt: int, again: bool
) -> None:
    result = decided(Ambiguous(Reason.TIMED_OUT, "no answer"), attempt, on_unknown)
    assert (result.status, result.again_at is not None) == (Status.UNKNOWN, again)


@pytest.mark.parametrize("channel", list(Channel))
def test_a_provider_is_queried_after_a_delay_where_the_channel_allows(channel: Channel) -> None:
    message = Message(a_row(1, OnUnknown.VERIFY), 0, uuid7(), "customer:1", 1, Status.SENDING, channel=channel)
    result = decide(message, Ambiguous(Reason.TIMED_OUT, "no answer"), RetryPolicy(), NOON, 0.0)
    asked = NOON + timedelta(seconds=5) if channel in ASKABLE else None
    assert (result.status, result.again_at, result.ask_at) == (Status.UNKNOWN, None, asked)


def test_no_recipient_is_lost_between_lease_and_claim() -> None:
    row = a_row(ordinals=(0, 1))
    message = Message(row, 0, uuid7(), "customer:1", 1, Status.SENDING)
    prepared = Prepared(Group(Lane.BULK, [row], 0.0), [message])
    with pytest.raises(AssertionError, match="would be lost"):
        prepared.check_complete()
    prepared.later.append(Later(row, [1], NOON, Reason.QUIET_HOURS))
    prepared.check_complete()


def test_postponing_one_address_postpones_its_recipient() -> None:
    row = a_row(ordinals=(0, 1))
    messages = [Message(row, n, uuid7(), f"customer:{n}", a, Status.SENDING) for n, a in ((0, 1), (0, 2), (1, 3))]
    prepared = Prepared(Group(Lane.BULK, [row], 0.0), list(messages))
    prepared.put_off(messages[:1], NOON, Reason.BREAKER_OPEN)
    assert [m.ordinal for m in prepared.messages] == [1]
    prepared.check_complete()


# ---- receipts


def news(*kinds: ReceiptKind) -> list[ReceiptNews]:
    return [ReceiptNews("p", str(n), uuid7(), 1, 1, kind, NOON) for n, kind in enumerate(kinds)]


def test_delivered_outweighs_failed_and_failed_outweighs_accepted() -> None:
    assert verdict_of(news(ReceiptKind.FAILED, ReceiptKind.DELIVERED)).status is Status.SENT
    assert verdict_of(news(ReceiptKind.ACCEPTED, ReceiptKind.FAILED))[:2] == (Status.FAILED, Reason.PROVIDER_GAVE_UP)
    assert verdict_of(news(ReceiptKind.ACCEPTED)).status is Status.SENT
    assert verdict_of(news(ReceiptKind.BOUNCED)).status is Status.SENT  # it was accepted; bouncing is another axis


# ---- where things stand


def test_a_waiting_message_is_explained_with_its_time() -> None:
    quiet = QueuedWork(NOON + timedelta(hours=8), 1, 0, Reason.QUIET_HOURS, False, False, False, None)
    held = quiet._replace(held=True, held_sender=3)
    said = explain(Standing(uuid7(), work=[quiet]), NOON)
    assert (said.state, said.reason, said.until) == ("waiting", Reason.QUIET_HOURS, quiet.due_at)
    assert "sender 3" in explain(Standing(uuid7(), work=[held]), NOON).detail
    assert explain(Standing(uuid7(), work=[quiet._replace(due_at=NOON)]), NOON).reason is Reason.NONE
    assert explain(Standing(uuid7()), NOON).reason is Reason.DUPLICATE


def test_of_several_messages_the_unknown_one_is_explained() -> None:
    def row(address: int, status: Status, reason: Reason) -> MessageRow:
        where, rest = (uuid7(), address, uuid7(), 0), (1, 1, 0, None, 1, 0, None, None, None, None, NOON, None)
        return MessageRow(*where, status, reason, *rest, tenant=1, mode=1, communication="c", from_address=None)

    messages = [row(1, Status.SENT, Reason.NONE), row(2, Status.UNKNOWN, Reason.TIMED_OUT)]
    said = explain(Standing(uuid7(), messages=messages), NOON)
    assert (said.state, said.reason, said.detail) == ("unknown", Reason.TIMED_OUT, messages[1].sentence)


@pytest.mark.parametrize("kind", list(HoldKind))
def test_what_is_held_names_the_hold_its_author_and_its_note(kind: HoldKind) -> None:
    sender = 3 if kind is HoldKind.SENDER else None
    work = QueuedWork(NOON, 1, 0, Reason.HELD, False, False, True, sender)
    standing = Standing(uuid7(), work=[work], cause_id=uuid7(), release_id=uuid7())
    targets = {"cause": str(standing.cause_id), "release": str(standing.release_id), "sender": "3", "tenant": "1"}
    others = [Hold(1, Mode.LIVE, of, "9", 1, True, "wrong one", "k2", NOON) for of in HoldKind if of != HoldKind.TENANT]
    stops = Hold(1, Mode.LIVE, kind, targets[kind.value], 1, True, "Wrong price.", "k1", NOON)
    assert explain(standing, NOON, [*others, stops]).detail == (
        f"A hold on {kind.value} {stops.target} stops it, placed by k1 at {NOON:%Y-%m-%d %H:%M:%S} UTC. "
        "Note: Wrong price."
    )
    assert "stops it." in explain(standing, NOON, others).detail  # it was lifted meanwhile
