"""Rules that people write, with every version of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from libs.auth import Principal
from libs.contracts.audit import ActionRecorded
from libs.errors import PreconditionFailed
from libs.messaging.outbox import Outgoing, append
from libs.storage.database import Database
from services.bounce.domain.rules.entries import TAKING_PART, Entry, State
from services.bounce.domain.rules.rule import Layer
from services.bounce.ports.rules import RuleFilter

_GET = "select * from rule where id = $1"
_PAGE = """
select * from rule where id > $2 and ($3::smallint is null or layer = $3) and ($4::smallint is null or state = $4)
  and ($5::text is null or document->>'category' = $5)
  and ($6::text is null or document->'provider' ? $6 or document->>'provider' = $6)
  and ($7::text is null or strpos(lower(id || ' ' || document::text), lower($7)) > 0)
order by id limit $1
"""
_TAKING_PART = "select * from rule where state = any($1::smallint[]) order by layer, place"
_VERSIONS = """
select version, state, document, changed_by, changed_at from rule_version where rule_id = $1 and version < $2
order by version desc limit $3
"""
_ADD = """
insert into rule (id, layer, state, version, document, author, created_at, changed_by, changed_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict (id) do nothing returning id
"""
_CHANGE = """
update rule set layer = $2, state = $3, version = $4, document = $5, changed_by = $6, changed_at = $7
where id = $1 and version = $4 - 1 returning id
"""
_KEEP = """
insert into rule_version (rule_id, version, state, document, changed_by, changed_at) values ($1, $2, $3, $4, $5, $6)
"""


@dataclass(frozen=True, slots=True)
class PostgresRules:
    database: Database

    async def get(self, id: str) -> Entry | None:
        async with self.database.acquire() as connection:
            row = await connection.fetchrow(_GET, id)
        return _entry(row) if row else None

    async def page(self, wanted: RuleFilter) -> list[Entry]:
        names = (wanted.layer, wanted.state, wanted.category, wanted.provider, wanted.text)
        async with self.database.acquire() as connection:
            rows = await connection.fetch(_PAGE, wanted.limit, wanted.after, *names)
        return [_entry(row) for row in rows]

    async def taking_part(self) -> list[Entry]:
        async with self.database.acquire() as connection:
            rows = await connection.fetch(_TAKING_PART, [int(state) for state in TAKING_PART])
        return [_entry(row) for row in rows]

    async def versions(self, id: str, below: int, limit: int) -> list[Mapping[str, Any]]:
        async with self.database.acquire() as connection:
            return list(await connection.fetch(_VERSIONS, id, below, limit))

    async def put(self, entry: Entry, action: ActionRecorded, who: Principal) -> None:
        place = (entry.id, int(entry.layer), int(entry.state), entry.version, dict(entry.document))
        change = (entry.changed_by, entry.changed_at)
        async with self.database.transaction() as connection:
            if entry.version == 1:
                written = await connection.fetchval(_ADD, *place, entry.author, entry.created_at, *change)
            else:
                written = await connection.fetchval(_CHANGE, *place, *change)
            if written is None:
                raise PreconditionFailed("Somebody else changed this rule in the meantime; read it again.")
            await connection.execute(_KEEP, entry.id, entry.version, int(entry.state), dict(entry.document), *change)
            await append(connection, [Outgoing(action, entry.id, who.tenant, who.mode, source="bounce")])


def _entry(row: Any) -> Entry:
    return Entry(
        id=row["id"],
        layer=Layer(row["layer"]),
        state=State(row["state"]),
        document=row["document"],
        version=row["version"],
        author=row["author"],
        created_at=row["created_at"],
        changed_by=row["changed_by"],
        changed_at=row["changed_at"],
    )
