"""Tenants, topics and keys in Postgres; one transaction is one Unit."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from libs.contracts.envelope import Event
from libs.contracts.outcomes import Mode
from libs.ids import TenantId
from libs.messaging.outbox import Outgoing, append
from libs.storage.database import Database
from services.access.domain import ADMIN, ApiKey, Category, Tenant, Topic

APP_ID = "access"

_LOCK_TENANTS = "lock table tenant in share row exclusive mode"
_GET_TENANT = "select * from tenant where number = $1"
_GET_TOPIC = "select * from topic where tenant = $1 and mode = $2 and name = $3"
_LOCK_TOPIC = "select * from topic where tenant = $1 and mode = $2 and name = $3 for update"
_GET_KEY = "select * from api_key where id = $1"
_LOCK_KEY = "select * from api_key where id = $1 for update"
_PUT_TENANT = """
insert into tenant (number, name, default_locale, zone, version, changed_at) values ($1, $2, $3, $4, $5, $6)
on conflict (number) do update set name = excluded.name, default_locale = excluded.default_locale,
  zone = excluded.zone, version = excluded.version, changed_at = excluded.changed_at
"""
_PUT_TOPIC = """
insert into topic (tenant, mode, name, category, description, active, version, changed_at)
values ($1, $2, $3, $4, $5, $6, $7, $8)
on conflict (tenant, mode, name) do update set category = excluded.category, description = excluded.description,
  active = excluded.active, version = excluded.version, changed_at = excluded.changed_at
where topic.version = excluded.version - 1
returning true
"""
_ADD_KEY = """
insert into api_key (id, tenant, mode, name, scopes, secret_hash, created_at, created_by, expires_at, replaces)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
"""
# one that was rotated is on its way out
_OTHER_ADMINS = """
select exists (select from api_key k where tenant = $1 and mode = $2 and id <> $3 and $4 = any (scopes)
  and revoked_at is null and (expires_at is null or expires_at > $5)
  and not exists (select from api_key r where r.tenant = $1 and r.replaces = k.id))
