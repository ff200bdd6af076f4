"""Stores documents whose own store is unavailable: one row per batch, limited in bytes, taken oldest first.

One row holds a thousand documents: an hour's outage at thousands of documents a second makes some thousand rows, where
the bus would have to retry every single event.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg
from prometheus_client import Gauge

from libs.errors import Unavailable
from libs.storage.database import Database
from libs.telemetry import get_logger
from services.history.ports import Spilled

_KEPT_SECONDS = 1.0  # for which the size is cached

log = get_logger(__name__)
_documents = Gauge(
    "depesche_history_spill_documents",
    "Documents that wait for their store to recover",
    multiprocess_mode="livemostrecent",
)
_refused = Gauge(
    "depesche_history_spill_refused",
    "Batches with documents that their store refuses permanently",
    multiprocess_mode="livemostrecent",
)

_SIZE = "select coalesce(sum(bytes), 0) from spill"
_KEEP = "insert into spill (documents, bytes, body) values ($1, $2, $3)"
# a lease, not a lock: no transaction stays open during the write to the other store
_TAKE = """
update spill set leased_until = now() + interval '60 seconds'
where id in (select id from spill
             where refused is null and (leased_until is null or leased_until < now())
             order by id limit $1 for update skip locked)
returning id, body
"""
_DONE = "delete from spill where id = any ($1::bigint[])"
_BACK = "update spill set leased_until = null where id = any ($1::bigint[])"
_REFUSE = "update spill set refused = $2, leased_until = null where id = $1"
_LOOK = """
select coalesce(sum(documents) filter (where refused is null), 0) as documents,
  count(*) filter (where refused is not null) as refused, min(at) filter (where refused is null) as since
from spill
"""


@dataclass(slots=True)
class PostgresSpill:
    """At most `most_bytes` wait; beyond that, keep raises Unavailable, and the bus retains new events."""

    database: Database
    most_bytes: int
    _size: int = 0
    _looked_at: float = float("-inf")

    async def keep(self, batches: Sequence[tuple[int, bytes]]) -> None:
        """Store batches of (number of documents, packed documents), all or none."""
        async with self.database.transaction() as connection:
            now = asyncio.get_running_loop().time()
            if now - self._looked_at > _KEPT_SECONDS:
                self._size, self._looked_at = await connection.fetchval(_SIZE), now
            if self._size > self.most_bytes:
                raise Unavailable(f"The spill is full: {self._size >> 20} MiB wait for their store to recover.")
            await connection.executemany(_KEEP, [(documents, len(body), body) for documents, body in batches])
        self._size += sum(len(body) for _, body in batches)

    async def take(self, most: int) -> list[Spilled]:
        """Return the oldest batches, leased for a minute."""
        async with self.database.acquire() as connection:
            rows = await connection.fetch(_TAKE, most)
        return sorted((Spilled(row["id"], row["body"]) for row in rows), key=lambda spilled: spilled.id)

    async def done(self, ids: Sequence[int]) -> None:
        """Remove batches that have been written."""
        async with self.database.acquire() as connection:
            await connection.execute(_DONE, list(ids))

    async def give_back(self, ids: Sequence[int]) -> None:
        """End the lease, so that the batches can be taken again."""
        async with self.database.acquire() as connection:
            await connection.execute(_BACK, list(ids))

    async def refuse(self, id_: int, reason: str) -> None:
        """Mark a batch with permanently refused documents: the row stays, with the reason, and is not taken again."""
        log.error("spill_refused", what=id_, reason=reason)
        async with self.database.acquire() as connection:
            await connection.execute(_REFUSE, id_, reason)

    async def look(self) -> datetime | None:
        """Update the metrics; return since when the oldest batch has been waiting."""
        try:
            async with self.database.acquire() as connection:
                row: Any = await connection.fetchrow(_LOOK)
        except asyncpg.PostgresError as error:
            raise Unavailable(f"Postgres cannot read the spill: {type(error).__name__}") from error
        _documents.set(row["documents"])
        _refused.set(row["refused"])
        since: datetime | None = row["since"]
        return since
