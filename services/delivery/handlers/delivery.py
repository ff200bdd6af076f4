"""The dependencies of delivery, passed to every handler, loop and route."""

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from libs.clock import Clock
from libs.contracts.outcomes import Channel, Lane
from libs.keyring import Keyring
from services.delivery.domain.breaker import Breaker, State
from services.delivery.domain.pace import Pace
from services.delivery.handlers.receiving import Receiving
from services.delivery.ports import (
    Doubts,
    Enquiry,
    Intake,
    Ledger,
    Operations,
    Partitions,
    Projections,
    Provider,
    Reads,
    Releases,
    Senders,
    Tokens,
)


class Wake:
    """Tells the sender of this process that a lane has work; other processes find it by polling."""

    def __init__(self) -> None:
        self._events: dict[Lane, asyncio.Event] = {}

    def __call__(self, lane: Lane) -> None:
        self.event(lane).set()

    def event(self, lane: Lane) -> asyncio.Event:
        if lane not in self._events:
            self._events[lane] = asyncio.Event()
        return self._events[lane]


class Breakers:
    """One breaker per sender, in this process."""

    def __init__(self, pace: Pace) -> None:
        self._policy = pace.breaker
        self._breakers: dict[tuple[int, int, int], Breaker] = {}

    def of(self, tenant: int, mode: int, sender: int) -> Breaker:
        key = (tenant, mode, sender)
        if key not in self._breakers:
            self._breakers[key] = Breaker(self._policy)
        return self._breakers[key]

    def states(self, now: float) -> dict[tuple[int, int, int], State]:
        """Return the state of every sender that has sent, by (tenant, mode, number)."""
        return {key: breaker.state(now) for key, breaker in self._breakers.items()}


@dataclass(frozen=True, slots=True)
class Line:
    """The sending half: what the loops need."""

    ledger: Ledger
    doubts: Doubts
    tokens: Tokens
    releases: Releases
    senders: Senders
    providers: Mapping[Lane, Mapping[Channel, Provider]]  # each lane has its own connections
    enquiries: Mapping[Channel, Enquiry]
    keyring: Keyring
    clock: Clock
    public_url: str = "http://127.0.0.1:8700"
    pace: Pace = field(default_factory=Pace)
    wake: Wake = field(default_factory=Wake)
    breakers: Breakers = field(default_factory=lambda: Breakers(Pace()))
    draw: Callable[[], float] = random.random


@dataclass(frozen=True, slots=True)
class Delivery:
    """All dependencies. `line` is the sending half, `receiving` what callbacks need."""

    line: Line
    intake: Intake
    projections: Projections
    operations: Operations
    partitions: Partitions
    reads: Reads
    receiving: Receiving
