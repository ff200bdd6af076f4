"""Communications and releases in Postgres; each transaction is one Communications."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from libs.auth import Principal
from libs.contracts.envelope import Event
from libs.contracts.outcomes import Lane, Mode, OnUnknown
from libs.errors import Invalid
from libs.expressions import Expression, compile_expression
from libs.ids import ReleaseId, TenantId
from libs.messaging.outbox import Outgoing, append
from libs.storage.database import Database
from libs.telemetry import get_logger
from services.orders_notification.adapters.postgres.catalogue import bump
from services.orders_notification.domain.communications import (
    Communication,
    Definition,
    Release,
    ReleaseHead,
    definition_of,
    plain,
)
from services.orders_notification.domain.releases import EVENT_VARIABLES, CompiledRelease

log = get_logger(__name__)

_OWN = "tenant = $1 and mode = $2"
_GET = f"select * from communication where {_OWN} and name = $3"  # noqa: S608
_PAGE = f"select * from communication where {_OWN} and name > $3 order by name limit $4"  # noqa: S608
_RELEASE = f"select * from release where {_OWN} and id = $3"  # noqa: S608
_SCHEMA = f"select schema from event_type where {_OWN} and type = $3"  # noqa: S608
_PUT = """
insert into communication as c
  (tenant, mode, name, definition, version, release_id, released, released_draft, retired_at, changed_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
on conflict (tenant, mode, name) do update set definition = excluded.definition, version = excluded.version,
  release_id = excluded.release_id, released = excluded.released, released_draft = excluded.released_draft,
  retired_at = excluded.retired_at, changed_at = excluded.changed_at
where c.version = excluded.version - 1
  -- published or retired; who makes it anew, as its first version, is late
  or c.version = excluded.version and c.definition = excluded.definition and excluded.released is not null
returning true
"""
_ADD_RELEASE = """
insert into release (id, tenant, mode, communication, version, digest, bundle, trigger, condition, recipient,
                     published_at, published_by)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
"""
_ACTIVE = """
select r.* from communication c join release r on r.id = c.release_id
where c.tenant = $1 and c.mode = $2 and c.name = any ($3)
"""
_RELEASES = f"""
select * from release where {_OWN} and communication = $3 and version < $4 order by version desc limit $5
"""  # noqa: S608
_HEADS = f"select id, version, digest from release where {_OWN} and communication = $3 order by version"  # noqa: S608
_LISTENING = """
select r.id, r.communication, r.version, r.trigger, r.condition, r.recipient,
       r.bundle ->> 'lane' as lane, r.bundle ->> 'on_unknown' as on_unknown,
       (r.bundle ->> 'expiry_seconds')::int as expiry_seconds
from communication c join release r on r.id = c.release_id where c.tenant = $1 and c.mode = $2
"""


@dataclass(frozen=True, slots=True)
class PostgresCommunications:
    """One transaction."""

    connection: Any
    principal: Principal

    @property
    def _owner(self) -> tuple[int, int]:
        return self.principal.tenant, int(self.principal.mode)

    async def get(self, name: str, *, lock: bool = False) -> Communication | None:
        row = await self.connection.fetchrow(_GET + " for update" * lock, *self._owner, name)
        return _communication(row) if row else None

    async def page(self, after: str, limit: int) -> Sequence[Communication]:
        return [_communication(row) for row in await self.connection.fetch(_PAGE, *self._owner, after, limit)]

    async def put(self, communication: Communication) -> bool:
        written = await self.connection.fetchval(
            _PUT,
            *self._owner,
            communication.name,
            plain(communication.definition),
            communication.version,
            communication.release_id,
            communication.released,
            communication.released_draft,
            communication.retired_at,
            communication.changed_at,
        )
        return bool(written)

    async def add_release(self, release: Release, definition: Definition) -> None:
        await self.connection.execute(
            _ADD_RELEASE,
            release.id,
            *self._owner,
            release.communication,
            release.version,
            release.digest,
            release.bundle,
            definition.trigger,
            definition.condition,
            definition.recipient,
            release.published_at,
            release.published_by,
        )

    async def release(self, id_: UUID) -> Release | None:
        row = await self.connection.fetchrow(_RELEASE, *self._owner, id_)
        return _release(row) if row else None

    async def active(self, names: Sequence[str]) -> Mapping[str, Release]:
        rows = await self.connection.fetch(_ACTIVE, *self._owner, list(names))
        return {row["communication"]: _release(row) for row in rows}

    async def releases(self, name: str, below: int, limit: int) -> Sequence[Release]:
        return [_release(row) for row in await self.connection.fetch(_RELEASES, *self._owner, name, below, limit)]

    async def heads(self, name: str) -> Sequence[ReleaseHead]:
        rows = await self.connection.fetch(_HEADS, *self._owner, name)
        return [ReleaseHead(row["id"], row["version"], row["digest"]) for row in rows]

    async def schema(self, event_type: str) -> Mapping[str, Any] | None:
        found: Mapping[str, Any] | None = await self.connection.fetchval(_SCHEMA, *self._owner, event_type)
        return found

    async def changed(self) -> None:
        await bump(self.connection, self.principal.tenant, self.principal.mode)

    async def emit(self, key: str, events: Sequence[Event]) -> None:
        tenant, mode = self._owner
        await append(self.connection, [Outgoing(e, key, tenant, mode, source="orders-notification") for e in events])


@dataclass(frozen=True, slots=True)
class PostgresCommunicationStore:
    """Transactions, and the active releases in the form that intake needs."""

    database: Database

    @asynccontextmanager
    async def begin(self, principal: Principal) -> AsyncIterator[PostgresCommunications]:
        async with self.database.transaction() as connection:
            yield PostgresCommunications(connection, principal)

    async def active(self, tenant: TenantId, mode: Mode) -> Sequence[CompiledRelease]:
        """Implements ports.releases.ActiveReleases."""
        async with self.database.acquire() as connection:
            rows = await connection.fetch(_LISTENING, tenant, int(mode))
        made = []
        for row in rows:
            try:
                made.append(_compiled(row, tenant, mode))
            except Invalid as error:  # an older engine accepted it: the others are used, and this one is logged
                log.error("release_unusable", release_id=str(row["id"]), detail=error.detail)
        return made


def _compiled(row: Any, tenant: TenantId, mode: Mode) -> CompiledRelease:
    return CompiledRelease(
        id=ReleaseId(row["id"]),
        tenant=tenant,
        mode=mode,
        communication=row["communication"],
        version=row["version"],
        trigger=row["trigger"],
        condition=_expression(row["condition"], "/condition"),
        recipient=_expression(row["recipient"], "/recipient"),
        lane=Lane.parse(row["lane"]),
        on_unknown=OnUnknown.parse(row["on_unknown"]),
        expiry_seconds=row["expiry_seconds"],
    )


def _expression(text: str | None, pointer: str) -> Expression | None:
    return compile_expression(text, variables=EVENT_VARIABLES, pointer=pointer) if text else None


def _communication(row: Any) -> Communication:
    return Communication(
        name=row["name"],
        definition=definition_of(row["definition"]),
        version=row["version"],
        release_id=row["release_id"],
        released=row["released"],
        released_draft=row["released_draft"],
        retired_at=row["retired_at"],
        changed_at=row["changed_at"],
    )


def _release(row: Any) -> Release:
    return Release(
        id=row["id"],
        communication=row["communication"],
        version=row["version"],
        digest=row["digest"],
        bundle=row["bundle"],
        published_at=row["published_at"],
        published_by=row["published_by"],
    )
