"""Operations on dead letters: find them by topic and reason, replay them once the cause is fixed, or discard them.

Events without a trustworthy tenant are stored under tenant 0. Tenant 1's live keys, which operate the installation
(docs/adr/0070), see them along with their own and may discard them. They cannot be replayed: there is no event in
them.

A service stores the events that its subscribers failed to process (see `owed`) beside its outbox. A replay makes the
event due for the subscriber that failed, and for no other; the relay delivers it within moments, with a fresh set of
attempts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from libs.auth import Principal
from libs.contracts.audit import ActionRecorded
from libs.contracts.outcomes import Mode
from libs.errors import Conflict
from libs.ids import OPERATOR
from libs.messaging.brought import events_of
from libs.messaging.outbox import Outgoing, append
from libs.messaging.owed import EVENT_COLUMNS
from libs.storage.database import Database

MOST_AT_ONCE = 1_000

_COLUMNS = (
    "id, event_id, type, source, subscriber, subject, partition_key, payload, traceparent, created_at, dead_at,"
    " attempts, reason, tenant"
)
NOBODYS = 0  # the tenant of unreadable events
_FITTING = """
from dead_letter
where (tenant = $1 and mode = $2 or tenant = any($3::smallint[])) and ($4::uuid[] is null or id = any($4))
  and ($5::text is null or type = $5) and ($6::text is null or subscriber = $6)
  and ($7::text is null or position(lower($7) in lower(reason)) > 0)
  and ($8::timestamptz is null or dead_at <= $8)
"""
_FIND = f"""
select {_COLUMNS} {_FITTING} and ($9::timestamptz is null or (dead_at, id) < ($9, $10::uuid))
order by dead_at desc, id desc limit $11
"""
_GROUPS = f"""
select type, subscriber, left(reason, 200) as reason, count(*) as count, min(dead_at) as oldest, max(dead_at) as newest
{_FITTING} group by 1, 2, 3 order by count(*) desc, 1, 2, 3 limit $9
"""
_TAKE = f"""
delete from dead_letter where id = any(array(select id {_FITTING} order by dead_at, id limit $9 for update skip locked))
returning {_COLUMNS}, mode, now() as at
"""  # noqa: S608
_UNREADABLE = f"select count(*) {_FITTING} and tenant = {NOBODYS}"
# An event that several subscribers failed to process becomes one row, owed to each of them.
_EVENTS = """
insert into outbox (event_id, type, source, subject, tenant, mode, partition_key, payload, traceparent, created_at,
                    published_at)
select *, now() from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::smallint[], $6::smallint[], $7::text[],
                            $8::bytea[], $9::text[], $10::timestamptz[])
returning id, event_id
"""
_OWE = """
insert into outbox_delivery (outbox_id, subscriber, attempts, due_at, error)
select id, subscriber, 0, now(), error from unnest($1::bigint[], $2::text[], $3::text[]) as o (id, subscriber, error)
"""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that one subscriber failed to process. `payload` is its JSON; `dead_at` is when retrying ended."""

    id: UUID
    event_id: UUID
    type: str
    source: str
    subscriber: str
    subject: str | None
    partition_key: str
    payload: bytes
    traceparent: str | None
    created_at: datetime
    dead_at: datetime
    attempts: int
    reason: str
    tenant: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """A filter for dead letters; each field that is set narrows it. `reason`: words in the reason, case-insensitive."""

    tenant: int
    mode: int
    ids: Sequence[UUID] | None = None
    type: str | None = None
    subscriber: str | None = None
    reason: str | None = None
    until: datetime | None = None  # died at or before this time
    nobodys: bool = True  # include unreadable events, if the tenant operates the installation

    def columns(self) -> tuple[Any, ...]:
        operates = (self.tenant, self.mode) == (OPERATOR, int(Mode.LIVE))
        besides = [NOBODYS] if self.nobodys and operates else []
        return self.tenant, self.mode, besides, self.ids, self.type, self.subscriber, self.reason, self.until


