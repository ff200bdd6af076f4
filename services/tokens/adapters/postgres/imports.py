"""Rows of `import` and its refusals."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.storage.database import Database
from services.tokens.domain.imports import Account, Refusal
from services.tokens.domain.recipients import Realm

# an import whose process died says "running" for ever; an interrupted one may be sent again under its id
_START = """
insert into import as i (id, tenant, mode, state, format, actor, started_at, changed_at)
values ($1, $2, $3, 'running', $4, $5, $6, now())
on conflict (id) do update set state = 'running', format = excluded.format, actor = excluded.actor,
  started_at = excluded.started_at, changed_at = now(), ended_at = null, bytes = 0, rows = 0, created = 0, changed = 0,
  unchanged = 0, refused = 0, ignored_columns = '{}', problem = null
where i.tenant = excluded.tenant and i.mode = excluded.mode
  and (i.state in ('failed', 'interrupted', 'cancelled')
       or (i.state = 'running' and i.changed_at < now() - interval '60 seconds'))
returning true
"""
_FORGET_REFUSALS = "delete from import_refusal where import_id = $1"
_ADVANCE = """
update import set changed_at = now(), bytes = $2, rows = $3, created = $4, changed = $5, unchanged = $6, refused = $7,
  ignored_columns = $8
where id = $1 and state = 'running' returning true
"""
_END = """
update import set state = $4, changed_at = now(), ended_at = now(), problem = $5, bytes = $6, rows = $7, created = $8,
  changed = $9, unchanged = $10, refused = $11, ignored_columns = $12
where id = $1 and tenant = $2 and mode = $3 and state = 'running' returning true
"""
_CANCEL = """
update import set state = 'cancelled', changed_at = now(), ended_at = now(), problem = 'Cancelled on request.'
where id = $1 and tenant = $2 and mode = $3 and state = 'running' returning true
"""
_COLUMNS = """
id, case when state = 'running' and changed_at < now() - interval '60 seconds' then 'interrupted' else state end
as state, format, actor, started_at, changed_at, ended_at, bytes, rows, created, changed, unchanged,
refused, ignored_columns, problem
"""
_GET = f"select {_COLUMNS} from import where id = $1 and tenant = $2 and mode = $3"  # noqa: S608 - our own constant
_LIST = f"""
select {_COLUMNS} from import where tenant = $1 and mode = $2
  and ($3::timestamptz is null or (started_at, id) < ($3, $4::uuid)) order by started_at desc, id desc limit $5
"""  # noqa: S608
_REFUSE = """
insert into import_refusal (import_id, row, ordinal, line, field, reason)
select $1, row, ordinal, line, field, reason
from unnest($2::int[], $3::smallint[], $4::int[], $5::text[], $6::text[]) as n (row, ordinal, line, field, reason)
order by row, ordinal on conflict do nothing
"""
_REFUSALS = """
select row, ordinal, line, field, reason from import_refusal
where import_id = $1 and (row, ordinal) > ($2, $3::int) order by row, ordinal limit $4
"""


async def advance(connection: Any, id_: UUID, account: Account) -> bool:
    """Write the counters, in the transaction of the rows; return False if the import no longer runs."""
    return bool(await connection.fetchval(_ADVANCE, id_, *_counters(account)))


async def end(connection: Any, realm: Realm, id_: UUID, state: str, account: Account) -> bool:
    """End the import; return False if it no longer runs."""
    counters = _counters(account)
    return bool(await connection.fetchval(_END, id_, realm.tenant, realm.mode, state, account.problem, *counters))


async def cancel(connection: Any, realm: Realm, id_: UUID) -> bool:
    """Cancel the import; return False if it no longer runs."""
    return bool(await connection.fetchval(_CANCEL, id_, realm.tenant, realm.mode))


async def keep_refusals(connection: Any, id_: UUID, refusals: Sequence[Refusal]) -> None:
    """Store refused fields for the report."""
    seen: dict[int, int] = {}
    ordinals = []
    for refusal in refusals:
        ordinals.append(seen.get(refusal.row, 0))
        seen[refusal.row] = ordinals[-1] + 1
    await connection.execute(
        _REFUSE,
        id_,
        [refusal.row for refusal in refusals],
        ordinals,
        [refusal.line for refusal in refusals],
        [refusal.field for refusal in refusals],
        [refusal.reason for refusal in refusals],
    )


class PostgresImports:
    """Imports on the service's pool."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def start(self, realm: Realm, id_: UUID, source: tuple[str, str], now: datetime) -> bool:
        async with self._database.transaction() as connection:
            made = await connection.fetchval(_START, id_, realm.tenant, realm.mode, *source, now)
            if made:
                await connection.execute(_FORGET_REFUSALS, id_)
            return bool(made)

    async def get(self, realm: Realm, id_: UUID) -> Any:
        async with self._database.acquire() as connection:
            return await connection.fetchrow(_GET, id_, realm.tenant, realm.mode)

    async def page(self, realm: Realm, limit: int, after: tuple[datetime, UUID] | None) -> list[Any]:
        at, id_ = after or (None, None)
        async with self._database.acquire() as connection:
            rows: list[Any] = await connection.fetch(_LIST, realm.tenant, realm.mode, at, id_, limit)
        return rows

    async def refusals(self, id_: UUID, limit: int, after: tuple[int, int]) -> list[Any]:
        async with self._database.acquire() as connection:
            rows: list[Any] = await connection.fetch(_REFUSALS, id_, *after, limit)
        return rows


def _counters(account: Account) -> tuple[Any, ...]:
    return (
        account.bytes,
        account.rows,
        account.created,
        account.changed,
        account.unchanged,
        account.refused,
        list(account.ignored_columns),
    )
