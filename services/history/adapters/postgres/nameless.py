"""Erasure: rows lose the name, and what comes late comes in without it."""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from libs.contracts.outcomes import Mode
from services.history.ports import Erased

Owner = tuple[int, int, str]

_ANY = "select exists (select from erased)"
_FIND = """
select e.tenant, e.mode, e.recipient_key, e.at
from unnest($1::smallint[], $2::smallint[], $3::bytea[]) as wanted (tenant, mode, recipient_key)
join erased e using (tenant, mode, recipient_key)
"""
# Whoever writes reads `erased` first, and so holds its lock to the end. Who began before us has ended now, and our next
# statement sees what he wrote; who begins after us sees our mark.
_ALONE = "lock table erased in access exclusive mode"
_ADD = """
insert into erased (tenant, mode, recipient_key, at)
select * from unnest($1::smallint[], $2::smallint[], $3::bytea[], $4::timestamptz[])
on conflict (tenant, mode, recipient_key) do update set at = greatest(erased.at, excluded.at)
"""


async def erased_among(connection: Any, owners: Iterable[Owner]) -> dict[Owner, datetime]:
    """Who of these was erased, and when. Almost always nobody: then one look says so."""
    wanted = set(owners)
    if not wanted or not await connection.fetchval(_ANY):
        return {}
    by_key = {(tenant, mode, _key(recipient)): (tenant, mode, recipient) for tenant, mode, recipient in wanted}
    rows = await connection.fetch(_FIND, *columns(sorted(by_key)))
    return {by_key[row["tenant"], row["mode"], row["recipient_key"]]: row["at"] for row in rows}


async def remember(connection: Any, erased: Sequence[Erased]) -> None:
    """Notes the erasures, whichever order they come in. First of its transaction: then come the names."""
    await connection.execute(_ALONE)
    latest: dict[tuple[int, Mode, bytes], datetime] = {}
    for tenant, mode, recipient, at in erased:
        key = tenant, mode, _key(recipient)
        latest[key] = max(at, latest.get(key, at))
    await connection.execute(_ADD, *columns(sorted((*key, at) for key, at in latest.items())))


def columns(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Rows as the columns that unnest takes."""
    return [list(column) for column in zip(*rows, strict=True)]


def by_kind(rows: Sequence[tuple[Any, ...]], own: int) -> list[list[Any]]:
    """Rows as columns: the first `own` fields of each, its kind's place (from 1), and what makes the kinds.

    Most of a batch have most in common: that is handed over once, and looked up by its place.
    """
    kinds: dict[tuple[Any, ...], int] = {}
    places = [kinds.setdefault(row[own:], len(kinds) + 1) for row in rows]
    return [*columns([row[:own] for row in rows]), places, *columns(list(kinds))]


def _key(recipient: str) -> bytes:
    return hashlib.sha256(recipient.encode()).digest()
