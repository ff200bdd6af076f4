"""Partitions of `event` and `settlement` by day of the cause, as in the ledger; the rest is pruned in portions."""

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
from prometheus_client import Gauge

from libs.ids import first_id_at
from libs.storage.database import Database
from libs.storage.partitions import add_partition
from libs.storage.portions import in_portions
from libs.telemetry import get_logger

log = get_logger(__name__)

_ahead = Gauge(
    "depesche_event_days_ahead",
    "Days for which the event table has partitions; alarm below 2",
    multiprocess_mode="mostrecent",
)

AHEAD_DAYS = 7
_BEHIND_DAYS = 1  # replicas' clocks differ, and a batch may be prepared before midnight and written after it
_TABLES = ("settlement", "event")
_DEFAULTS = {"settlement": "cause_id"}  # tables with a default partition, by their key
_DAYS = """
select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
where i.inhparent = any($1::text[]::regclass[]) order by c.relname
"""
# attached or not: an interrupted drop leaves a partition pending detach, or a detached table
_DAYS_THERE = """
select c.relname, i.inhrelid is not null as attached, coalesce(i.inhdetachpending, false) as pending
from pg_class c left join pg_inherits i on i.inhrelid = c.oid
where c.relnamespace = current_schema()::regnamespace and c.relkind = 'r' and c.relname ~ $1 order by c.relname
"""
# a long-running reader (a backup), or another replica that drops the same day
_NOT_NOW = (
    TimeoutError,
    asyncpg.QueryCanceledError,
    asyncpg.LockNotAvailableError,
    asyncpg.DeadlockDetectedError,
    asyncpg.ObjectNotInPrerequisiteStateError,
    asyncpg.UndefinedTableError,
)
_PRUNE_KEYS = """
delete from event_key where key = any(array(select key from event_key where event_id < $1 limit $2))
"""
_PRUNE_RECIPIENTS = """
delete from event_recipient where ctid = any(array(select ctid from event_recipient where id < $1 limit $2))
"""
_PRUNE_REJECTIONS = "delete from rejection where id = any(array(select id from rejection where id < $1 limit $2))"
_PRUNE_SETTLEMENTS = """
delete from settlement_default where ctid = any(array(select ctid from settlement_default where cause_id < $1 limit $2))
"""


class PostgresRetention:
    """Implements ports.retention.Retention. Uses the system clock, because ids carry it."""

    def __init__(self, database: Database, keep_days: int, key_keep_days: int) -> None:
        self._database = database
        self._keep = timedelta(days=keep_days)
        self._keep_keys = timedelta(days=key_keep_days)

    async def ensure_days(self) -> None:
        today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        async with self._database.acquire() as connection:
            existing = {row["relname"] for row in await connection.fetch(_DAYS, _TABLES)}
            for offset in range(-_BEHIND_DAYS, AHEAD_DAYS + 1):
                day = today + timedelta(days=offset)
                for table in _TABLES:
                    if _name(table, day) not in existing:
                        await _make(connection, table, day)

    async def maintain(self) -> list[str]:
        await self.ensure_days()
        now = datetime.now(UTC)
        async with self._database.acquire() as connection:
            days = [row["relname"] for row in await connection.fetch(_DAYS, ["event"])]
            _ahead.set(sum(day > _name("event", now) for day in days))
            gone = await self._drop_days(connection, now - self._keep)
        before = first_id_at(now - self._keep)
        for statement in (_PRUNE_RECIPIENTS, _PRUNE_REJECTIONS, _PRUNE_SETTLEMENTS):
            await in_portions(self._database, statement, before)
        await in_portions(self._database, _PRUNE_KEYS, first_id_at(now - self._keep_keys))
        return gone

    async def _drop_days(self, connection: Any, before: datetime) -> list[str]:
        """Drop old days. A day that cannot be dropped now is retried the next time."""
        gone = []
        for table in _TABLES:
            for row in await connection.fetch(_DAYS_THERE, f"^{table}_[0-9]{{8}}$"):
                if (day := row["relname"]) < _name(table, before):
                    try:
                        await _drop(connection, table, row)
                    except _NOT_NOW as error:
                        log.warning("event_day_not_dropped", what=day, error=type(error).__name__)
                        continue
                    gone.append(day)
        return gone


async def _drop(connection: Any, table: str, row: Any) -> None:
    """Detach a day, then drop it: attached, it could only be dropped under a lock that blocks intake."""
    day = row["relname"]
    if row["pending"]:
        await connection.execute(f"alter table {table} detach partition {day} finalize")
    elif row["attached"]:
        await connection.execute(f"alter table {table} detach partition {day} concurrently")
    await connection.execute(f"drop table {day}")


def _name(table: str, day: datetime) -> str:
    return f"{table}_{day:%Y%m%d}"


async def _make(connection: Any, table: str, day: datetime) -> None:
    day_of_ids = first_id_at(day), first_id_at(day + timedelta(days=1))
    name = _name(table, day)
    try:
        # the lock on the table is short; if it must wait, intake would queue behind it: better retry in an hour
        async with connection.transaction():
            await connection.execute("set local lock_timeout = '2s'")
            await add_partition(connection, table, name, day_of_ids, default_key=_DEFAULTS.get(table))
    except (asyncpg.DuplicateTableError, asyncpg.UniqueViolationError, asyncpg.InvalidObjectDefinitionError):
        return  # another replica created the same partition first
    except asyncpg.LockNotAvailableError:
        log.warning("event_day_not_made", day=name)
