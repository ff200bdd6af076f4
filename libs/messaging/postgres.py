"""The embedded bus: the outbox itself is the queue, and this relay its broker.

A batch of unpublished rows is leased with SKIP LOCKED inside one transaction and handed to each subscriber.
What all acknowledge is deleted; where somebody fails, the row stays and `outbox_delivery` remembers who owes
what, tried again with back-off, then kept as a dead letter. A crash in between releases the locks, and the
batch is delivered again: as unkind as a real broker. Never "id greater than the last seen": ids commit out
of order.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import asyncpg
from prometheus_client import Counter

from libs.contracts.envelope import Envelope
from libs.errors import DepescheError, Duplicate, Permanent, Unavailable
from libs.ids import uuid7
from libs.messaging.bundles import unbundled
from libs.messaging.bus import Subscriber
from libs.messaging.reading import Entry, Failure, decoded, grouped
from libs.storage.database import Database
from libs.telemetry import batch_span, get_logger, one_of, span

BATCH = 500
MAX_ATTEMPTS = 8
POLL_SECONDS = 0.1
HANDLER_SECONDS = 30.0
_KEEP_IDEMPOTENCY = "24 hours"

log = get_logger(__name__)
_dead_letters = Counter("depesche_dead_letters", "Events that a subscriber could not take", ["type", "subscriber"])

# turns are 100 ms when idle: what subscribers owe is looked at about twice a second, old keys every ten minutes
_OWED_TURNS = 5
_FORGET_TURNS = 6_000
_EVENT = (
    "event_id", "type", "source", "subject", "tenant", "mode", "partition_key", "payload", "traceparent", "created_at"
)  # fmt: skip
_ANYTHING = "select exists (select from outbox where published_at is null)"
_LEASE = """
select id, event_id, type, source, subject, tenant, mode, partition_key, payload, traceparent, created_at,
       entries
from outbox where published_at is null order by id limit $1 for update skip locked
"""
_LEASE_OWED = """
select o.id, o.event_id, o.type, o.source, o.subject, o.tenant, o.mode, o.partition_key, o.payload,
       o.traceparent, o.created_at, o.entries, d.subscriber, d.attempts
from outbox_delivery d join outbox o on o.id = d.outbox_id
where d.due_at <= now() order by d.due_at limit $1 for update of d skip locked
"""
_OWE = """
insert into outbox_delivery (outbox_id, subscriber, attempts, due_at, error)
select id, subscriber, 1, now() + delay * interval '1 second', error
from unnest($1::bigint[], $2::text[], $3::float8[], $4::text[]) as owed (id, subscriber, delay, error)
"""
# an event of a bundle that somebody owes gets a row of its own, so that its neighbours can go
_OWN_ROW = """
insert into outbox (event_id, type, source, subject, tenant, mode, partition_key, payload, traceparent, created_at,
                    published_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, now()) returning id
"""
_BURY = """
insert into dead_letter (id, event_id, type, source, subscriber, subject, tenant, mode, partition_key, payload,
                         traceparent, created_at, attempts, reason)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
