"""The embedded bus: the outbox itself is the queue, and this relay is its broker.

The relay leases a batch of unpublished rows with SKIP LOCKED, inside one transaction, and delivers it to each
subscriber. It deletes the rows that all subscribers acknowledged. If one fails, the row stays and `outbox_delivery`
records who is owed what; the relay retries it with back-off and finally stores it as a dead letter. A crash releases
the locks, and the batch is delivered again: as unkind as a real broker. It never uses "id greater than the last
seen", because ids commit out of order. The lanes run side by side; neither waits for the other.
"""

import asyncio
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from typing import Any

import asyncpg

from libs.clock import pause
from libs.errors import Unavailable
from libs.messaging import owed as debts
from libs.messaging.bus import Subscriber
from libs.messaging.delivering import deliver
from libs.messaging.keeping import Kept, forget_old
from libs.messaging.lookout import Lookout
from libs.messaging.outbox import FIRST_LANE, LANES
from libs.messaging.reading import Failure, decoded, grouped
from libs.storage.database import Database
from libs.telemetry import get_logger

MOST_ROWS = 500
_ROWS_AT_FIRST = 32
# Bytes delivered at once: some hundred small events, or two or three with a thousand recipients each. A larger batch
# would hold up everything else on the handler's event loop.
BATCH_BYTES = 256_000
MAX_ATTEMPTS = 8
POLL_SECONDS = 0.1
# While the first lane has had work recently, poll faster, so that a one-time code does not wait for the slow poll.
QUICK_POLL_SECONDS = 0.02
QUICK_FOR_SECONDS = 2.0
_MOST_OWED = 50
_OWED_SECONDS = 30.0  # for the whole batch: a subscriber that hangs must not hold a transaction open for half an hour
_FORGET_SECONDS = 600.0

log = get_logger(__name__)

_LEASE = """
select ctid, id, event_id, type, source, subject, tenant, mode, lane, partition_key, payload, traceparent, created_at,
       entries
from outbox where published_at is null and lane = $1 order by id limit $2 for update skip locked
"""
_LEASE_OWED = """
select o.id, o.event_id, o.type, o.source, o.subject, o.tenant, o.mode, o.lane, o.partition_key, o.payload,
       o.traceparent, o.created_at, o.entries, d.subscriber, d.attempts
from outbox_delivery d join outbox o on o.id = d.outbox_id
where d.due_at <= now() order by d.due_at limit $1 for update of d skip locked
"""
# By ctid, because the rows are locked: a plan made for ids while the table was empty would scan all of it. This commit
# need not wait for the disk: what the server loses with its last half second was not acknowledged, and is delivered
# again. Set in this statement, because a separate one would be a round trip.
_DONE = """
delete from outbox where ctid = any($1::tid[]) and (select set_config('synchronous_commit', 'off', true)) is not null
"""


