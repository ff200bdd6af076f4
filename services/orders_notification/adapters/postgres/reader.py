"""Reads events: by id (which names its partition), by subject, by recipient."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from libs import exact_json
from libs.contracts.outcomes import Mode
from libs.storage.database import Database
from services.orders_notification.ports.events import EventFilter, EventRow

_COLUMNS = """
e.id, e.type, e.source, e.event_id, e.subject, e.recipient, e.client, e.occurred_at, e.time, e.received_at,
e.decided_at, e.requested, (select count(*) from settlement s where s.cause_id = e.id)::int as settled, e.decisions,
e.body, e.extensions, e.traceparent
"""
# a bound in every case: with "is null or" a generic plan of Postgres would start at the newest row
_BEFORE = f"coalesce($3::uuid, '{UUID(int=2**128 - 1)}')"
# Separate statements instead of "is null or", so that each uses its own index.
_ALL = f"""
select {_COLUMNS} from event e
where tenant = $1 and mode = $2 and id < {_BEFORE} and ($4::text is null or type = $4)
order by id desc limit $5
"""  # noqa: S608
_SUBJECT = f"""
select {_COLUMNS} from event e
where tenant = $1 and mode = $2 and id < {_BEFORE} and ($4::text is null or type = $4)
  and subject = $6 and ($7::text is null or recipient = $7 or exists (
    select 1 from event_recipient r where r.tenant = $1 and r.mode = $2 and r.recipient = $7 and r.id = e.id))
order by id desc limit $5
"""  # noqa: S608
_RECIPIENT = f"""
select {_COLUMNS} from event e
where id in (
    (select id from event where tenant = $1 and mode = $2 and recipient = $6 and id < {_BEFORE}
       and ($4::text is null or type = $4) order by id desc limit $5)
    union all
    (select r.id from event_recipient r join event o on o.id = r.id and o.tenant = r.tenant and o.mode = r.mode
     where r.tenant = $1 and r.mode = $2 and r.recipient = $6 and r.id < {_BEFORE}
       and ($4::text is null or o.type = $4) order by r.id desc limit $5))
  and tenant = $1 and mode = $2 and ($4::text is null or type = $4)
order by id desc limit $5
"""  # noqa: S608
_BY_IDS = f"""
select {_COLUMNS} from event e where id = any($3) and tenant = $1 and mode = $2 order by id
"""  # noqa: S608
_BY_SUBJECTS = f"""
select {_COLUMNS} from unnest($3::text[]) as wanted (subject) cross join lateral (
  select * from event where tenant = $1 and mode = $2 and event.subject = wanted.subject order by id desc limit $4) e
"""  # noqa: S608


class PostgresEventReader:
    """Implements ports.events.EventReader."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, tenant: int, mode: Mode, wanted: EventFilter) -> list[EventRow]:
        common = (wanted.before, wanted.type, wanted.limit)
        if wanted.subject is not None:
            return await self._rows(_SUBJECT, tenant, mode, *common, wanted.subject, wanted.recipient)
        if wanted.recipient is not None:
            return await self._rows(_RECIPIENT, tenant, mode, *common, wanted.recipient)
        return await self._rows(_ALL, tenant, mode, *common)

    async def by_ids(self, tenant: int, mode: Mode, ids: Sequence[UUID]) -> list[EventRow]:
        return await self._rows(_BY_IDS, tenant, mode, ids)

    async def by_subjects(self, tenant: int, mode: Mode, subjects: Sequence[str], limit: int) -> list[EventRow]:
        return await self._rows(_BY_SUBJECTS, tenant, mode, subjects, limit)

    async def _rows(self, statement: str, tenant: int, mode: Mode, *values: Any) -> list[EventRow]:
        async with self._database.acquire() as connection:
            rows = await connection.fetch(statement, tenant, int(mode), *values)
        return [_event(row) for row in rows]


def _event(row: Any) -> EventRow:
    values = dict(row)
    values["decisions"] = exact_json.loads(values["decisions"])
    if values["extensions"] is not None:
        values["extensions"] = exact_json.loads(values["extensions"])
    return EventRow(**values)
