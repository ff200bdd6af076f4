"""Rows of `address`: mailboxes, phones, webhooks and devices."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from libs.contracts.outcomes import Channel
from services.tokens.domain.recipients import Realm
from services.tokens.ports import NewAddress, NewDevice, OwnedAddress, StoredAddress

_COLUMNS = "id, recipient_id, channel, kind, value, hash, installation, retired_at is null as live"

_OF = f"select {_COLUMNS} from address where recipient_id = any($1::bigint[]) order by id for update"  # noqa: S608 - our own constant
# a returning address gets its old id: the ledger knows it by that
_PUT = f"""
insert into address (tenant, mode, recipient_id, channel, kind, value, hash, created_at, seen_at)
select $1, $2, recipient_id, channel, kind, value, hash, $8, $8
from unnest($3::bigint[], $4::smallint[], $5::text[], $6::text[], $7::bytea[])
     as n (recipient_id, channel, kind, value, hash) order by recipient_id, channel, hash
on conflict (recipient_id, channel, hash) where channel <> 1
do update set value = excluded.value, seen_at = excluded.seen_at, retired_at = null, retired_why = null
returning {_COLUMNS}
"""  # noqa: S608
_RETIRE = """
update address set retired_at = $3, retired_why = $2 where id = any($1::bigint[]) and retired_at is null
"""
# Two index lookups per device. An OR of both, or plain joins planned on an empty table, would scan every device of the
# tenant; `offset 0` keeps each a lookup.
_LOCK_DEVICES = f"""
select {_COLUMNS} from address where id in (
  select found.id from unnest($3::text[]) as n (installation) cross join lateral (
    select id from address
    where installation = n.installation and tenant = $1 and mode = $2 and channel = 1 offset 0) found
  union
  select found.id from unnest($4::bytea[]) as n (hash) cross join lateral (
    select id from address
    where hash = n.hash and tenant = $1 and mode = $2 and channel = 1 and retired_at is null offset 0) found
) order by id for update
"""  # noqa: S608
_DEVICE_OWNERS = """
select found.key from unnest($3::text[]) as n (installation) cross join lateral (
  select r.key from address a join recipient r on r.id = a.recipient_id
  where a.installation = n.installation and a.tenant = $1 and a.mode = $2 and a.channel = 1 offset 0) found
union
select found.key from unnest($4::bytea[]) as n (hash) cross join lateral (
  select r.key from address a join recipient r on r.id = a.recipient_id
  where a.hash = n.hash and a.tenant = $1 and a.mode = $2 and a.channel = 1 and a.retired_at is null offset 0) found
"""
_PUT_DEVICES = """
insert into address as a (tenant, mode, recipient_id, channel, kind, value, hash, installation, platform,
                          app_version, locale, created_at, seen_at)
select $1, $2, recipient_id, 1, kind, value, hash, installation, platform, app_version, locale, $11, $11
from unnest($3::bigint[], $4::text[], $5::text[], $6::bytea[], $7::text[], $8::text[], $9::text[], $10::text[])
     as n (recipient_id, kind, value, hash, installation, platform, app_version, locale)
order by installation collate "C"
on conflict (tenant, mode, installation) where channel = 1
do update set recipient_id = excluded.recipient_id, kind = excluded.kind, value = excluded.value,
  hash = excluded.hash, platform = coalesce(excluded.platform, a.platform),
  app_version = coalesce(excluded.app_version, a.app_version), locale = coalesce(excluded.locale, a.locale),
  seen_at = excluded.seen_at, retired_at = null, retired_why = null
returning installation, id
"""
_DEVICE = """
select a.id, a.recipient_id, a.channel, a.kind, a.value, a.hash, a.installation, a.retired_at is null as live, r.key,
       a.retired_why
