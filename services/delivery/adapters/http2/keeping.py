"""The limits of a connection, its keeper, and the check whether its peer is alive."""

from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeVar

from services.delivery.adapters.http2.calls import Call

Kept = TypeVar("Kept", contravariant=True)  # a connection


@dataclass(frozen=True, slots=True)
class Limits:
    """How long, and how much at once."""

    call_seconds: float = 10.0
    connect_seconds: float = 5.0
    ping_idle_seconds: float = 15.0
    ping_answer_seconds: float = 5.0
    streams_unsaid: int = 100  # until the peer announces a limit
    most_streams: int = 250  # whatever the peer announces
    last_stream: int = 2**31 - 1


class Keeper(Protocol[Kept]):
    """The owner of a connection."""

    def has_opened(self, connection: Kept) -> None:
        """The peer has announced its limits."""
        ...

    def has_room(self, connection: Kept) -> None:
        """Calls may begin."""
        ...

    def drains(self, connection: Kept) -> None:
        """It accepts no more calls; open calls end."""
        ...

    def has_ended(self, connection: Kept) -> None: ...

    def takes_back(self, call: Call) -> None:
        """The peer promised that it did not process the call; send it on another connection."""
        ...


class Pulse(Enum):
    WELL = "well"
    ASK = "ask"  # with a PING
    DEAD = "dead"


class Watch:
    """Detects a dead connection, which would swallow a hundred calls per timeout.

    A silent peer is pinged sooner while calls wait for it, so that it is known to be dead when the first of them
    time out. Seconds are monotonic. It sets no timer; `look` returns when it must be called again."""

    __slots__ = ("_limits", "asked_at", "heard_at")

    def __init__(self, limits: Limits, now: float) -> None:
        self._limits = limits
        self.heard_at = now
        self.asked_at: float | None = None

    def heard(self, now: float) -> None:
        self.heard_at, self.asked_at = now, None

    def look(self, now: float, oldest_due: float | None) -> tuple[Pulse, float]:
        """Return the state of the peer, and when to look again at the latest. `oldest_due`: of the open calls."""
        limits = self._limits
        quiet_since, patience = self.heard_at, limits.ping_idle_seconds
        next_look = now + limits.call_seconds / 2  # a call that begins meanwhile is checked before it is due
        if oldest_due is not None:
            next_look = min(next_look, oldest_due)
            quiet_since = max(quiet_since, oldest_due - limits.call_seconds)
            patience = min(patience, limits.call_seconds / 2)
        if self.asked_at is not None:
            dead_at = self.asked_at + limits.ping_answer_seconds
            return (Pulse.DEAD, now) if now >= dead_at else (Pulse.WELL, min(next_look, dead_at))
        if now >= quiet_since + patience:
            self.asked_at = now
            return Pulse.ASK, min(next_look, now + limits.ping_answer_seconds)
        return Pulse.WELL, min(next_look, quiet_since + patience)
