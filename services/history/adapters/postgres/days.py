"""The days of the partitioned tables: made ahead, dropped when they are old."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from libs.ids import first_id_at
from libs.storage.database import Database

TABLES = {
    "transition": "notification_id",
    "receipt": "notification_id",
    "rejection": "notification_id",
    "decision": "cause_id",
    "document": "id",
}
_LOCK = "select pg_advisory_xact_lock(hashtext('history days'))"
_PARTITIONS = """
select c.relname from pg_inherits join pg_class c on c.oid = inhrelid
where inhparent = $1::regclass and c.relname like $2
"""
_DROP_REQUESTS = "delete from request where cause_id < $1"


@dataclass(frozen=True, slots=True)
class PostgresDays:
    database: Database

    async def keep(self, today: datetime, ahead_days: int, retention_days: int) -> list[str]:
        """Makes today and the coming days, drops what is older than the retention; names what it made or dropped."""
        midnight = today.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        oldest = midnight - timedelta(days=retention_days)
        done: list[str] = []
        async with self.database.transaction() as connection:
            await connection.execute(_LOCK)
            for table, key in TABLES.items():
                there = {row["relname"] for row in await connection.fetch(_PARTITIONS, table, f"{table}_2%")}
                for day in range(-1, ahead_days + 1):
                    first = midnight + timedelta(days=day)
                    if (name := f"{table}_{first:%Y%m%d}") not in there:
                        await _make(connection, table, key, first)
                        done.append(name)
                for name in sorted(there):
                    if name < f"{table}_{oldest:%Y%m%d}":
                        await connection.execute(f"drop table {name}")
                        done.append(name)
                await connection.execute(f"delete from {table}_default where {key} < $1", first_id_at(oldest))  # noqa: S608
            await connection.execute(_DROP_REQUESTS, first_id_at(oldest))
        return done


async def _make(connection: Any, table: str, key: str, first: datetime) -> None:
    """A day, with the rows that had come to the default partition because it was missing."""
    name = f"{table}_{first:%Y%m%d}"
    low, high = (_bound(first + timedelta(days=days)) for days in (0, 1))
    await connection.execute(f"create table {name} (like {table} including defaults including constraints)")
    await connection.execute(
        f"with moved as (delete from {table}_default where {key} >= '{low}' and {key} < '{high}' returning *)"  # noqa: S608
        f" insert into {name} select * from moved"
    )
    await connection.execute(f"alter table {table} attach partition {name} for values from ('{low}') to ('{high}')")


def _bound(moment: datetime) -> UUID:
    return first_id_at(moment)