@dataclass(frozen=True, slots=True)
class Done:
    """The letters that an operation took, and when by the database's clock; None if there were none."""

    ids: list[UUID]
    at: datetime | None
    unreadable: int = 0  # matching ones that cannot be replayed


async def find(
    database: Database, wanted: Wanted, before: tuple[datetime, UUID] | None, limit: int
) -> list[DeadLetter]:
    """Return the matching letters, the latest first, after `before` (time and id of the last page's last letter)."""
    async with database.acquire() as connection:
        rows = await connection.fetch(_FIND, *wanted.columns(), *(before or (None, None)), limit)
    return [DeadLetter(**dict(row)) for row in rows]


async def groups(database: Database, wanted: Wanted, limit: int) -> list[dict[str, Any]]:
    """Count them by type, subscriber and reason (its first 200 characters), the largest group first."""
    async with database.acquire() as connection:
        return [dict(row) for row in await connection.fetch(_GROUPS, *wanted.columns(), limit)]


class _Act(NamedTuple):
    principal: Principal
    verb: str
    now: datetime
    note: str | None = None


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """Operations that change them: each is one transaction with its audit entry. `service` publishes it."""

    database: Database
    service: str

    async def replay(self, principal: Principal, wanted: Wanted, limit: int, now: datetime) -> Done:
        """Deliver the oldest matching letters to their subscribers again. Raises Conflict if one named by id is
        unreadable."""
        unreadable = await self._unreadable(wanted)
        wanted = replace(wanted, nobodys=False)
        async with self.database.transaction() as connection:
            rows = await connection.fetch(_TAKE, *wanted.columns(), limit)
            if rows:
                await _owe_again(connection, rows)
                await self._record(connection, _Act(principal, "dead-letter.replay", now), rows)
        return replace(_done(rows), unreadable=unreadable)

    async def discard(self, principal: Principal, wanted: Wanted, limit: int, about: tuple[str, datetime]) -> Done:
        """Discard the oldest matching letters. `about`: why, and now. The audit records which they were."""
        note, now = about
        async with self.database.transaction() as connection:
            rows = await connection.fetch(_TAKE, *wanted.columns(), limit)
            await self._record(connection, _Act(principal, "dead-letter.discard", now, note), rows)
        return _done(rows)

    async def _unreadable(self, wanted: Wanted) -> int:
        async with self.database.acquire() as connection:
            found = int(await connection.fetchval(_UNREADABLE, *wanted.columns()))
        if found and wanted.ids is not None:
            raise Conflict(
                f"{found} of these could not be read, so there is no event to replay. Find out who publishes them "
                "on the topic, have the events sent again, and discard these."
            )
        return found

    async def _record(self, connection: Any, act: _Act, rows: Sequence[Any]) -> None:
        principal, verb, now, note = act
        actions = [
            ActionRecorded(
                actor=principal.actor,
                action=verb,
                object=str(row["id"]),
                at=now,
                before={name: str(row[name]) for name in ("event_id", "type", "subscriber", "reason")},
                note=note,
            )
            for row in rows
        ]
        mode = int(principal.mode)
        await append(connection, [Outgoing(a, a.object, principal.tenant, mode, source=self.service) for a in actions])


def _done(rows: Sequence[Any]) -> Done:
    return Done([row["id"] for row in rows], rows[0]["at"] if rows else None)


async def _owe_again(connection: Any, letters: Sequence[Any]) -> None:
    rows = [row for letter in letters for row in events_of(letter)]
    events = {row["event_id"]: row for row in rows}
    columns = zip(*([row[name] for name in EVENT_COLUMNS] for row in events.values()), strict=True)
    ids = {row["event_id"]: row["id"] for row in await connection.fetch(_EVENTS, *columns)}
    # the same subscriber twice: it failed, the event was replayed, and it failed again
    owed = {(ids[row["event_id"]], row["subscriber"]): row["reason"] for row in rows}
    await connection.execute(_OWE, [key[0] for key in owed], [key[1] for key in owed], list(owed.values()))
