"""Pauses a sender whose provider is unavailable: consecutive failures open it, one probe closes it again.

    closed ──threshold failures in a row──▶ open ──pause over──▶ half-open ──success──▶ closed
                                             ▲                       │
                                             └──failure, pause × 2───┘

Time is a parameter (monotonic seconds). Not shared between workers: each finds out by itself, cheaply.
"""

from dataclasses import dataclass
from enum import Enum

from libs.contracts.outcomes import Channel
from libs.contracts.reasons import Reason
from services.delivery.domain.outcomes import Ambiguous, Deferred, Outcome, Rejected, Sent


class State(Enum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When to pause, and for how long."""

    threshold: int = 20
    pause_seconds: float = 2.0
    longest_pause_seconds: float = 60.0


def speaks_for(outcome: Outcome) -> bool | None:
    """Whether an outcome shows that the provider works (True), is unavailable (False), or neither (None)."""
    match outcome:
        case Sent():
            return True
        case Rejected(sender_fault=fault):
            return not fault
        case Ambiguous():
            return False
        case Deferred(called=False):
            return None
        case Deferred(sender_fault=True):
            return False
        case Deferred(reason=Reason.PROVIDER_UNAVAILABLE | Reason.CONNECTION_LOST | Reason.TIMED_OUT):
            return False
        case Deferred():
            return None  # a 429 or a greylisting server is up, and has said when to come back


def tells_of_sender(channel: Channel, outcome: Outcome) -> bool:
    """Whether a sender's breaker is to hear of it. Behind a webhook sender stand as many servers as receivers: one that
    is away must not stop the others."""
    if channel is not Channel.WEBHOOK or isinstance(outcome, Sent):
        return True
    return isinstance(outcome, Rejected | Deferred) and outcome.sender_fault


class Breaker:
    """One sender's breaker."""

    def __init__(self, policy: BreakerPolicy | None = None) -> None:
        self._policy = policy or BreakerPolicy()
        self._failures = 0
        self._pause = self._policy.pause_seconds
        self._open_until: float | None = None
        self._probe_until: float | None = None

    def state(self, now: float) -> State:
        if self._open_until is None:
            return State.CLOSED
        return State.OPEN if now < self._open_until else State.HALF_OPEN

    def allows(self, now: float) -> bool:
        """Whether to call at all. Half-open, it allows one caller; the others wait for the result.

        A probe that never reports (its chunk was cancelled) frees the slot after the longest pause."""
        match self.state(now):
            case State.CLOSED:
                return True
            case State.OPEN:
                return False
            case State.HALF_OPEN:
                if self._probe_until is not None and now < self._probe_until:
                    return False
                self._probe_until = now + self._policy.longest_pause_seconds
                return True

    def opens_in(self, now: float) -> float:
        """Return the seconds until a call is allowed again; 0 if one is."""
        return max(0.0, (self._open_until or now) - now)

    def note(self, outcome: Outcome, now: float) -> bool:
        """Learn from a call. True if this one opened the breaker: worth an alarm."""
        match speaks_for(outcome):
            case None:
                return False
            case True:
                self._failures, self._pause = 0, self._policy.pause_seconds
                self._open_until = self._probe_until = None
                return False
            case False:
                return self._failed(now)

    def _failed(self, now: float) -> bool:
        self._failures += 1
        state = self.state(now)
        if state is State.HALF_OPEN:
            self._pause = min(self._pause * 2, self._policy.longest_pause_seconds)
        elif state is State.OPEN or self._failures < self._policy.threshold:
            return False  # late results of calls begun before it opened do not lengthen the pause
        self._open_until, self._probe_until = now + self._pause, None
        return True