from address a join recipient r on r.id = a.recipient_id
where a.tenant = $1 and a.mode = $2 and a.installation = $3 and a.channel = 1
"""
# the hash must still be the refused one, and the device not seen since: the app may have refreshed its token
# meanwhile, or been reinstalled under the same one
_DEAD_DEVICES = """
select a.id, a.recipient_id, a.channel, a.kind, a.value, a.hash, a.installation, true as live, r.key
from address a join recipient r on r.id = a.recipient_id
where a.id in (
  select found.id from unnest($3::bigint[], $4::bytea[], $5::timestamptz[]) as n (id, hash, refused_at)
  cross join lateral (
    select id from address where hash = n.hash and tenant = $1 and mode = $2 and channel = 1
      and retired_at is null and id = n.id and seen_at <= n.refused_at offset 0) found
) order by a.id
"""
_MOVE = "update address set recipient_id = $2, seen_at = $3 where id = $1"


class PostgresAddresses:
    """AddressRows on one connection."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def of(self, recipient_ids: Sequence[int]) -> list[StoredAddress]:
        return _stored(await self._connection.fetch(_OF, sorted(recipient_ids))) if recipient_ids else []

    async def put(self, realm: Realm, rows: Sequence[NewAddress], now: datetime) -> list[StoredAddress]:
        if not rows:
            return []
        return _stored(
            await self._connection.fetch(
                _PUT,
                realm.tenant,
                realm.mode,
                [row.recipient_id for row in rows],
                [row.channel for row in rows],
                [row.address.kind for row in rows],
                [row.address.value for row in rows],
                [row.hash for row in rows],
                now,
            )
        )

    async def retire(self, ids: Sequence[int], why: str, now: datetime) -> None:
        if ids:
            await self._connection.execute(_RETIRE, sorted(ids), why, now)

    async def device_owners(self, realm: Realm, installations: Sequence[str], hashes: Sequence[bytes]) -> set[str]:
        rows = await self._connection.fetch(_DEVICE_OWNERS, realm.tenant, realm.mode, list(installations), list(hashes))
        return {row["key"] for row in rows}

    async def lock_devices(
        self, realm: Realm, installations: Sequence[str], hashes: Sequence[bytes]
    ) -> list[StoredAddress]:
        return _stored(
            await self._connection.fetch(_LOCK_DEVICES, realm.tenant, realm.mode, sorted(installations), sorted(hashes))
        )

    async def device(self, realm: Realm, installation: str) -> OwnedAddress | None:
        rows = await self._connection.fetch(_DEVICE, realm.tenant, realm.mode, installation)
        return replace(_owned(rows)[0], retired_why=rows[0]["retired_why"]) if rows else None

    async def dead_devices(self, realm: Realm, named: Mapping[int, tuple[bytes, datetime]]) -> list[OwnedAddress]:
        ids = sorted(named)
        hashes, refused_at = [named[id_][0] for id_ in ids], [named[id_][1] for id_ in ids]
        return _owned(await self._connection.fetch(_DEAD_DEVICES, realm.tenant, realm.mode, ids, hashes, refused_at))

    async def move(self, id_: int, recipient_id: int, now: datetime) -> None:
        await self._connection.execute(_MOVE, id_, recipient_id, now)

    async def put_devices(self, realm: Realm, rows: Sequence[NewDevice], now: datetime) -> dict[str, int]:
        if not rows:
            return {}
        made = await self._connection.fetch(
            _PUT_DEVICES,
            realm.tenant,
            realm.mode,
            [row.recipient_id for row in rows],
            [row.device.address.kind for row in rows],
            [row.device.address.value for row in rows],
            [row.hash for row in rows],
            [row.device.installation for row in rows],
            [row.device.platform for row in rows],
            [row.device.app_version for row in rows],
            [row.device.locale for row in rows],
            now,
        )
        return {row["installation"]: row["id"] for row in made}


def _owned(rows: Sequence[Any]) -> list[OwnedAddress]:
    return [OwnedAddress(address, row["key"]) for address, row in zip(_stored(rows), rows, strict=True)]


def _stored(rows: Sequence[Any]) -> list[StoredAddress]:
    return [
        StoredAddress(
            row["id"],
            row["recipient_id"],
            Channel(row["channel"]),
            row["kind"],
            row["value"],
            row["hash"],
            row["live"],
            row["installation"],
        )
        for row in rows
    ]
