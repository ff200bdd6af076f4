"""Suppressions: as many as there are in one transaction, in three statements, locked in the order of their keys."""

from collections.abc import Sequence
from typing import Any

from libs.contracts.outcomes import Mode, Scope
from libs.contracts.reasons import Reason
from libs.ids import uuid7
from services.bounce.domain.suppressions import Evidence, Suppression, SuppressionKey, place

_KEYS = "unnest($1::smallint[], $2::smallint[], $3::bytea[], $4::smallint[])"
# a row to lock for each key, before anybody decides on it
_PREPARE = """
insert into suppression (id, tenant, mode, address_hash, scope, reason, active, version, changed_at, actor)
select id, tenant, mode, address_hash, scope, 0, false, 0, at, ''
from unnest($1::smallint[], $2::smallint[], $3::bytea[], $4::smallint[], $5::uuid[], $6::timestamptz[])
  as wanted (tenant, mode, address_hash, scope, id, at)
on conflict (tenant, mode, address_hash, scope) do nothing
"""
_LOCK = f"""
select suppression.* from suppression join {_KEYS} as wanted (tenant, mode, address_hash, scope)
  using (tenant, mode, address_hash, scope)
order by tenant, mode, address_hash, scope for update of suppression
"""  # noqa: S608 - our own words
_PUT = """
update suppression set reason = new.reason, active = new.active, version = new.version, changed_at = new.changed_at,
  lifted_at = new.lifted_at, bounce_id = new.bounce_id, message = new.message, recipient = new.recipient,
  actor = new.actor, note = new.note
from unnest($1::uuid[], $2::smallint[], $3::boolean[], $4::bigint[], $5::timestamptz[], $6::timestamptz[],
  $7::uuid[], $8::text[], $9::text[], $10::text[], $11::text[])
  as new (id, reason, active, version, changed_at, lifted_at, bounce_id, message, recipient, actor, note)
where suppression.id = new.id
"""

Key = tuple[int, Mode, bytes, Scope]


def key_of(key: SuppressionKey) -> Key:
    return key.tenant, key.mode, key.address_hash, key.scope


async def place_all(connection: Any, evidence: Sequence[Evidence]) -> list[Suppression]:
    """Places what the evidence places, and gives what changed; several on one key count in their order."""
    if not evidence:
        return []
    first = {key_of(one.key): one for one in reversed(evidence)}
    keys = sorted(first)
    columns = [list(column) for column in zip(*keys, strict=True)]
    await connection.execute(_PREPARE, *columns, [uuid7() for _ in keys], [first[key].at for key in keys])
    current = {key_of(one.key): one for one in map(to_suppression, await connection.fetch(_LOCK, *columns))}
    changed: dict[Key, Suppression] = {}
    for item in evidence:
        key = key_of(item.key)
        placed = place(current[key], item)
        if placed is not None:
            current[key] = changed[key] = placed
    await put_all(connection, list(changed.values()))
    return list(changed.values())


async def put_all(connection: Any, items: Sequence[Suppression]) -> None:
    """Writes suppressions whose rows are locked."""
    rows = [
        (
            item.id,
            item.reason,
            item.active,
            item.version,
            item.changed_at,
            item.lifted_at,
            item.bounce_id,
            item.message,
            item.recipient,
            item.actor,
            item.note,
        )
        for item in items
    ]
    if rows:
        await connection.execute(_PUT, *(list(column) for column in zip(*rows, strict=True)))


async def locked(connection: Any, key: SuppressionKey) -> Suppression:
    """The suppression of a key that has one."""
    rows = await connection.fetch(_LOCK, *([value] for value in key_of(key)))
    return to_suppression(rows[0])


def to_suppression(row: Any) -> Suppression:
    key = SuppressionKey(row["tenant"], Mode(row["mode"]), row["address_hash"], Scope(row["scope"]))
    return Suppression(
        id=row["id"],
        key=key,
        reason=Reason(row["reason"]),
        active=row["active"],
        version=row["version"],
        changed_at=row["changed_at"],
        actor=row["actor"],
        lifted_at=row["lifted_at"],
        bounce_id=row["bounce_id"],
        message=row["message"],
        recipient=row["recipient"],
        note=row["note"],
    )
