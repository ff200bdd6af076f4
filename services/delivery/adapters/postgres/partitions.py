"""The ledger's days: created ahead, rolled up and dropped when old; bodies are wiped some days after settling."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from libs.clock import Clock
from libs.contracts.delivery import Transition
from libs.contracts.outcomes import Channel, Status
from libs.contracts.reasons import Reason
from libs.ids import first_id_at
from libs.storage.database import Database
from libs.storage.portions import in_portions
from libs.telemetry import get_logger
from services.delivery.adapters.postgres.accept import oldest_day
from services.delivery.adapters.postgres.settle import settle
from services.delivery.domain.accounts import Moves

log = get_logger(__name__)

_DAYS = """
select substring(c.relname from '\\d{8}$') from pg_inherits i join pg_class c on c.oid = i.inhrelid
where i.inhparent = 'message'::regclass order by 1
"""
_OPEN = "select count(*) from request where id >= $1 and id < $2 and (pending > 0 or settled_at is null)"
# nobody will find out any more: end the unknown, with a reason that says so
_UNKNOWN_ENDS = f"""
with old as materialized (
  select notification_id, address_id from doubt where notification_id >= $1 and notification_id < $2
  order by notification_id, address_id limit $4)
update message m set status = {int(Status.FAILED)}, reason = {int(Reason.UNKNOWN_FINAL)}, recorded_at = $3 from old
where m.notification_id = old.notification_id and m.address_id = old.address_id and m.status = {int(Status.UNKNOWN)}
returning m.request_id, m.notification_id, m.address_id, m.attempt, m.channel, m.sender, m.plan_step as step, m.locale,
  m.provider_ref, m.address_hash, m.content_digest as digest
"""  # noqa: S608 - our own statement
_UNKNOWN_STEP = 1_000  # its transitions are told to history
_ROLL_UP = """
with gone as (delete from request where id >= $1 and id < $2 returning *)
insert into daily as d (day, tenant, mode, communication, requests, recipients, extra, sent, failed, skipped,
                        suppressed, unknown)
select $3, tenant, mode, communication, count(*), sum(recipients), sum(extra), sum(sent), sum(failed), sum(skipped),
       sum(suppressed), sum(unknown) from gone group by tenant, mode, communication
on conflict (day, tenant, mode, communication) do update set requests = d.requests + excluded.requests,
  recipients = d.recipients + excluded.recipients, extra = d.extra + excluded.extra, sent = d.sent + excluded.sent,
  failed = d.failed + excluded.failed, skipped = d.skipped + excluded.skipped,
  suppressed = d.suppressed + excluded.suppressed, unknown = d.unknown + excluded.unknown
"""
# A large day takes minutes. Dropping its tables needs a lock on the parents, for which claims would have to wait too:
# better to retry in an hour.
_DAY_SECONDS = 1_800.0
_SHORT_LOCKS = "set local lock_timeout = '1s'"
# in steps, each its own transaction: months may have accumulated while no worker ran
_STEP = 5_000
_WIPE = """
with seen as (
  select id, received_at from request where (received_at, id) > ($1, $2) and received_at < $3
  order by received_at, id limit $4),
wiped as (
  update request r set body = null, marks = '' from seen
  where r.id = seen.id and r.pending = 0 and r.body is not null
    and (r.settled_at < $5 or (r.secret and r.expires_at < $6 and r.unknown = 0)))
select received_at, id, count(*) over () from seen order by received_at desc, id desc limit 1
"""
_FORGET = (
    "delete from receipt where ctid = any(array(select ctid from receipt where at < $1 order by at limit $2))",
    "delete from nonce where ctid = any(array(select ctid from nonce where at < $1 order by at limit $2))",
    "delete from reply where ctid = any(array(select ctid from reply where at < $1 order by at limit $2))",
)
_LOST = """
select count(*) from request r where r.received_at >= $1 and r.received_at < $2 and r.pending > 0
  and not exists (select from work w where w.request_id = r.id)
  and r.id not in (select t.id from work w, unnest(w.together) as t (id) where w.together is not null)
"""
_STUCK = """
select count(*) from work w join request r on r.id = w.request_id where w.held and not exists (
  select from hold h where h.active and h.tenant = r.tenant and h.mode = r.mode and (h.kind, h.key) in (
    ('cause', r.cause_id::text), ('release', r.release_id::text), ('tenant', r.tenant::text),
    ('sender', coalesce(w.held_sender, 0)::text)))
