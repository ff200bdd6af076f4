"""Templates and their versions in Postgres; each transaction is one Unit."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from libs.auth import Principal
from libs.contracts.envelope import Event
from libs.contracts.outcomes import Channel
from libs.messaging.outbox import Outgoing, append
from libs.storage.database import Database
from services.templates.domain import Template, Version
from services.templates.ports import After

APP_ID = "templates"

_GET = "select * from template where tenant = $1 and mode = $2 and name = $3"
_LOCK = "select * from template where tenant = $1 and mode = $2 and name = $3 for update"
_PAGE = """
select * from template
where tenant = $1 and mode = $2 and name > $3 and ($4::smallint is null or channel = $4) order by name limit $5
"""
_PUT = """
insert into template
  (tenant, mode, name, channel, description, locales, version, published, published_draft, changed_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
on conflict (tenant, mode, name) do update set channel = excluded.channel, description = excluded.description,
  locales = excluded.locales, version = excluded.version, published = excluded.published,
  published_draft = excluded.published_draft, changed_at = excluded.changed_at
where template.version = excluded.version - 1
   -- published; who makes it anew, as its first version, is late
   or (template.version = excluded.version and excluded.published is not null
       and (template.published, template.published_draft)
           is distinct from (excluded.published, excluded.published_draft))
returning true
"""
_ADD_VERSION = """
insert into template_version (tenant, mode, name, version, channel, locales, digest, published_at, published_by)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""
_VERSION = "select * from template_version where tenant = $1 and mode = $2 and name = $3 and version = $4"
_VERSIONS = """
select * from template_version where tenant = $1 and mode = $2 and name = $3 and version < $4
order by version desc limit $5
"""
_PUBLISHED = """
select v.* from template t join template_version v using (tenant, mode, name)
where t.tenant = $1 and t.mode = $2 and t.name = any ($3) and v.version = t.published
"""


@dataclass(frozen=True, slots=True)
class PostgresUnit:
    """One transaction."""

    connection: Any
    principal: Principal

    @property
    def _owner(self) -> tuple[int, int]:
        return self.principal.tenant, int(self.principal.mode)

    async def get(self, name: str, *, lock: bool = False) -> Template | None:
        row = await self.connection.fetchrow(_LOCK if lock else _GET, *self._owner, name)
        return _template(row) if row else None

    async def page(self, after: After) -> Sequence[Template]:
        rows = await self.connection.fetch(_PAGE, *self._owner, after.name, after.channel, after.limit)
        return [_template(row) for row in rows]

    async def put(self, template: Template) -> bool:
        written = await self.connection.fetchval(
            _PUT,
            *self._owner,
            template.name,
            int(template.channel),
            template.description,
            template.locales,
            template.version,
            template.published,
            template.published_draft,
            template.changed_at,
        )
        return bool(written)

    async def add_version(self, version: Version) -> None:
        await self.connection.execute(
            _ADD_VERSION,
            *self._owner,
            version.name,
            version.version,
            int(version.channel),
            version.locales,
            version.digest,
            version.published_at,
            version.published_by,
        )

    async def version(self, name: str, number: int) -> Version | None:
        row = await self.connection.fetchrow(_VERSION, *self._owner, name, number)
        return _version(row) if row else None

    async def versions(self, name: str, before: int, limit: int) -> Sequence[Version]:
        return [_version(row) for row in await self.connection.fetch(_VERSIONS, *self._owner, name, before, limit)]

    async def published(self, names: Sequence[str]) -> Mapping[str, Version]:
        rows = await self.connection.fetch(_PUBLISHED, *self._owner, list(names))
        return {row["name"]: _version(row) for row in rows}

    async def emit(self, key: str, events: Sequence[Event]) -> None:
        tenant, mode = self._owner
        await append(self.connection, [Outgoing(event, key, tenant, mode, source=APP_ID) for event in events])


@dataclass(frozen=True, slots=True)
class PostgresStore:
    """Begins transactions on the service's schema."""

    database: Database

    @asynccontextmanager
    async def begin(self, principal: Principal) -> AsyncIterator[PostgresUnit]:
        async with self.database.transaction() as connection:
            yield PostgresUnit(connection, principal)


def _template(row: Any) -> Template:
    return Template(
        name=row["name"],
        channel=Channel(row["channel"]),
        description=row["description"],
        locales=row["locales"],
        version=row["version"],
        published=row["published"],
        published_draft=row["published_draft"],
        changed_at=row["changed_at"],
    )


def _version(row: Any) -> Version:
    return Version(
        name=row["name"],
        version=row["version"],
        channel=Channel(row["channel"]),
        locales=row["locales"],
        digest=row["digest"],
        published_at=row["published_at"],
        published_by=row["published_by"],
    )
