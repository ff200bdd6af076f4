"""Replays between their 202 and their result."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.contracts.outcomes import Mode, Scope
from libs.errors import Conflict
from libs.storage.arrays import columns
from libs.storage.database import Database
from services.bounce.domain.replays import Change
from services.bounce.ports.replays import Asked, ChangeQuery, ReplayRecord

STATES = ("waiting", "running", "done", "cancelled", "failed")
_LEASE_SECONDS = 120.0
_OPEN = "select count(*) from replay where tenant = $1 and mode = $2 and state < 2"
_ADD = """
insert into replay (id, tenant, mode, asked, actor, created_at) values ($1, $2, $3, $4, $5, $6)
"""
_GET = "select * from replay where tenant = $1 and mode = $2 and id = $3"
_PAGE = """
select * from replay where tenant = $1 and mode = $2 and ($3::timestamptz is null or (created_at, id) < ($3, $4::uuid))
order by created_at desc, id desc limit $5
"""
_CHANGES = """
select c.*, b.recipient, b.at, b.provider, b.text, b.reply_code, b.enhanced_code from replay_change c
left join bounce b on b.id = c.bounce_id
where c.replay_id = $1 and c.ordinal > $2 and ($3::boolean is null or c.appears = $3) order by c.ordinal limit $4
"""
_CANCEL = """
update replay set state = 3, ended_at = $4 where tenant = $1 and mode = $2 and id = $3 and state < 2
"""
# the lease is a later due time: a runner that dies gives its replay back without further action
_LEASE = """
update replay set state = 1, started_at = coalesce(started_at, $1), attempts = attempts + 1, facts_done = 0,
  due_at = now() + $2 * interval '1 second'
where id = (select id from replay where state < 2 and due_at <= now() order by due_at limit 1 for update skip locked)
returning *
"""
_FORGET_CHANGES = "delete from replay_change where replay_id = $1"
_GIVE_BACK = "update replay set due_at = now() where id = $1 and state = 1 and attempts = $2"
_ADVANCE = """
update replay set facts_done = $3, facts_total = $4, due_at = now() + $5 * interval '1 second'
where id = $1 and state = 1 and attempts = $2 returning true
"""
_ADD_CHANGES = """
insert into replay_change (replay_id, ordinal, appears, scope, address_hash, bounce_id, was, becomes)
select * from unnest($1::uuid[], $2::bigint[], $3::boolean[], $4::smallint[], $5::bytea[], $6::uuid[], $7::jsonb[],
  $8::jsonb[])
"""
_CONCLUDE = """
update replay set state = $3, ended_at = $4, result = $5, problem = $6 where id = $1 and state = 1 and attempts = $2
"""
_FORGET = "delete from replay where id in (select id from replay where state > 1 and ended_at < $1 limit 10)"


@dataclass(frozen=True, slots=True)
class PostgresReplays:
    database: Database

    async def add(self, replay: ReplayRecord, most_open: int) -> None:
        """Raises Conflict if so many are open already."""
        realm = (replay.tenant, int(replay.mode))
        asked = asdict(replay.asked)
        asked |= {name: asked[name].isoformat() for name in ("since", "until")}
        async with self.database.transaction() as connection:
            if await connection.fetchval(_OPEN, *realm) >= most_open:
                raise Conflict(f"{most_open} replays are open already; wait for one of them, or cancel it.")
            await connection.execute(_ADD, replay.id, *realm, asked, replay.actor, replay.created_at)

    async def get(self, tenant: int, mode: Mode, id: UUID) -> ReplayRecord | None:
        async with self.database.acquire() as connection:
            row = await connection.fetchrow(_GET, tenant, int(mode), id)
        return _record(row) if row else None

    async def page(
        self, realm: tuple[int, Mode], after: tuple[datetime, UUID] | None, limit: int
    ) -> list[ReplayRecord]:
        """Newest first."""
        async with self.database.acquire() as connection:
            rows = await connection.fetch(_PAGE, realm[0], int(realm[1]), *(after or (None, None)), limit)
        return [_record(row) for row in rows]

    async def changes(self, wanted: ChangeQuery) -> list[Mapping[str, Any]]:
        """Return changes in the order in which they were found, each with the server's words."""
        async with self.database.acquire() as connection:
            rows = await connection.fetch(_CHANGES, wanted.replay, wanted.after, wanted.appears, wanted.limit)
        return [dict(row) | {"scope": Scope(row["scope"]).word} for row in rows]

    async def cancel(self, tenant: int, mode: Mode, id: UUID, at: datetime) -> None:
        async with self.database.acquire() as connection:
            await connection.execute(_CANCEL, tenant, int(mode), id, at)

    async def lease(self, at: datetime) -> ReplayRecord | None:
        async with self.database.transaction() as connection:
            row = await connection.fetchrow(_LEASE, at, _LEASE_SECONDS)
            if row is not None:
                await connection.execute(_FORGET_CHANGES, row["id"])
        return _record(row) if row else None

    async def give_back(self, replay: ReplayRecord) -> None:
        async with self.database.acquire() as connection:
            await connection.execute(_GIVE_BACK, replay.id, replay.turn)

    async def advance(self, replay: ReplayRecord, done: int, total: int, changes: Sequence[tuple[int, Change]]) -> bool:
        async with self.database.transaction() as connection:
            if not await connection.fetchval(_ADVANCE, replay.id, replay.turn, done, total, _LEASE_SECONDS):
                return False
            if changes:
                rows = [
                    (replay.id, number, c.appears, int(c.scope), c.address_hash, c.bounce, dict(c.was), dict(c.becomes))
                    for number, c in changes
                ]
                await connection.execute(_ADD_CHANGES, *columns(rows))
        return True

    async def conclude(
        self, replay: ReplayRecord, at: datetime, result: Mapping[str, Any] | None, problem: str | None
    ) -> None:
        state = STATES.index("done" if result is not None else "failed")
        async with self.database.acquire() as connection:
            await connection.execute(_CONCLUDE, replay.id, replay.turn, state, at, result, problem)

    async def forget_before(self, moment: datetime) -> int:
        """Delete a batch of replays that ended before, with their changes; return how many."""
        async with self.database.acquire() as connection:
            tag = await connection.execute(_FORGET, moment)
        return int(tag.rpartition(" ")[2])


def _record(row: Any) -> ReplayRecord:
    asked = dict(row["asked"])
    asked |= {name: datetime.fromisoformat(asked[name]) for name in ("since", "until")}
    return ReplayRecord(
        row["id"],
        row["tenant"],
        Mode(row["mode"]),
        Asked(**asked),
        row["actor"],
        row["created_at"],
        STATES[row["state"]],
        row["attempts"],
        row["started_at"],
        row["ended_at"],
        row["facts_done"],
        row["facts_total"],
        row["result"],
        row["problem"],
    )
