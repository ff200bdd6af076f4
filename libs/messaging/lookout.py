"""Polling for work in outboxes: one query covers all outboxes of a server, for all relays of a process.

A query costs the same however many outboxes it covers, and most of them are empty most of the time. So the relay
whose turn it is polls for the others too, and a relay skips its poll if another has just polled.
"""

import asyncio
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from libs.messaging.outbox import LANES
from libs.storage.database import Database

_ANYTHING = "exists (select from {}.outbox where published_at is null and lane = {})"
_OWED = "exists (select from {}.outbox_delivery where due_at <= now())"


@dataclass(slots=True)
class _Server:
    """The server behind one DSN. `waiting`: by schema, the events to set, one per lane and the last for owed
    deliveries."""

    waiting: dict[str, Sequence[asyncio.Event]] = field(default_factory=dict)
    statement: str = ""
    looked_at: float = -math.inf


@dataclass(slots=True)
class Lookout:
    """Shared by the relays of a process."""

    _servers: dict[str, _Server] = field(default_factory=dict)

    def add(self, database: Database, waiting: Sequence[asyncio.Event]) -> None:
        """Register the events to set when a poll finds work: one for each lane, and one for owed deliveries."""
        self._changed(database).waiting[database.schema] = waiting

    def remove(self, database: Database) -> None:
        """Stop polling the outbox."""
        self._changed(database).waiting.pop(database.schema, None)

    def _changed(self, database: Database) -> _Server:
        server = self._servers.setdefault(database.dsn, _Server())
        server.statement, server.looked_at = "", -math.inf  # the last poll did not cover a newcomer
        return server

    async def look(self, database: Database, within: float) -> None:
        """Poll all outboxes of the database's server, unless another relay has done so within `within` seconds. Raises
        Unavailable or asyncpg.PostgresError; then the next relay polls."""
        server, now = self._servers[database.dsn], asyncio.get_running_loop().time()
        if now - server.looked_at < within:
            return
        server.looked_at = now
        server.statement = server.statement or _statement(server.waiting)
        asked = list(server.waiting.values())
        try:
            async with database.acquire() as connection:
                found = await connection.fetchrow(server.statement)
        except BaseException:
            server.looked_at = -math.inf
            raise
        every = [event for waiting in asked for event in waiting]
        for event, there in zip(every, found, strict=True):
            if there:
                event.set()


def _statement(schemas: Iterable[str]) -> str:
    """Build a query of one row: a column per lane of each outbox and one for its owed deliveries. An idle outbox costs
    no transaction."""
    looks = [[*(_ANYTHING.format(schema, lane) for lane in LANES), _OWED.format(schema)] for schema in schemas]
    return "select " + ", ".join(look for of_schema in looks for look in of_schema)
