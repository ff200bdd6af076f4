"""Rows of `recipient`."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from libs import exact_json
from services.tokens.domain.recipients import Profile, Realm
from services.tokens.ports import StoredRecipient, Touched

_LOCK = """
select id, key, version, first_name, last_name, locale, zone, quiet_hours, attributes
from recipient where tenant = $1 and mode = $2 and key = any($3::text[]) order by key for update
"""
_INSERT = """
insert into recipient (tenant, mode, key, first_name, last_name, locale, zone, quiet_hours, attributes,
                       created_at, changed_at)
select $1, $2, key, first_name, last_name, locale, zone, quiet_hours::jsonb, attributes::jsonb, $10, $10
from unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[])
     as n (key, first_name, last_name, locale, zone, quiet_hours, attributes)
order by key collate "C" returning key, id
"""
_UPDATE = """
update recipient r
set first_name = n.first_name, last_name = n.last_name, locale = n.locale, zone = n.zone,
    quiet_hours = n.quiet_hours::jsonb, attributes = n.attributes::jsonb, version = version + 1, changed_at = $8
from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
     as n (id, first_name, last_name, locale, zone, quiet_hours, attributes)
where r.id = n.id returning r.id, r.key, r.version
"""
_TOUCH = """
update recipient set version = version + 1, changed_at = $2 where id = any($1::bigint[]) returning id, key, version
"""
_ERASE = (
    "delete from consent where recipient_id = any($1::bigint[])",
    "delete from consent_statement where recipient_id = any($1::bigint[])",
    "delete from address where recipient_id = any($1::bigint[])",
    "delete from recipient where id = any($1::bigint[])",
)


class PostgresRecipients:
    """RecipientRows on one connection."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def lock(self, realm: Realm, keys: Sequence[str]) -> dict[str, StoredRecipient]:
        rows = await self._connection.fetch(_LOCK, realm.tenant, realm.mode, sorted(keys))
        return {row["key"]: StoredRecipient(row["id"], row["key"], row["version"], _profile(row)) for row in rows}

    async def insert(self, realm: Realm, rows: Mapping[str, Profile], now: datetime) -> dict[str, int]:
        if not rows:
            return {}
        columns = _columns(list(rows.values()))
        made = await self._connection.fetch(_INSERT, realm.tenant, realm.mode, list(rows), *columns, now)
        return {row["key"]: row["id"] for row in made}

    async def update(self, rows: Mapping[int, Profile], now: datetime) -> list[Touched]:
        if not rows:
            return []
        ids = sorted(rows)
        return _touched(await self._connection.fetch(_UPDATE, ids, *_columns([rows[id_] for id_ in ids]), now))

    async def touch(self, ids: Sequence[int], now: datetime) -> list[Touched]:
        return _touched(await self._connection.fetch(_TOUCH, sorted(ids), now)) if ids else []

    async def erase(self, ids: Sequence[int]) -> None:
        for statement in _ERASE:
            await self._connection.execute(statement, sorted(ids))


def _profile(row: Any) -> Profile:
    return Profile(
        row["first_name"], row["last_name"], row["locale"], row["zone"], row["quiet_hours"], row["attributes"]
    )


def _columns(profiles: Sequence[Profile]) -> tuple[list[str | None], ...]:
    return (
        [p.first_name for p in profiles],
        [p.last_name for p in profiles],
        [p.locale for p in profiles],
        [p.zone for p in profiles],
        [exact_json.dumps(p.quiet_hours).decode() if p.quiet_hours else None for p in profiles],
        [exact_json.dumps(p.attributes).decode() for p in profiles],
    )


def _touched(rows: Sequence[Any]) -> list[Touched]:
    return [Touched(row["id"], row["key"], row["version"]) for row in rows]