"""


Owed = tuple[Any, str, Failure]  # the outbox row, who could not take it, and why


@dataclass(slots=True)
class Relay:
    """Publishes one service's outbox to all subscribers of the process."""

    database: Database
    subscribers: Sequence[Subscriber]
    batch: int = BATCH
    max_attempts: int = MAX_ATTEMPTS
    _by_type: dict[str, list[Subscriber]] = field(init=False)

    def __post_init__(self) -> None:
        self._by_type = defaultdict(list)
        for subscriber in self.subscribers:
            self._by_type[subscriber.event_type].append(subscriber)

    async def run(self, stop: asyncio.Event) -> None:
        """Relays until `stop` is set: at once while there is work, else every 100 ms."""
        turns = 0
        worked = 0
        while not stop.is_set():
            try:
                # an idle outbox costs one look, not a transaction
                worked = await self.publish_once() if worked or await self._anything() else 0
                if turns % _OWED_TURNS == 0:
                    worked += await self.redeliver_once()
                if turns % _FORGET_TURNS == 0:
                    await self._forget_idempotency_keys()
            except (Unavailable, asyncpg.PostgresError) as error:
                log.warning("relay_waits", schema=self.database.schema, error=str(error))
                worked = 0
                await _pause(stop, 1.0)
            turns += 1
            if not worked:
                await _pause(stop, POLL_SECONDS)

    async def _anything(self) -> bool:
        async with self.database.acquire() as connection:
            return bool(await connection.fetchval(_ANYTHING))

    async def publish_once(self) -> int:
        """Publishes one batch; returns how many rows it took."""
        async with self.database.transaction() as connection:
            rows = await connection.fetch(_LEASE, self.batch)
            if not rows:
                return 0
            owed = []
            for type_, group in grouped(unbundled(rows)).items():
                if subscribers := self._by_type.get(type_):
                    entries, unreadable = decoded(group)  # once, however many want it
                    for subscriber in subscribers:
                        failures = unreadable + await self._deliver(subscriber, entries)
                        owed += [(row, subscriber.app_id, failure) for row, failure in failures]
            await self._remember(connection, [row["id"] for row in rows], owed)
            return len(rows)

    async def redeliver_once(self) -> int:
        """Tries what subscribers owe and what is due; returns how many were tried."""
        async with self.database.transaction() as connection:
            rows = await connection.fetch(_LEASE_OWED, 50)
            known = {(s.app_id, s.event_type): s for s in self.subscribers}
            for row in rows:
                subscriber = known.get((row["subscriber"], row["type"]))
                entries, failures = decoded([row])
                failures += await self._deliver(subscriber, entries) if subscriber else []
                await self._settle(connection, row, failures[0][1] if failures else None)
            return len(rows)

    async def _deliver(self, subscriber: Subscriber, envelopes: Sequence[Entry]) -> list[tuple[Any, Failure]]:
        failures: list[tuple[Any, Failure]] = []
        if not envelopes:
            return failures
        with batch_span(
            f"{subscriber.app_id} {subscriber.event_type}",
            [e.traceparent for _, e in envelopes],
            entries=len(envelopes),
            cause_id=one_of([getattr(e.data, "cause_id", None) for _, e in envelopes]),
        ):
            failure = await _attempt(subscriber, [e for _, e in envelopes])
            if failure is None:
                return failures
            if len(envelopes) == 1:
                return [(envelopes[0][0], failure)]
            for row, envelope in envelopes:
                alone = await _attempt(subscriber, [envelope])
                if alone is not None:
                    failures.append((row, alone))
        return failures

    async def _remember(self, connection: Any, leased: list[int], owed: list[Owed]) -> None:
        kept: dict[UUID, int] = {}  # event → the row that stays for it
        for row, subscriber, failure in owed:
            if failure.final:
                await _bury(connection, row, subscriber, 1, failure.reason)
            elif row["event_id"] not in kept:
                kept[row["event_id"]] = await _row_of_its_own(connection, row)
        again = [(kept[row["event_id"]], subscriber, f.reason) for row, subscriber, f in owed if not f.final]
        if again:
            await connection.execute("update outbox set published_at = now() where id = any($1)", sorted(kept.values()))
            ids, subscribers, reasons = zip(*again, strict=True)
            await connection.execute(_OWE, ids, subscribers, [_back_off(1) for _ in again], reasons)
        done = set(leased) - set(kept.values())
        await connection.execute("delete from outbox where id = any($1)", sorted(done))

    async def _settle(self, connection: Any, row: Any, failure: Failure | None) -> None:
        attempts = row["attempts"] + 1
        owed = (row["id"], row["subscriber"])
        if failure is not None and not failure.final and attempts < self.max_attempts:
            await connection.execute(
                "update outbox_delivery set attempts = $3, error = $4, due_at = now() + $5 * interval '1 second'"
                " where outbox_id = $1 and subscriber = $2",
                *owed,
                attempts,
                failure.reason,
                _back_off(attempts),
            )
            return
        if failure is not None:
            await _bury(connection, row, row["subscriber"], attempts, failure.reason)
        await connection.execute("delete from outbox_delivery where outbox_id = $1 and subscriber = $2", *owed)
        await connection.execute(
            "delete from outbox o where id = $1"
            " and not exists (select from outbox_delivery d where d.outbox_id = o.id)",
            row["id"],
        )

    async def _forget_idempotency_keys(self) -> None:
        async with self.database.acquire() as connection:
            await connection.execute(
                "delete from idempotency where created_at < now() - $1::text::interval", _KEEP_IDEMPOTENCY
            )


async def _attempt(subscriber: Subscriber, envelopes: Sequence[Envelope]) -> Failure | None:
    try:
        async with asyncio.timeout(HANDLER_SECONDS):
            await subscriber.handle(envelopes)
    except Duplicate:
        return None
    except Permanent as error:
        return Failure(f"{error.slug}: {error.detail}", final=True)
    except DepescheError as error:
        return Failure(f"{error.slug}: {error.detail}", final=False)
    except TimeoutError:
        return Failure(f"the handler took longer than {HANDLER_SECONDS} s", final=False)
    except Exception as error:
        log.error("handler_failed", subscriber=subscriber.app_id, type=subscriber.event_type, exc_info=error)
        return Failure(f"{type(error).__name__}: {error}", final=False)
    return None


async def _row_of_its_own(connection: Any, row: Any) -> int:
    if row["entries"] == 1:
        return int(row["id"])
    return int(await connection.fetchval(_OWN_ROW, *(row[name] for name in _EVENT)))


async def _bury(connection: Any, row: Any, subscriber: str, attempts: int, reason: str) -> None:
    with span("dead_letter", parent=row["traceparent"]):
        log.error("dead_letter", type=row["type"], subscriber=subscriber, reason=reason, event_id=str(row["event_id"]))
    _dead_letters.labels(row["type"], subscriber).inc()
    await connection.execute(
        _BURY,
        uuid7(),
        row["event_id"],
        row["type"],
        row["source"],
        subscriber,
        row["subject"],
        row["tenant"],
        row["mode"],
        row["partition_key"],
        row["payload"],
        row["traceparent"],
        row["created_at"],
        attempts,
        reason,
    )


def _back_off(attempts: int) -> float:
    """Seconds until the next try: 0.2, 0.4 … 30, with half of it random, so that failures do not march in step."""
    return float(min(30.0, 0.1 * 2**attempts) * (0.5 + random.random() / 2))


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
