"""Sources, with their secrets sealed at rest; compiled once per version."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from libs.contracts.audit import ActionRecorded
from libs.contracts.outcomes import Mode
from libs.errors import NotFound, PreconditionFailed
from libs.keyring import Keyring
from libs.messaging import outbox
from libs.messaging.bus import Topic
from libs.messaging.outbox import Outgoing
from libs.storage.database import Database
from services.orders_notification.domain.sources import Source, source
from services.orders_notification.ports.sources import Author, StoredSource

_COLUMNS = "tenant, mode, name, version, definition, secrets, created_at, updated_at"
_NAMED = f"select {_COLUMNS} from source where name = $1 order by tenant, mode"  # noqa: S608
_GET = f"select {_COLUMNS} from source where name = $3 and tenant = $1 and mode = $2"  # noqa: S608
_ALL = f"""
select {_COLUMNS} from source where tenant = $1 and mode = $2 and name > $3 order by name limit $4
"""  # noqa: S608
_HEARING = f"""
select {_COLUMNS} from source
where definition #>> '{{topic,component}}' = $1 and definition #>> '{{topic,name}}' = $2 order by tenant, mode, name
"""  # noqa: S608
_TOPICS = """
select distinct tenant, definition #>> '{topic,component}' as component, definition #>> '{topic,name}' as name
from source where definition ? 'topic' order by component, name, tenant
"""
_PUT = """
insert into source as s (tenant, mode, name, version, definition, secrets, created_at, updated_at)
values ($1, $2, $3, $4, $5, $6, $7, $7)
on conflict (name, tenant, mode) do update
set version = excluded.version, definition = excluded.definition, secrets = excluded.secrets,
    updated_at = excluded.updated_at
where s.version = excluded.version - 1
returning version
"""
_DELETE = "delete from source where name = $3 and tenant = $1 and mode = $2 and version = $4 returning version"
_COMPILED_ENTRIES = 1_000


class PostgresSources:
    """Implements ports.sources.Sources."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring
        self._compiled: dict[tuple[int, int, str, int, Any], Source] = {}

    async def named(self, name: str) -> list[StoredSource]:
        return await self._rows(_NAMED, name)

    async def get(self, tenant: int, mode: Mode, name: str) -> StoredSource | None:
        rows = await self._rows(_GET, tenant, int(mode), name)
        return rows[0] if rows else None

    async def all(self, tenant: int, mode: Mode, after: str, limit: int) -> list[StoredSource]:
        return await self._rows(_ALL, tenant, int(mode), after, limit)

    async def hearing(self, topic: Topic) -> list[StoredSource]:
        return await self._rows(_HEARING, *topic)

    async def topics(self) -> list[tuple[int, Topic]]:
        async with self._database.acquire() as connection:
            return [(row["tenant"], Topic(row["component"], row["name"])) for row in await connection.fetch(_TOPICS)]

    async def put(self, author: Author, source: Source, definition: Mapping[str, Any], secrets: Sequence[str]) -> None:
        context = _context(author.tenant, author.mode, source.name)
        sealed = self._keyring.seal("credentials", msgspec.json.encode(list(secrets)), context)
        async with self._database.transaction() as connection:
            written = await connection.fetchval(
                _PUT,
                author.tenant,
                int(author.mode),
                source.name,
                source.version,
                definition,
                sealed,
                author.at,
            )
            if written is None:
                raise PreconditionFailed("Somebody else changed this source in the meantime; read it again.")
            after = {"version": source.version, "definition": definition, "secrets": len(secrets)}
            await outbox.append(connection, [_action(author, "source.put", source.name, after)])

    async def delete(self, author: Author, name: str, version: int) -> None:
        async with self._database.transaction() as connection:
            gone = await connection.fetchval(_DELETE, author.tenant, int(author.mode), name, version)
            if gone is None:
                raise NotFound(f"The source {name!r} no longer exists in this version; read it again.")
            await outbox.append(connection, [_action(author, "source.delete", name, None)])

    async def _rows(self, statement: str, *values: Any) -> list[StoredSource]:
        async with self._database.acquire() as connection:
            rows = await connection.fetch(statement, *values)
        return [self._stored(row) for row in rows]

    def _stored(self, row: Any) -> StoredSource:
        mode = Mode(row["mode"])
        secrets = self._keyring.open("credentials", row["secrets"], _context(row["tenant"], mode, row["name"]))
        return StoredSource(
            tenant=row["tenant"],
            mode=mode,
            source=self._source(row),
            definition=row["definition"],
            secrets=tuple(msgspec.json.decode(secrets, type=list[str])),
            created_at=row["created_at"],
            updated_at=row["updated_at"],
        )

    def _source(self, row: Any) -> Source:
        # created_at too: a source that is deleted and created again restarts at version 1
        key = (row["tenant"], row["mode"], row["name"], row["version"], row["created_at"])
        held = self._compiled.get(key)
        if held is None:
            if len(self._compiled) >= _COMPILED_ENTRIES:
                self._compiled.clear()
            held = self._compiled[key] = source(row["name"], row["version"], row["definition"])
        return held


def _context(tenant: int, mode: Mode, name: str) -> bytes:
    return f"source:{tenant}:{int(mode)}:{name}".encode()


def _action(author: Author, action: str, name: str, after: dict[str, Any] | None) -> Outgoing:
    recorded = ActionRecorded(actor=author.actor, action=action, object=name, at=author.at, after=after)
    return Outgoing(recorded, name, author.tenant, int(author.mode), source="orders-notification")