"""


@dataclass(frozen=True, slots=True)
class PostgresPartitions:
    """Days of one schema. `body_days`: how long a settled request keeps its variables."""

    database: Database
    clock: Clock
    retention_days: int
    body_days: int
    _lost: dict[int, int] = field(default_factory=dict)  # what each slice of requests had lost when last checked

    async def make_ahead(self, days: int) -> int:
        """Create the partitions of today and the coming days; return how many were missing."""
        made = 0
        today = self.clock().date()
        async with self.database.acquire() as connection:
            for ahead in range(days + 1):
                made += bool(await connection.fetchval("select make_partition($1)", today + timedelta(days=ahead)))
        return made

    async def retire(self) -> int:
        """Drop days beyond the retention in which nothing is open, delete old callbacks and wipe bodies; return how
        many days were dropped."""
        now = self.clock()
        oldest = oldest_day(now, self.retention_days)
        await self._wipe(now - timedelta(days=self.body_days), now)
        for statement in _FORGET:
            await in_portions(self.database, statement, now - timedelta(days=self.retention_days))
        async with self.database.acquire() as connection:
            days = [_day(row[0]) for row in await connection.fetch(_DAYS)]
        dropped = [day for day in days if day < oldest and await self._drop(day)]
        return len(dropped)

    async def _wipe(self, before: datetime, now: datetime) -> None:
        """Wipe the requests that came of age in the last day, secrets of the last day that have expired, and the
        requests of one older day, a different one each hour: some settle late. Wiping all at once would scan months
        each hour, and an index would be a cost for every request."""
        day = timedelta(days=1)
        older = before - day * (1 + int(now.timestamp() // 3_600) % self.retention_days)
        for end in (before, now, older):
            last: tuple[datetime, UUID] | None = (end - day, UUID(int=0))
            while last is not None:
                last = await self._wipe_step(last, end, (before, now))

    async def _wipe_step(
        self, after: tuple[datetime, UUID], end: datetime, ages: tuple[datetime, datetime]
    ) -> tuple[datetime, UUID] | None:
        async with self.database.transaction() as connection:
            row = await connection.fetchrow(_WIPE, *after, end, _STEP, *ages)
        return (row[0], row[1]) if row is not None and row[2] == _STEP else None

    async def _drop(self, day: date) -> bool:
        low, high = bounds(day)
        suffix = day.strftime("%Y%m%d")
        try:
            while await self._end_unknown(low, high) == _UNKNOWN_STEP:
                pass
            async with self.database.transaction() as connection:
                if await connection.fetchval(_OPEN, low, high, timeout=_DAY_SECONDS):
                    log.error("old_day_still_open", day=day.isoformat())
                    return False
                await connection.execute(_ROLL_UP, low, high, day, timeout=_DAY_SECONDS)
                await connection.execute(f"{_SHORT_LOCKS}; drop table message_{suffix}, attempt_{suffix}")
        except asyncpg.LockNotAvailableError:
            log.warning("old_day_waits", day=day.isoformat())
            return False
        log.info("day_dropped", day=day.isoformat())
        return True

    async def _end_unknown(self, low: UUID, high: UUID) -> int:
        """End up to a thousand unknown messages of a day in which nothing is open; return how many."""
        moves, now = Moves(), self.clock()
        async with self.database.transaction() as connection:
            if await connection.fetchval(_OPEN, low, high, timeout=_DAY_SECONDS):
                return 0
            rows = await connection.fetch(_UNKNOWN_ENDS, low, high, now, _UNKNOWN_STEP)
            for row in rows:
                moves.move(row["request_id"], Status.UNKNOWN, Status.FAILED)
                moves.transitions[row["request_id"]].append(_ended(row, now))
            await settle(connection, moves, now)
        return len(rows)

    async def always_empty(self, turn: int | None = None) -> Mapping[str, int]:
        """Return counts that must always be zero. With a `turn`, check the requests of the last hour and one slice of
        the older ones (a day), and return the other slices' last counts: see docs/adr/0091."""
        now, slices = self.clock(), self.retention_days + 2
        hour = now - timedelta(hours=1)
        chosen = range(slices) if turn is None else (turn % slices,)
        async with self.database.acquire() as connection:
            recent = await connection.fetchval(_LOST, hour, now + timedelta(days=1))
            for number in chosen:
                end = hour - timedelta(days=number)
                self._lost[number] = await connection.fetchval(_LOST, end - timedelta(days=1), end)
            stuck = await connection.fetchval(_STUCK)
        return {
            "open_requests_without_work": recent + sum(self._lost.values()),
            "held_work_without_hold": stuck,
        }


def bounds(day: date) -> tuple[UUID, UUID]:
    """Return the id range of a day: its first id, and the next day's."""
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return first_id_at(start), first_id_at(start + timedelta(days=1))


def _ended(row: Any, now: datetime) -> Transition:
    values: dict[str, Any] = dict(row) | {"channel": Channel(row["channel"]).word, "at": now}
    del values["request_id"]
    # the request's variables, and with them the recipient's name, are wiped by now
    values |= {"recipient": "", "was": Status.UNKNOWN.word, "is_": Status.FAILED.word}
    return Transition(**values, reason=Reason.UNKNOWN_FINAL.word)


def _day(text: str) -> date:
    return date(int(text[:4]), int(text[4:6]), int(text[6:]))
