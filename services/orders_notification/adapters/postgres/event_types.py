"""Declared event types; a change bumps the catalogue's version, so that it applies to the next event."""

from typing import Any

from libs.contracts.audit import ActionRecorded
from libs.contracts.outcomes import Mode
from libs.errors import Invalid, PreconditionFailed
from libs.messaging import outbox
from libs.messaging.outbox import Outgoing
from libs.storage.database import Database
from libs.telemetry import get_logger
from services.orders_notification.adapters.postgres.catalogue import bump
from services.orders_notification.domain.event_types import EventType, event_type
from services.orders_notification.ports.sources import Author, StoredType

_COLUMNS = "type, version, description, schema, updated_at"
_GET = f"select {_COLUMNS} from event_type where tenant = $1 and mode = $2 and type = $3"  # noqa: S608
_ALL = f"""
select {_COLUMNS} from event_type where tenant = $1 and mode = $2 and type > $3 order by type limit $4
"""  # noqa: S608
_PUT = """
insert into event_type as t (tenant, mode, type, version, description, schema, updated_at)
values ($1, $2, $3, $4, $5, $6, $7)
on conflict (tenant, mode, type) do update
set version = excluded.version, description = excluded.description, schema = excluded.schema,
    updated_at = excluded.updated_at
where t.version = excluded.version - 1
returning version
"""
_EVERY = 10_000

log = get_logger(__name__)


class PostgresEventTypes:
    """Implements ports.sources.EventTypes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, tenant: int, mode: Mode, type_: str) -> StoredType | None:
        async with self._database.acquire() as connection:
            row = await connection.fetchrow(_GET, tenant, int(mode), type_)
        return StoredType(**dict(row)) if row else None

    async def all(self, tenant: int, mode: Mode, after: str, limit: int) -> list[StoredType]:
        async with self._database.acquire() as connection:
            rows = await connection.fetch(_ALL, tenant, int(mode), after, limit)
        return [StoredType(**dict(row)) for row in rows]

    async def put(self, author: Author, declared: StoredType) -> None:
        async with self._database.transaction() as connection:
            written = await connection.fetchval(
                _PUT,
                author.tenant,
                int(author.mode),
                declared.type,
                declared.version,
                declared.description,
                declared.schema,
                author.at,
            )
            if written is None:
                raise PreconditionFailed("Somebody else changed this event type in the meantime; read it again.")
            await bump(connection, author.tenant, author.mode)
            await outbox.append(connection, [_action(author, declared)])

    async def declared(self, tenant: int, mode: Mode) -> list[EventType]:
        made = []
        for stored in await self.all(tenant, mode, "", _EVERY):
            try:
                made.append(event_type(stored.type, stored.version, stored.schema))
            except Invalid as error:  # an older validator accepted it: events flow unchecked, and it is logged
                log.error("event_type_unusable", event_type=stored.type, detail=error.detail)
        return made


def _action(author: Author, declared: StoredType) -> Outgoing:
    recorded: Any = ActionRecorded(
        actor=author.actor,
        action="event-type.put",
        object=declared.type,
        at=author.at,
        after={"version": declared.version, "schema": declared.schema},
    )
    return Outgoing(recorded, declared.type, author.tenant, int(author.mode), source="orders-notification")
