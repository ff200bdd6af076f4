"""Reads: a few statements each, whatever the number of recipients."""

from collections.abc import Sequence
from typing import Any

from libs.storage.database import Database
from services.tokens.domain.recipients import Realm
from services.tokens.ports import Found, ListPage

# JSON passes through as text, unparsed
_RESOLVE = """
select id, key, first_name, last_name, locale, zone, quiet_hours::text as quiet_hours, attributes::text as attributes
from recipient where tenant = $1 and mode = $2 and key = any($3::text[])
"""
_RESOLVE_ADDRESSES = """
select recipient_id, id, channel, kind, value, hash, locale from address
where recipient_id = any($1::bigint[]) and channel = any($2::smallint[]) and retired_at is null order by id
"""
_RESOLVE_CONSENTS = """
select c.recipient_id, c.channel from consent c
where c.recipient_id = any($1::bigint[]) and c.topic = $2 and c.channel = any($3::smallint[]) and c.granted
  and not exists (select from consent b where b.recipient_id = c.recipient_id and b.topic = '*'
                  and b.channel = c.channel and b.at >= c.at)
"""
_FIND = """
select distinct a.hash, r.key from address a join recipient r on r.id = a.recipient_id
where a.tenant = $1 and a.mode = $2 and a.hash = any($3::bytea[]) order by r.key
"""
_ONE = """
select id, key, first_name, last_name, locale, zone, quiet_hours, attributes, version, created_at, changed_at
from recipient where tenant = $1 and mode = $2 and key = $3
"""
_LIST = """
select id, key, first_name, last_name, locale, zone, quiet_hours, attributes, version, created_at, changed_at
from recipient where tenant = $1 and mode = $2 and key > $3 and key >= $4 and key < $5 order by key limit $6
"""
# A statement of its own, and materialized: otherwise Postgres scans the keys until it meets an owner.
_LIST_BY_ADDRESS = """
with owner as materialized (select recipient_id from address where tenant = $1 and mode = $2 and hash = $7)
select id, key, first_name, last_name, locale, zone, quiet_hours, attributes, version, created_at, changed_at
from recipient where id in (select recipient_id from owner)
  and tenant = $1 and mode = $2 and key > $3 and key >= $4 and key < $5 order by key limit $6
"""
_ADDRESSES = """
select id, recipient_id, channel, kind, value, installation, platform, app_version, locale, created_at, seen_at
from address where recipient_id = any($3::bigint[]) and tenant = $1 and mode = $2 and retired_at is null order by id
"""
_CONSENTS = """
select recipient_id, topic, channel, granted, at, how, text_version
from consent where tenant = $1 and mode = $2 and recipient_id = any($3::bigint[]) order by topic, channel
"""
_STATEMENTS = """
select id, topic, channel, granted, at, how, text_version, message, actor, recorded_at from consent_statement
where recipient_id = $1 and ($2::bigint is null or id < $2) order by id desc limit $3
"""
_DEVICE = """
select a.id, a.channel, a.kind, a.value, a.installation, a.platform, a.app_version, a.locale, a.created_at, a.seen_at,
       a.retired_at, a.retired_why, r.key
from address a join recipient r on r.id = a.recipient_id
where a.tenant = $1 and a.mode = $2 and a.installation = $3 and a.channel = 1
"""


class PostgresReader:
    """Reader on the service's pool."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def resolve(self, realm: Realm, keys: Sequence[str], topic: str | None, channels: Sequence[int]) -> Found:
        async with self._database.acquire() as connection:
            recipients = await connection.fetch(_RESOLVE, realm.tenant, realm.mode, keys)
            ids = [row["id"] for row in recipients]
            addresses = await connection.fetch(_RESOLVE_ADDRESSES, ids, channels) if ids else []
            consents = await connection.fetch(_RESOLVE_CONSENTS, ids, topic, channels) if ids and topic else []
        return Found(recipients, addresses, consents)

    async def find(self, realm: Realm, hashes: Sequence[bytes]) -> list[tuple[bytes, str]]:
        async with self._database.acquire() as connection:
            rows = await connection.fetch(_FIND, realm.tenant, realm.mode, list(hashes))
        return [(row["hash"], row["key"]) for row in rows]

    async def recipients(self, realm: Realm, page: ListPage) -> list[Any]:
        values = (realm.tenant, realm.mode, page.after, page.prefix, page.prefix + "\U0010ffff", page.limit)
        async with self._database.acquire() as connection:
            if page.hash is None:
                return list(await connection.fetch(_LIST, *values))
            return list(await connection.fetch(_LIST_BY_ADDRESS, *values, page.hash))

    async def recipient(self, realm: Realm, key: str) -> Any:
        async with self._database.acquire() as connection:
            return await connection.fetchrow(_ONE, realm.tenant, realm.mode, key)

    async def details(self, realm: Realm, ids: Sequence[int]) -> tuple[list[Any], list[Any]]:
        async with self._database.acquire() as connection:
            addresses = await connection.fetch(_ADDRESSES, realm.tenant, realm.mode, ids)
            consents = await connection.fetch(_CONSENTS, realm.tenant, realm.mode, ids)
        return addresses, consents

    async def statements(self, recipient_id: int, before: int | None, limit: int) -> list[Any]:
        async with self._database.acquire() as connection:
            rows: list[Any] = await connection.fetch(_STATEMENTS, recipient_id, before, limit)
        return rows

    async def device(self, realm: Realm, installation: str) -> Any:
        async with self._database.acquire() as connection:
            return await connection.fetchrow(_DEVICE, realm.tenant, realm.mode, installation)
