"""What a provider's list of messages proves about an unknown attempt, and what it does not.

A list names none of our attempts. A listed message is ours if address, text and time match and nothing else matches
equally well. An attempt is certainly absent if nothing matches and enough time has passed. Everything else stays
open: a wrong "it is there" would lose a message, a wrong "it is not" would send it twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import msgspec

from libs.contracts.outcomes import Channel, Status
from libs.contracts.reasons import Reason
from services.delivery.domain.backoff import Backoff
from services.delivery.domain.work import WorkRow

MOST_CRASHES = 5  # workers that died during the query; beyond this, the query is assumed to kill them


@dataclass(frozen=True, slots=True)
class VerifyPolicy:
    """When to query: first after about `backoff.base_seconds`, and again until `give_up_seconds` after the attempt
    ended. Before `certain_seconds` have passed, "not there" may only mean "not listed yet". `apart_seconds`: how
    far a listed time may lie outside the attempt's, because clocks differ and calls are processed late."""

    backoff: Backoff = field(default_factory=lambda: Backoff(base_seconds=10.0, cap_seconds=900.0))
    certain_seconds: float = 60.0
    give_up_seconds: float = 7_200.0
    apart_seconds: float = 60.0

    def ask_at(self, now: datetime, asked: int, draw: float, retry_after: float | None = None) -> datetime:
        """Return when to query next, after `asked` queries; at least half the step, because a list lags at first."""
        return now + timedelta(seconds=self.backoff.delay(asked + 1, 0.5 + draw / 2, retry_after))


class Beside(NamedTuple):
    """Another message in doubt to the same address, of any request: it may be queried at another time."""

    key: tuple[UUID, int]
    claimed_at: datetime
    ended_at: datetime
    digest: bytes | None


class Doubt(msgspec.Struct, eq=False):
    """One attempt with an unknown outcome. `row` is the work row of the query."""

    row: WorkRow
    ordinal: int
    notification_id: UUID
    address_id: int
    recipient: str
    channel: Channel
    sender: int
    step: int
    locale: str | None
    claimed_at: datetime
    ended_at: datetime
    digest: bytes | None
    hash: bytes | None
    free_at: datetime | None = None  # when its sender may query again, if it is at its limit
    beside: "Sequence[Beside]" = ()

    @property
    def key(self) -> tuple[UUID, int]:
        """The key of its row; rows are locked in this order."""
        return self.notification_id, self.address_id

    def near(self, at: datetime, apart: timedelta) -> bool:
        """Whether a message that the provider accepted then may have been this attempt."""
        return self.claimed_at - apart <= at <= self.ended_at + apart

    def could_be(self, other: "Doubt | Beside", apart: timedelta) -> bool:
        """Whether a message that the provider accepted might equally be the other one."""
        apart *= 2
        meet = self.claimed_at - apart <= other.ended_at and other.claimed_at - apart <= self.ended_at
        return meet and self.digest == other.digest


class Taken(NamedTuple):
    """A message that a provider accepted for an address. `digest`: of its text as listed."""

    ref: str
    digest: bytes
    at: datetime


class Unclear(NamedTuple):
    """No answer, or one that proves nothing. `final`: no later one would either."""

    text: str
    retry_after: float | None = None
    final: bool = False


Answer = Sequence[Taken] | Unclear


class Learned(NamedTuple):
    """What is now known of a doubt. `ask_at`: still nothing, and when to query again."""

    doubt: Doubt
    status: Status
    reason: Reason
    provider_ref: str | None = None
    detail: str | None = None
    ask_at: datetime | None = None

    @property
    def outcome(self) -> str:
        """The outcome in a word, for metrics: sent, not_sent, asked_again or given_up."""
        if self.ask_at is not None:
            return "asked_again"
        return {Status.SENT: "sent", Status.UNKNOWN: "given_up"}.get(self.status, "not_sent")


@dataclass(frozen=True, slots=True)
class Judge:
    """What follows from answers. `max_resends`: attempts after which it has failed; `draw` in [0, 1) is the jitter."""

    policy: VerifyPolicy
    max_resends: int
    now: datetime
    draw: float

    def of(self, doubts: Sequence[Doubt], answer: Answer) -> list[Learned]:
        """Judge all doubts about one address that were queried at once."""
        if isinstance(answer, Unclear):
            return [self._open(doubt, answer) for doubt in doubts]
        return [self._listed(doubt, doubts, answer) for doubt in doubts]

    def _listed(self, doubt: Doubt, doubts: Sequence[Doubt], listed: Sequence[Taken]) -> Learned:
        apart = timedelta(seconds=self.policy.apart_seconds)
        near = [taken for taken in listed if doubt.near(taken.at, apart)]
        same = [taken for taken in near if taken.digest == doubt.digest]
        others: dict[tuple[UUID, int], Doubt | Beside] = {one.key: one for one in doubt.beside}
        others |= {one.key: one for one in doubts}
        rivals = [other for key, other in others.items() if key != doubt.key and doubt.could_be(other, apart)]
        if len(same) == 1 and not rivals:
            return Learned(doubt, Status.SENT, Reason.VERIFIED_SENT, same[0].ref)
        if same:
            text = f"of {1 + len(rivals)} with the same text at that time, {len(same)} are in the provider's list"
            return self._open(doubt, Unclear(text))
        known = {other.digest for other in others.values()}
        if any(taken.digest not in known for taken in near):
            return self._open(doubt, Unclear("only another text of that time is in the provider's list"))
        return self._not_there(doubt)

    def _not_there(self, doubt: Doubt) -> Learned:
        if self.now < doubt.ended_at + timedelta(seconds=self.policy.certain_seconds):
            return self._open(doubt, Unclear("it is not in the provider's list yet"))
        if doubt.row.attempt > self.max_resends:
            return Learned(doubt, Status.FAILED, Reason.RETRIES_EXHAUSTED, detail="the provider does not have it")
        return Learned(doubt, Status.PENDING, Reason.VERIFIED_NOT_SENT)

    def _open(self, doubt: Doubt, unclear: Unclear) -> Learned:
        over = self.now >= doubt.ended_at + timedelta(seconds=self.policy.give_up_seconds)
        if over or unclear.final or doubt.row.crashes > MOST_CRASHES:
            return Learned(doubt, Status.UNKNOWN, Reason.NOT_VERIFIED, detail=unclear.text)
        ask_at = self.policy.ask_at(self.now, doubt.row.returns + 1, self.draw, unclear.retry_after)
        return Learned(doubt, Status.UNKNOWN, Reason.VERIFYING, detail=unclear.text, ask_at=ask_at)
