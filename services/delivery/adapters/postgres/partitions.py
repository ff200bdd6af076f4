"""The ledger's days: made ahead, rolled up and dropped when they are old; bodies wiped when they are settled."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from libs.clock import Clock
from libs.contracts.outcomes import Status
from libs.ids import first_id_at
from libs.storage.database import Database
from libs.telemetry import get_logger
from services.delivery.adapters.postgres.accept import oldest_day
from services.delivery.adapters.postgres.settle import settle
from services.delivery.domain.accounts import Moves

log = get_logger(__name__)

_DAYS = """
select substring(c.relname from '\\d{8}$') from pg_inherits i join pg_class c on c.oid = i.inhrelid
where i.inhparent = 'message'::regclass order by 1
"""
_OPEN = "select count(*) from request where cause_id >= $1 and cause_id < $2 and (pending > 0 or settled_at is null)"
# nobody will learn it any more: the unknown ends, with a reason that says so
_UNKNOWN_ENDS = """
update message m set status = 3, reason = 91, recorded_at = $3
where m.notification_id >= $1 and m.notification_id < $2 and m.status = 6
returning m.request_id
"""
_ROLL_UP = """
with gone as (delete from request where cause_id >= $1 and cause_id < $2 returning *)
insert into daily as d (day, tenant, mode, communication, requests, recipients, extra, sent, failed, skipped,
                        suppressed, unknown)
select $3, tenant, mode, communication, count(*), sum(recipients), sum(extra), sum(sent), sum(failed), sum(skipped),
       sum(suppressed), sum(unknown) from gone group by tenant, mode, communication
on conflict (day, tenant, mode, communication) do update set requests = d.requests + excluded.requests,
  recipients = d.recipients + excluded.recipients, extra = d.extra + excluded.extra, sent = d.sent + excluded.sent,
  failed = d.failed + excluded.failed, skipped = d.skipped + excluded.skipped,
  suppressed = d.suppressed + excluded.suppressed, unknown = d.unknown + excluded.unknown
"""
_WIPE = """
update request set body = null, marks = '' where id in (
  select id from request where received_at < $1 and settled_at < $1 and body is not null and pending = 0 limit 1000)
"""
_LOST = """
select count(*) from request r where r.pending > 0 and not exists (select from work w where w.request_id = r.id)
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

    async def make_ahead(self, days: int) -> int:
        """Makes the partitions of today and the coming days; how many were missing."""
        made = 0
        today = self.clock().date()
        async with self.database.acquire() as connection:
            for ahead in range(days + 1):
                made += bool(await connection.fetchval("select make_partition($1)", today + timedelta(days=ahead)))
        return made

    async def retire(self) -> int:
        """Drops days beyond the retention in which nothing is open, and wipes bodies; how many days went."""
        now = self.clock()
        oldest = oldest_day(now, self.retention_days)
        async with self.database.acquire() as connection:
            await connection.execute(_WIPE, now - timedelta(days=self.body_days))
            await connection.execute("delete from receipt where at < $1", now - timedelta(days=self.retention_days))
            await connection.execute("delete from reply where at < $1", now - timedelta(days=self.retention_days))
            days = [_day(row[0]) for row in await connection.fetch(_DAYS)]
        dropped = [day for day in days if day < oldest and await self._drop(day)]
        return len(dropped)

    async def _drop(self, day: date) -> bool:
        low, high = bounds(day)
        async with self.database.transaction() as connection:
            if await connection.fetchval(_OPEN, low, high):
                log.error("old_day_still_open", day=day.isoformat())
                return False
            await _end_unknown(connection, (low, high), self)
            await connection.execute(_ROLL_UP, low, high, day)
            suffix = day.strftime("%Y%m%d")
            await connection.execute(f"drop table message_{suffix}; drop table attempt_{suffix}")
        log.info("day_dropped", day=day.isoformat())
        return True

    async def always_empty(self) -> Mapping[str, int]:
        """Counts of what must never be."""
        async with self.database.acquire() as connection:
            return {
                "open_requests_without_work": int(await connection.fetchval(_LOST)),
                "held_work_without_hold": int(await connection.fetchval(_STUCK)),
            }


async def _end_unknown(connection: Any, span: tuple[UUID, UUID], days: PostgresPartitions) -> None:
    moves = Moves()
    for row in await connection.fetch(_UNKNOWN_ENDS, *span, days.clock()):
        moves.move(row[0], Status.UNKNOWN, Status.FAILED)
    await settle(connection, moves, days.clock())


def bounds(day: date) -> tuple[UUID, UUID]:
    """The ids of a day: from the first to before the last."""
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return first_id_at(start), first_id_at(start + timedelta(days=1))


def _day(text: str) -> date:
    return date(int(text[:4]), int(text[4:6]), int(text[6:]))
