"""The ledger as the sender sees it: each method is one transaction, retried if Postgres broke a deadlock."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from libs.clock import Clock
from libs.errors import Unavailable
from libs.keyring import Keyring
from libs.storage.database import Collided, Database
from libs.storage.erasures import Erased, mark
from libs.storage.new_rows import written
from libs.telemetry import get_logger
from services.delivery.adapters.postgres import accept, claim, doubts, lease, projections, receipts, record, recover
from services.delivery.adapters.postgres.counting import counted
from services.delivery.domain.bodies import Body
from services.delivery.domain.callbacks import ReceiptNews
from services.delivery.domain.intake import NewRequest
from services.delivery.domain.steering import KnownRelease, Suppression
from services.delivery.domain.verifying import Doubt, Learned
from services.delivery.domain.work import QUESTIONS, Claimed, GiveBack, Prepared, Result, WorkRow
from services.delivery.ports import Realm, Received, Recovered

# A plan made for an empty table stays cached: without these, updates from arrays become hash joins with a sequential
# scan, or a whole index read into memory and compared row by row. Tested with EXPLAIN.
POOL_SETTINGS = {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_material": "off",
    # what is called is in memory; with free pages, the planner avoids comparing rows one by one
    "seq_page_cost": "0.01",
    "random_page_cost": "0.01",
    "cpu_tuple_cost": "0.1",
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
}
_TRIES = 4
# A table analysed while empty makes a full scan look cheapest, and the plan would stay while a campaign fills it.
# Planning again costs half a millisecond per statement.
_PLANS_SECONDS = 5.0

log = get_logger(__name__)
T = TypeVar("T")


@dataclass(slots=True)
class PostgresLedger:
    """Requests, work and messages of one schema. `retention_days`: how far back its partitions reach."""

    database: Database
    clock: Clock
    keyring: Keyring
    retention_days: int = 90
    deadlocks: int = 0  # broken by Postgres and retried: a sort is missing somewhere
    _days: set[date] = field(default_factory=set)
    _planned: dict[int, float] = field(default_factory=dict)  # server process → when its plans were last discarded

    async def accept(self, requests: Sequence[NewRequest]) -> list[UUID]:
        """Store the new requests with their work; return their ids."""
        now = self.clock()
        oldest = accept.oldest_day(now, self.retention_days)
        days = {accept.day_of(request.command.cause_id) for request in requests}
        await self.have_days({day for day in days if day >= oldest})

        async def run(connection: Any, look: bool) -> list[UUID]:
            known = await accept.without_erased_recipients(connection, requests, self.keyring)
            return await accept.store(connection, known, now, oldest, look)

        return await self._adding(run)

    async def have_days(self, days: set[date]) -> None:
        """Create the missing partitions, each in its own transaction."""
        for day in sorted(days - self._days):
            async with self.database.acquire() as connection:
                await connection.execute("select make_partition($1)", day)
            self._days.add(day)

    async def lease(self, lane: int, sizes: tuple[int, int], seconds: float) -> list[WorkRow]:
        """Lease due work of the lane: at most `sizes[0]` queue rows, about `sizes[1]` recipients; for `seconds`."""
        async with self.database.acquire() as connection:
            if not await lease.anything_due(connection, lane, self.clock()):
                return []

        async def run(connection: Any) -> list[WorkRow]:
            return await lease.lease(connection, lane, self.clock(), sizes, seconds)

        return await self._transaction(run)

    async def give_back(self, backs: Sequence[GiveBack]) -> None:
        """Reschedule untouched rows."""

        async def run(connection: Any) -> None:
            await lease.give_back(connection, backs)

        await self._transaction(run)

    async def claim(self, prepared: Prepared) -> Claimed:
        """Claim. Only the messages that it returns may be called."""

        async def run(connection: Any, look: bool) -> Claimed:
            return await claim.claim(connection, prepared, self.clock(), look)

        return await self._adding(run)

    async def record(self, results: Sequence[Result], finished: Sequence[WorkRow]) -> None:
        """Record outcomes, and the rows that have none outstanding any more."""

        async def run(connection: Any) -> None:
            await record.record(connection, results, finished, self.clock())

        await self._transaction(run)

    async def recover(self, limit: int) -> Recovered:
        """Recover rows whose lease ran out."""

        async def run(connection: Any) -> Recovered:
            return await recover.recover(connection, limit, self._open_body, self.clock())

        return await self._transaction(run)

    async def lease_doubts(self, sizes: tuple[int, int], seconds: float) -> list[WorkRow]:
        """Lease due rows of the lane for queries to providers."""
        return await self.lease(QUESTIONS, sizes, seconds)

    async def doubts(self, rows: Sequence[WorkRow]) -> list[Doubt]:
        """Return the open doubts of these rows."""

        async def run(connection: Any) -> list[Doubt]:
            return await doubts.read(connection, rows, self._open_body, self.clock())

        return await self._transaction(run)

    async def owners(self, events: Sequence[tuple[str, str]]) -> dict[tuple[str, str], tuple[UUID, int]]:
        """Return the messages that these receipts were about."""
        async with self.database.acquire() as connection:
            return await doubts.owners(connection, events)

    async def learn(self, rows: Sequence[WorkRow], learned: Sequence[Learned]) -> list[Learned]:
        """Record what was learned and end the rows; return what changed."""

        async def run(connection: Any) -> list[Learned]:
            return await doubts.learn(connection, rows, learned, self.clock())

        return await self._transaction(run)

    async def receive(self, news: Sequence[ReceiptNews], realm: Realm | None = None) -> Received:
        """Apply receipts; if a realm is given, only those about its messages."""

        async def run(connection: Any) -> Received:
            return await receipts.apply(connection, news, realm, self._open_body, self.clock())

        return await self._transaction(run)

    async def suppress(self, changes: Sequence[Suppression]) -> None:
        """Apply suppressions, in any order."""

        async def run(connection: Any) -> None:
            await projections.suppress(connection, changes)

        await self._transaction(run)

    async def know(self, releases: Sequence[KnownRelease]) -> None:
        """Record releases that exist or were retired."""

        async def run(connection: Any) -> None:
            await projections.know(connection, releases)

        await self._transaction(run)

    async def erase(self, erased: Sequence[Erased]) -> int:
        """Wipe recipients from all requests, and from those that arrive later; return the number of slots. One
        transaction each: one recipient's messages would be locked after another one's requests."""
        await mark(self.database, erased)
        whom = sorted({(tenant, int(mode), recipient) for tenant, mode, recipient, _ in erased})
        erase = partial(projections.erase, keyring=self.keyring)
        return sum([await self._transaction(partial(erase, whom=one)) for one in whom])

    def _open_body(self, request_id: UUID, raw: bytes) -> Body:
        return Body(self.keyring, request_id, raw)

    async def _adding(self, run: Callable[[Any, bool], Awaitable[T]]) -> T:
        return await written(lambda look: self._transaction(lambda connection: run(connection, look)))

    async def _transaction(self, run: Callable[[Any], Awaitable[T]]) -> T:
        for turn in range(_TRIES):
            try:
                async with self._connection() as connection:
                    return await run(connection)
            except Collided as error:
                self.deadlocks += 1
                # Postgres' context names the statement and the table that it waited for
                log.error("deadlock", turn=turn, detail=getattr(error.__cause__, "context", None))
        raise Unavailable("Postgres broke a deadlock four times in a row; the work is retried later.")

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        with counted():
            async with self.database.transaction() as connection:
                process, now = connection.get_server_pid(), time.monotonic()
                if self._planned.get(process, 0.0) + _PLANS_SECONDS < now:
                    self._planned[process] = now
                    await connection.execute("discard plans")
                yield connection
