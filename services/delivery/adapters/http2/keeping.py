"""What a connection is held to: how much and how long, who is told of it, and whether its peer still lives."""

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
    streams_unsaid: int = 100  # while the peer does not say how many
    most_streams: int = 250  # whatever it says
    last_stream: int = 2**31 - 1


class Keeper(Protocol[Kept]):
    """Who has the connection."""

    def has_opened(self, connection: Kept) -> None:
        """The peer has said how much it takes."""
        ...

    def has_room(self, connection: Kept) -> None:
        """Calls may begin."""
        ...

    def drains(self, connection: Kept) -> None:
        """It takes no more calls; those that are open end."""
        ...

    def has_ended(self, connection: Kept) -> None: ...

    def takes_back(self, call: Call) -> None:
        """The peer promised not to have processed it, and asks for it on another connection."""
        ...


class Pulse(Enum):
    WELL = "well"
    ASK = "ask"  # with a PING
    DEAD = "dead"


class Watch:
    """A connection that died without a word would swallow a hundred calls each time-out: ask whether it lives.

    A silent peer is asked sooner while calls wait for it, so that it is found dead when the first of them end.
    Seconds are monotonic; nothing is timed here, `look` says when it wants to be called again.
    """

    __slots__ = ("_limits", "asked_at", "heard_at")

    def __init__(self, limits: Limits, now: float) -> None:
        self._limits = limits
        self.heard_at = now
        self.asked_at: float | None = None

    def heard(self, now: float) -> None:
        self.heard_at, self.asked_at = now, None

    def look(self, now: float, oldest_due: float | None) -> tuple[Pulse, float]:
        """How the peer is, and when to look again at the latest. `oldest_due`: of the calls that are open."""
        limits = self._limits
        quiet_since, patience = self.heard_at, limits.ping_idle_seconds
        next_look = now + limits.call_seconds / 2  # a call that begins meanwhile is seen before it is due
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
