"""What the crash model does to a worker and its ledger, and what really happened.

`Chaos.point` is called at every await between two steps of the cycle: there the worker may be killed, as if by
SIGKILL (nothing of it runs any further), or stall beyond its lease and come back. `Chaos.outage` is called before a
transaction and after its commit.
"""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from libs.contracts.outcomes import Lane
from libs.errors import Unavailable
from services.delivery.domain.outbound import Outbound
from services.delivery.domain.verifying import Doubt, Learned, Taken
from services.delivery.domain.work import Claimed, GiveBack, Prepared, Result, WorkRow
from services.delivery.ports import Recovered

T = TypeVar("T")
LEASE = 0.6


@dataclass
class Truth:
    """What really happened, as the provider saw it."""

    calls: Counter[tuple[str, int]] = field(default_factory=Counter)
    accepted: Counter[str] = field(default_factory=Counter)
    taken: list[Outbound] = field(default_factory=list)  # each accepted attempt
    listed: dict[str, list[Taken]] = field(default_factory=lambda: defaultdict(list))  # by address
    outcomes: dict[tuple[str, int], str] = field(default_factory=dict)  # accepted, rejected, deferred or lost
    gave_up: set[tuple[str, int]] = field(default_factory=set)  # accepted, then revoked by a receipt
    delivered: set[tuple[str, int]] = field(default_factory=set)  # according to a receipt
    addresses: set[str] = field(default_factory=set)
    crashes: int = 0
    stalls: int = 0
    outages: int = 0

    def figures(self) -> dict[str, int]:
        """Return how bad the day was."""
        calls = sum(self.calls.values())
        return {"crashes": self.crashes, "stalls": self.stalls, "outages": self.outages, "calls": calls}


class Chaos:
    """One worker's misfortune."""

    def __init__(self, rng: random.Random, truth: Truth, rates: list[float]) -> None:
        self.rng, self.truth, self.rates = rng, truth, rates
        self.victim: asyncio.Task[None] | None = None

    async def point(self, stalls: float = 1.0) -> None:
        """A point between two steps; `stalls` makes the dangerous ones likelier."""
        crash, stall = self.rates[0], self.rates[1] * stalls
        draw = self.rng.random()
        if draw < crash and self.victim is not None:
            self.truth.crashes += 1
            self.victim.cancel()
            await asyncio.Event().wait()
        elif draw < crash + stall:
            self.truth.stalls += 1
            await asyncio.sleep(LEASE * self.rng.uniform(1.0, 2.2))

    def outage(self) -> None:
        """Postgres is briefly unavailable. Raises Unavailable."""
        if self.rng.random() < self.rates[2]:
            self.truth.outages += 1
            raise Unavailable("Postgres does not answer")


class ShakyLedger:
    """The real ledger with a point before and after every transaction, where Postgres may also be unavailable."""

    def __init__(self, ledger: Any, chaos: Chaos) -> None:
        self._ledger, self._chaos = ledger, chaos

    async def _shaken(self, call: Callable[[], Awaitable[T]], stalls: float = 1.0) -> T:
        await self._chaos.point(stalls)
        self._chaos.outage()
        result = await call()
        self._chaos.outage()  # committed, but the response is lost
        await self._chaos.point()
        return result

    async def lease(self, lane: Lane, sizes: tuple[int, int], seconds: float) -> list[WorkRow]:
        return await self._shaken(lambda: self._ledger.lease(lane, sizes, seconds))

    async def give_back(self, backs: Sequence[GiveBack]) -> None:
        await self._shaken(lambda: self._ledger.give_back(backs))

    async def claim(self, prepared: Prepared) -> Claimed:
        # after the worker's own deadline check: only the fence is left
        return await self._shaken(lambda: self._ledger.claim(prepared), stalls=10.0)

    async def record(self, results: Sequence[Result], finished: Sequence[WorkRow]) -> None:
        await self._shaken(lambda: self._ledger.record(results, finished), stalls=5.0)

    async def lease_doubts(self, sizes: tuple[int, int], seconds: float) -> list[WorkRow]:
        return await self._shaken(lambda: self._ledger.lease_doubts(sizes, seconds))

    async def doubts(self, rows: Sequence[WorkRow]) -> list[Doubt]:
        return await self._shaken(lambda: self._ledger.doubts(rows))

    async def owners(self, events: Sequence[tuple[str, str]]) -> Any:
        return await self._shaken(lambda: self._ledger.owners(events))

    async def learn(self, rows: Sequence[WorkRow], learned: Sequence[Learned]) -> list[Learned]:
        return await self._shaken(lambda: self._ledger.learn(rows, learned), stalls=10.0)

    async def recover(self, limit: int) -> Recovered:
        return await self._shaken(lambda: self._ledger.recover(limit))
