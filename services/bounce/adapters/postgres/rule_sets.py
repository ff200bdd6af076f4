"""Rule sets as published."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from libs.auth import Principal
from libs.contracts.audit import ActionRecorded
from libs.errors import Conflict
from libs.messaging.outbox import Outgoing, append
from libs.storage.database import Database
from services.bounce.domain.rules.entries import Published, State
from services.bounce.domain.rules.rule import Layer
from services.bounce.ports.rules import RuleSetRecord

_NEWEST = "select * from rule_set where number > $1 order by number desc limit 1"
_GET = "select * from rule_set where number = $1"
_PAGE = "select * from rule_set where number < $1 order by number desc limit $2"
_ADD = """
insert into rule_set (number, digest, rules, emergency, restores, author, note, published_at, regression,
                      undoes)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) on conflict (number) do nothing returning number
"""
_DIGESTS = "select digest from rule_set_digest where number = $1 order by since"
_NOTE_DIGEST = "insert into rule_set_digest (number, digest, since) values ($1, $2, $3) on conflict do nothing"


@dataclass(frozen=True, slots=True)
class PostgresRuleSets:
    database: Database

    async def newest(self, above: int = -1) -> RuleSetRecord | None:
        async with self.database.acquire() as connection:
            row = await connection.fetchrow(_NEWEST, above)
        return _record(row) if row else None

    async def get(self, number: int) -> RuleSetRecord | None:
        async with self.database.acquire() as connection:
            row = await connection.fetchrow(_GET, number)
        return _record(row) if row else None

    async def page(self, below: int, limit: int) -> list[RuleSetRecord]:
        async with self.database.acquire() as connection:
            return [_record(row) for row in await connection.fetch(_PAGE, below, limit)]

    async def add(self, made: RuleSetRecord, action: ActionRecorded, who: Principal) -> None:
        values = (
            made.number,
            made.digest,
            [_kept(rule) for rule in made.rules],
            made.emergency,
            made.restores,
            made.author,
            made.note,
            made.published_at,
            dict(made.regression),
            made.undoes,
        )
        async with self.database.transaction() as connection:
            if await connection.fetchval(_ADD, *values) is None:
                raise Conflict(f"Somebody else published rule set {made.number} meanwhile; review it, then try again.")
            await connection.execute(_NOTE_DIGEST, made.number, made.digest, made.published_at)
            await append(connection, [Outgoing(action, str(made.number), who.tenant, who.mode, source="bounce")])

    async def digests(self, number: int) -> list[str]:
        async with self.database.acquire() as connection:
            return [row["digest"] for row in await connection.fetch(_DIGESTS, number)]

    async def note_digest(self, number: int, digest: str, at: datetime) -> None:
        async with self.database.acquire() as connection:
            await connection.execute(_NOTE_DIGEST, number, digest, at)


def _kept(rule: Published) -> dict[str, Any]:
    return {
        "id": rule.id,
        "layer": int(rule.layer),
        "state": int(rule.state),
        "version": rule.version,
        "document": dict(rule.document),
    }


def _record(row: Any) -> RuleSetRecord:
    rules = [
        Published(r["id"], Layer(r["layer"]), State(r["state"]), r["version"], r["document"]) for r in row["rules"]
    ]
    return RuleSetRecord(
        number=row["number"],
        digest=row["digest"],
        rules=tuple(rules),
        emergency=row["emergency"],
        restores=row["restores"],
        author=row["author"],
        note=row["note"],
        published_at=row["published_at"],
        regression=row["regression"],
        undoes=row["undoes"],
    )