"""


@dataclass(frozen=True, slots=True)
class PostgresTenants:
    """Tenants of one transaction."""

    connection: Any

    async def lock(self) -> None:
        await self.connection.execute(_LOCK_TENANTS)

    async def get(self, number: int) -> Tenant | None:
        row = await self.connection.fetchrow(_GET_TENANT, number)
        return _tenant(row) if row else None

    async def named(self, name: str) -> Tenant | None:
        row = await self.connection.fetchrow("select * from tenant where name = $1", name)
        return _tenant(row) if row else None

    async def page(self, after: int, limit: int) -> Sequence[Tenant]:
        rows = await self.connection.fetch(
            "select * from tenant where number > $1 order by number limit $2", after, limit
        )
        return [_tenant(row) for row in rows]

    async def numbered(self, numbers: Sequence[int]) -> Sequence[Tenant]:
        rows = await self.connection.fetch("select * from tenant where number = any ($1::int[])", numbers)
        return [_tenant(row) for row in rows]

    async def next_number(self) -> int:
        return int(await self.connection.fetchval("select coalesce(max(number), 0) + 1 from tenant"))

    async def put(self, tenant: Tenant) -> None:
        await self.connection.execute(
            _PUT_TENANT,
            tenant.number,
            tenant.name,
            tenant.default_locale,
            tenant.zone,
            tenant.version,
            tenant.changed_at,
        )


@dataclass(frozen=True, slots=True)
class PostgresTopics:
    """Topics of one transaction."""

    connection: Any

    async def get(self, tenant: int, mode: Mode, name: str, *, lock: bool = False) -> Topic | None:
        row = await self.connection.fetchrow(_LOCK_TOPIC if lock else _GET_TOPIC, tenant, mode, name)
        return _topic(row) if row else None

    async def page(self, tenant: int, mode: Mode, after: str, limit: int) -> Sequence[Topic]:
        rows = await self.connection.fetch(
            "select * from topic where tenant = $1 and mode = $2 and name > $3 order by name limit $4",
            tenant,
            mode,
            after,
            limit,
        )
        return [_topic(row) for row in rows]

    async def named(self, tenant: int, mode: Mode, names: Sequence[str]) -> Sequence[Topic]:
        rows = await self.connection.fetch(
            "select * from topic where tenant = $1 and mode = $2 and name = any ($3::text[])", tenant, mode, names
        )
        return [_topic(row) for row in rows]

    async def put(self, tenant: int, mode: Mode, topic: Topic) -> bool:
        written = await self.connection.fetchval(
            _PUT_TOPIC,
            tenant,
            mode,
            topic.name,
            topic.category,
            topic.description,
            topic.active,
            topic.version,
            topic.changed_at,
        )
        return bool(written)


@dataclass(frozen=True, slots=True)
class PostgresKeys:
    """Keys of one transaction."""

    connection: Any

    async def get(self, id_: str, *, lock: bool = False) -> ApiKey | None:
        row = await self.connection.fetchrow(_LOCK_KEY if lock else _GET_KEY, id_)
        return _key(row) if row else None

    async def page(self, tenant: int, after: str, limit: int) -> Sequence[ApiKey]:
        rows = await self.connection.fetch(
            "select * from api_key where tenant = $1 and id > $2 order by id limit $3", tenant, after, limit
        )
        return [_key(row) for row in rows]

    async def add(self, key: ApiKey) -> None:
        await self.connection.execute(
            _ADD_KEY,
            key.id,
            key.tenant,
            key.mode,
            key.name,
            list(key.scopes),
            key.secret_hash,
            key.created_at,
            key.created_by,
            key.expires_at,
            key.replaces,
        )

    async def end(self, id_: str, *, expires_at: datetime | None, revoked_at: datetime | None) -> None:
        await self.connection.execute(
            "update api_key set expires_at = $2, revoked_at = $3 where id = $1", id_, expires_at, revoked_at
        )

    async def used(self, id_: str, at: datetime) -> None:
        # skipped if the row is locked: the next verification writes it
        await self.connection.execute(
            "update api_key set last_used_at = $2 where id = "
            "(select id from api_key where id = $1 for update skip locked)",
            id_,
            at,
        )

    async def other_admins(self, key: ApiKey, now: datetime) -> bool:
        found = await self.connection.fetchval(_OTHER_ADMINS, key.tenant, key.mode, key.id, ADMIN, now)
        return bool(found)


@dataclass(frozen=True, slots=True)
class PostgresUnit:
    """One transaction over all three, with its outbox."""

    connection: Any

    @property
    def tenants(self) -> PostgresTenants:
        return PostgresTenants(self.connection)

    @property
    def topics(self) -> PostgresTopics:
        return PostgresTopics(self.connection)

    @property
    def keys(self) -> PostgresKeys:
        return PostgresKeys(self.connection)

    async def emit(self, tenant: int, mode: Mode, events: Sequence[tuple[str, Event]]) -> None:
        outgoing = [Outgoing(event, key, tenant, mode, source=APP_ID) for key, event in events]
        await append(self.connection, outgoing)


@dataclass(frozen=True, slots=True)
class PostgresStore:
    """Transactions in the schema of access."""

    database: Database

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[PostgresUnit]:
        async with self.database.transaction() as connection:
            yield PostgresUnit(connection)


def _tenant(row: Any) -> Tenant:
    return Tenant(
        TenantId(row["number"]),
        row["name"],
        row["default_locale"],
        row["zone"],
        row["version"],
        row["changed_at"],
    )


def _topic(row: Any) -> Topic:
    return Topic(
        row["name"],
        Category(row["category"]),
        row["description"],
        row["active"],
        row["version"],
        row["changed_at"],
    )


def _key(row: Any) -> ApiKey:
    return ApiKey(
        id=row["id"],
        tenant=TenantId(row["tenant"]),
        mode=Mode(row["mode"]),
        name=row["name"],
        scopes=tuple(row["scopes"]),
        secret_hash=row["secret_hash"],
        created_at=row["created_at"],
        created_by=row["created_by"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        last_used_at=row["last_used_at"],
        replaces=row["replaces"],
    )
