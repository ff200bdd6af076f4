"""Looking whether an outbox has something to hand on: at all outboxes of a server at once, for all relays of a process.

A look costs the same however many outboxes it is at, and most of them are empty most of the time. So a relay whose turn
it is looks for the others too, and whoever finds that somebody has just looked need not.
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
    """What is reached by one DSN. `waiting`: by schema, who wants to know, by lane and last for what is owed."""

    waiting: dict[str, Sequence[asyncio.Event]] = field(default_factory=dict)
    statement: str = ""
    looked_at: float = -math.inf


@dataclass(slots=True)
class Lookout:
    """Shared by the relays of a process."""

    _servers: dict[str, _Server] = field(default_factory=dict)

    def add(self, database: Database, waiting: Sequence[asyncio.Event]) -> None:
        """Has these events set when a look finds something: one for each lane, and one for what is owed."""
        self._changed(database).waiting[database.schema] = waiting

    def remove(self, database: Database) -> None:
        """Its outbox is not looked at any more."""
        self._changed(database).waiting.pop(database.schema, None)

    def _changed(self, database: Database) -> _Server:
        server = self._servers.setdefault(database.dsn, _Server())
        server.statement, server.looked_at = "", -math.inf  # whoever is new is not served by the last look
        return server

    async def look(self, database: Database, within: float) -> None:
        """Looks at all outboxes of the database's server, unless somebody has within so many seconds. Raises
        Unavailable or asyncpg.PostgresError; then the next one looks."""
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
    """One row, a column for each lane of each outbox and for what each owes; an idle outbox costs no transaction."""
    looks = [[*(_ANYTHING.format(schema, lane) for lane in LANES), _OWED.format(schema)] for schema in schemas]
    return "select " + ", ".join(look for of_schema in looks for look in of_schema)
