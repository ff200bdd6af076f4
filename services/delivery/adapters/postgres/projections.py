"""Projections and erasure: other services' events, applied however late, shuffled or often they come."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from libs.keyring import Keyring
from services.delivery.domain.bodies import Body, mark
from services.delivery.domain.steering import KnownRelease, Suppression

# only greater versions; a lifted suppression stays as a tombstone, or an older event would revive it
_SUPPRESS = """
insert into suppression as s (tenant, mode, address_hash, scope, reason, version, active)
select * from unnest($1::int[], $2::int[], $3::bytea[], $4::int[], $5::int[], $6::bigint[], $7::bool[])
on conflict (tenant, mode, address_hash, scope) do update
  set reason = excluded.reason, version = excluded.version, active = excluded.active
  where excluded.version > s.version
"""
# a release is retired for good: a late "published" does not bring it back
_KNOW = """
insert into release as r (id, tenant, mode, communication, version, digest, active)
select * from unnest($1::uuid[], $2::int[], $3::int[], $4::text[], $5::int[], $6::text[], $7::bool[])
on conflict (id) do update set active = r.active and excluded.active
"""
_MARKED = """
select id, body, marks from request
where tenant = $1 and mode = $2 and body is not null and position($3::bytea in marks) > 0 order by id
"""
_WIPE = "update request set body = $2, marks = $3 where id = $1"
_NAMELESS = (
    """update message m set recipient_id = null, detail = null from unnest($1::uuid[]) as k (notification_id)
       where m.notification_id = k.notification_id""",
    """update receipt r set detail = null from unnest($1::uuid[]) as k (notification_id)
       where r.notification_id = k.notification_id""",
)


async def suppress(connection: Any, changes: Sequence[Suppression]) -> None:
    """Apply the newest version of each key."""
    newest: dict[tuple[int, int, bytes, int], Suppression] = {}
    for change in sorted(changes, key=lambda change: change.version):
        newest[change.tenant, change.mode, change.address_hash, change.scope] = change
    rows = [newest[key] for key in sorted(newest)]
    await connection.execute(
        _SUPPRESS,
        [row.tenant for row in rows],
        [row.mode for row in rows],
        [row.address_hash for row in rows],
        [row.scope for row in rows],
        [row.reason for row in rows],
        [row.version for row in rows],
        [row.active for row in rows],
    )


async def know(connection: Any, releases: Sequence[KnownRelease]) -> None:
    """Record releases that exist; inactive wins over active, in whichever order they come."""
    merged: dict[UUID, KnownRelease] = {}
    for release in releases:
        before = merged.get(release.id)
        merged[release.id] = before if before is not None and not before.active else release
    rows = [merged[id_] for id_ in sorted(merged)]
    await connection.execute(
        _KNOW,
        [row.id for row in rows],
        [row.tenant for row in rows],
        [row.mode for row in rows],
        [row.communication for row in rows],
        [row.version for row in rows],
        [row.digest for row in rows],
        [row.active for row in rows],
    )


async def erase(connection: Any, keyring: Keyring, whom: tuple[int, int, str]) -> int:
    """Wipe a recipient's slots from every request, and the names from its messages; return the number of slots.

    Messages are locked before requests, as everywhere in delivery: the requests are read again once that is done."""
    tenant, mode, recipient = whom
    sign = mark(keyring, tenant, mode, recipient)
    named: list[UUID] = []
    for id_, raw, marks in await connection.fetch(_MARKED, tenant, mode, sign):
        body = Body(keyring, id_, raw)
        named += [body.notification_id(n) for n in _slots(body, marks, sign, recipient)]
    if named:
        for statement in _NAMELESS:
            await connection.execute(statement, sorted(named))
    erased = 0
    for id_, raw, marks in await connection.fetch(f"{_MARKED} for update", tenant, mode, sign):
        body = Body(keyring, id_, raw)
        if ordinals := _slots(body, marks, sign, recipient):
            blank = b"".join(bytes(8) if n in ordinals else marks[8 * n : 8 * n + 8] for n in range(len(body)))
            await connection.execute(_WIPE, id_, body.without(ordinals), blank)
            erased += len(ordinals)
    return erased


def _slots(body: Body, marks: bytes, sign: bytes, recipient: str) -> list[int]:
    """Return the recipient's ordinals; two recipients may share a mark."""
    marked = [n for n in range(len(body)) if marks[8 * n : 8 * n + 8] == sign]
    return [n for n in marked if (slot := body.slot(n)) is not None and slot.recipient == recipient]