@dataclass(slots=True)
class Relay:
    """Publishes one service's outbox to all subscribers of the process. `lanes`: which lanes, if another process has
    the rest; owed deliveries belong to the first lane. `lookout` is shared by the process's relays."""

    database: Database
    subscribers: Sequence[Subscriber]
    lanes: Sequence[int] = LANES
    most_rows: int = MOST_ROWS
    max_attempts: int = MAX_ATTEMPTS
    batch_bytes: int = BATCH_BYTES
    lookout: Lookout = field(default_factory=Lookout)
    kept: Kept = field(default_factory=Kept)
    _by_type: dict[str, list[Subscriber]] = field(init=False)
    _rows: dict[int, int] = field(init=False)  # rows to lease at once, by lane
    _waiting: list[asyncio.Event] = field(init=False)  # one per lane, and the last for owed deliveries
    _quick_until: float = 0.0

    def __post_init__(self) -> None:
        self._rows = dict.fromkeys(LANES, min(_ROWS_AT_FIRST, self.most_rows))
        self._waiting = [asyncio.Event() for _ in (*LANES, "owed")]
        self._by_type = defaultdict(list)
        for subscriber in self.subscribers:
            self._by_type[subscriber.event_type].append(subscriber)

    async def run(self, stop: asyncio.Event) -> None:
        """Relay until `stop` is set: continuously while there is work, otherwise after the next poll."""
        self.lookout.add(self.database, self._waiting)
        try:
            async with asyncio.TaskGroup() as group:
                for lane in self.lanes:
                    group.create_task(self._work(self._waiting[lane], partial(self._publish, lane), stop))
                if FIRST_LANE in self.lanes:
                    group.create_task(self._work(self._waiting[-1], self.redeliver_once, stop))
                    group.create_task(self._regularly(self._forget_old, lambda: _FORGET_SECONDS, stop))
                group.create_task(self._regularly(self._look, self._until_next_look, stop))
        finally:
            self.lookout.remove(self.database)

    async def _work(self, waiting: asyncio.Event, act: Callable[[], Awaitable[int]], stop: asyncio.Event) -> None:
        while not stop.is_set():
            await waiting.wait()
            while not stop.is_set() and await self._tried(act(), stop):
                pass
            waiting.clear()  # the next poll sees what came in the meantime

    async def _publish(self, lane: int) -> int:
        taken = await self.publish_once(lane)
        if taken and lane == FIRST_LANE:
            self._quick_until = asyncio.get_running_loop().time() + QUICK_FOR_SECONDS
        return taken

    async def _regularly(
        self, act: Callable[[], Awaitable[Any]], seconds: Callable[[], float], stop: asyncio.Event
    ) -> None:
        while not stop.is_set():
            await self._tried(act(), stop)
            await pause(stop, seconds())
        for waiting in self._waiting:
            waiting.set()  # so that waiting tasks notice the stop

    async def _tried(self, act: Awaitable[Any], stop: asyncio.Event) -> Any:
        """Return the result, or None after a second's pause if Postgres is unavailable."""
        try:
            return await act
        except (Unavailable, asyncpg.PostgresError) as error:
            log.warning("relay_waits", schema=self.database.schema, error=str(error))
            await pause(stop, 1.0)
            return None

    async def _look(self) -> None:
        await self.lookout.look(self.database, self._until_next_look())

    def _until_next_look(self) -> float:
        return QUICK_POLL_SECONDS if asyncio.get_running_loop().time() < self._quick_until else POLL_SECONDS

    async def publish_once(self, lane: int = FIRST_LANE) -> int:
        """Publish one batch of a lane; return how many rows it took."""
        async with self.database.transaction() as connection:
            rows = await connection.fetch(_LEASE, lane, self._rows[lane])
            if not rows:
                return 0
            rows = self._fitting(lane, rows)
            owed = await self._hand_on(rows)
            kept = await debts.remember(connection, owed) if owed else ()
            await connection.execute(_DONE, [row["ctid"] for row in rows if row["id"] not in kept])
            return len(rows)

    async def _hand_on(self, rows: Sequence[Any]) -> list[debts.Owed]:
        """Deliver the rows to their subscribers and return the failures. If it raises, all rows stay."""
        owed: list[debts.Owed] = []
        for type_, group in grouped(rows).items():
            if subscribers := self._by_type.get(type_):
                entries, unreadable = decoded(group)  # decoded once, however many subscribers there are
                for subscriber in subscribers:
                    failures = unreadable + await deliver(subscriber, entries)
                    owed += [(single, subscriber.app_id, failure) for single, failure in failures]
        return owed

    def _fitting(self, lane: int, rows: Sequence[Any]) -> Sequence[Any]:
        """Return as many rows as fit in a batch; the others stay. Row sizes differ a thousandfold, so the number of
        rows to lease follows their bytes."""
        sizes = list(accumulate(len(row["payload"]) for row in rows))
        fitting = max(1, bisect_right(sizes, self.batch_bytes))
        if fitting == len(rows) == self._rows[lane]:
            self._rows[lane] = min(self.most_rows, 2 * fitting, max(1, fitting * self.batch_bytes // max(1, sizes[-1])))
        elif fitting < len(rows):
            self._rows[lane] = fitting
        return rows[:fitting]

    async def redeliver_once(self) -> int:
        """Retry the owed deliveries that are due; return how many were tried."""
        async with self.database.transaction() as connection:
            rows = await connection.fetch(_LEASE_OWED, _MOST_OWED)
            known = {(s.app_id, s.event_type): s for s in self.subscribers}
            until = time.monotonic() + _OWED_SECONDS
            tried: list[tuple[Any, Failure | None]] = []
            for row in rows:
                if time.monotonic() > until:
                    break  # the rest is still due, and unlocked in a moment
                entries, failures = decoded([row])
                if subscriber := known.get((row["subscriber"], row["type"])):
                    failures += await deliver(subscriber, entries)
                else:
                    failures.append((row, Failure(f"{row['subscriber']} no longer subscribes to {row['type']}", True)))
                tried.append((row, failures[0][1] if failures else None))
            # after all of them: a burial reads `erased`, and an erasure among the rest would have to wait for its lock
            for row, failure in tried:
                await debts.settle(connection, row, failure, self.max_attempts)
            return len(tried)

    async def _forget_old(self) -> None:
        await forget_old(self.database, self.kept)
