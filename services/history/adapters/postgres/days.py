"""The partitions of the tables: created ahead, dropped after the retention period.

A partition holds seven days: a lookup by recipient or order opens all of them, and ninety daily ones would cost more
than the search itself.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from libs.ids import first_id_at
from libs.storage.database import Database
from libs.storage.partitions import add_partition
from libs.storage.portions import in_portions
from libs.telemetry import get_logger

TABLES = {
    "transition": "notification_id",
    "receipt": "notification_id",
    "rejection": "notification_id",
    "decision": "cause_id",
    "document": "id",
}
_SHORT_LOCKS = "set local lock_timeout = '3s'"
_LOCK = "select pg_advisory_xact_lock(hashtext('history days'))"
_PARTITIONS = """
select c.relname from pg_inherits join pg_class c on c.oid = inhrelid
where inhparent = $1::regclass and c.relname like $2
"""
# what OpenSearch refuses for good waits for people, and names customers
_DROP_REFUSED = """
delete from spill where id = any(array(select id from spill where refused is not null and at < $1 limit $2))
"""
_DROP_REQUESTS = "delete from request where ctid = any(array(select ctid from request where cause_id < $1 limit $2))"


_WIDTH = timedelta(days=7)
_FIRST = datetime(2020, 1, 6, tzinfo=UTC)  # a Monday; weeks are counted from it


log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PostgresDays:
    database: Database

    async def keep(self, today: datetime, ahead_days: int, retention_days: int) -> list[str]:
        """Create the weeks up to `ahead_days`, drop those past the retention; return the names of both."""
        oldest = _week_of(today - timedelta(days=retention_days))
        wanted = _weeks(today - timedelta(days=1), today + timedelta(days=ahead_days))
        done: list[str] = []
        for table, key in TABLES.items():
            try:
                done += await self._keep_table(table, key, wanted, oldest)
            except asyncpg.LockNotAvailableError:
                log.warning("history_weeks_wait", what=table)
        await in_portions(self.database, _DROP_REQUESTS, first_id_at(oldest))
        await in_portions(self.database, _DROP_REFUSED, oldest)
        return done

    async def _keep_table(self, table: str, key: str, wanted: list[datetime], oldest: datetime) -> list[str]:
        """Maintain one table in its own transaction: its locks are short and never queue long ahead of writers."""
        done: list[str] = []
        async with self.database.transaction() as connection:
            await connection.execute(_SHORT_LOCKS)
            await connection.execute(_LOCK)
            there = {row["relname"] for row in await connection.fetch(_PARTITIONS, table, f"{table}_2%")}
            for first in wanted:
                if (name := _name(table, first)) not in there:
                    await _make(connection, table, key, first)
                    done.append(name)
            for name in sorted(there):
                if name < _name(table, oldest):
                    await connection.execute(f"drop table {name}")
                    done.append(name)
            await connection.execute(f"delete from {table}_default where {key} < $1", first_id_at(oldest))  # noqa: S608
        return done


def _weeks(first: datetime, last: datetime) -> list[datetime]:
    """Return the starts of the weeks that contain these moments and all between them."""
    start = _week_of(first)
    return [start + _WIDTH * number for number in range((last - start) // _WIDTH + 1)]


def _week_of(moment: datetime) -> datetime:
    return _FIRST + (moment - _FIRST) // _WIDTH * _WIDTH


def _name(table: str, first: datetime) -> str:
    return f"{table}_{first:%Y%m%d}"


async def _make(connection: Any, table: str, key: str, first: datetime) -> None:
    """Create a week and move its rows there from the default partition, where they went while it was missing."""
    between = first_id_at(first), first_id_at(first + _WIDTH)
    await add_partition(connection, table, _name(table, first), between, default_key=key)
