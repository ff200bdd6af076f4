"""Which recipients were erased, in a table of the service's schema, so that late rows are stored nameless."""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from libs.contracts.erasing import Owner
from libs.contracts.outcomes import Mode
from libs.storage.arrays import columns
from libs.storage.database import Database

Erased = tuple[int, Mode, str, datetime]  # and when

_ANY = "select exists (select from erased where at >= coalesce($1::timestamptz, '-infinity'))"
_FIND = """
select e.tenant, e.mode, e.recipient_key, e.at
from unnest($1::smallint[], $2::smallint[], $3::bytea[]) as wanted (tenant, mode, recipient_key)
join erased e using (tenant, mode, recipient_key)
"""
# A writer reads `erased` first and holds that lock until it commits. Writers that began before us have therefore ended,
# and our next statement sees their rows; writers that begin after us see our mark.
_ALONE = "lock table erased in access exclusive mode"
_ADD = """
insert into erased (tenant, mode, recipient_key, at)
select * from unnest($1::smallint[], $2::smallint[], $3::bytea[], $4::timestamptz[])
on conflict (tenant, mode, recipient_key) do update set at = greatest(erased.at, excluded.at)
"""


async def erased_among(
    connection: Any, owners: Iterable[Owner], since: datetime | None = None
) -> dict[Owner, datetime]:
    """Return which of these were erased, and when. Almost always none: one query finds that out.

    Must come before the transaction's writes; see `remember`. `since`: older erasures do not matter.
    """
    if not await connection.fetchval(_ANY, since):
        return {}
    wanted = set(owners)
    by_key = {(tenant, mode, _key(recipient)): (tenant, mode, recipient) for tenant, mode, recipient in wanted}
    rows = await connection.fetch(_FIND, *columns(sorted(by_key)))
    return {by_key[row["tenant"], row["mode"], row["recipient_key"]]: row["at"] for row in rows}


async def remember(connection: Any, erased: Sequence[Erased]) -> None:
    """Record the erasures, in any order. Must be the first statement of its transaction; the wipe follows."""
    await connection.execute(_ALONE)
    latest: dict[tuple[int, Mode, bytes], datetime] = {}
    for tenant, mode, recipient, at in erased:
        key = tenant, mode, _key(recipient)
        latest[key] = max(at, latest.get(key, at))
    await connection.execute(_ADD, *columns(sorted((*key, at) for key, at in latest.items())))


async def mark(database: Database, erased: Sequence[Erased]) -> None:
    """Record the erasures in a transaction of their own, before a wipe that takes long: the lock holds up writers."""
    async with database.transaction() as connection:
        await remember(connection, erased)


def _key(recipient: str) -> bytes:
    return hashlib.sha256(recipient.encode()).digest()
