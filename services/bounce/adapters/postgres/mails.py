"""Mails between their 250 and their outcome."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.contracts.outcomes import Mode
from libs.ids import uuid7
from libs.storage.database import Database
from services.bounce.domain.mime import MAX_BYTES
from services.bounce.ports import Closing, Mail, NewMail

MAX_BATCH_BYTES = 16 * 1024 * 1024
STATES = ("waiting", "read", "backscatter")

_KEEP = """
insert into mail (id, digest, tenant, mode, recipient, received_at, size, due_at, raw)
values ($1, $2, $3, $4, $5, $6, $7, now(), $8) on conflict (digest) do nothing returning *
"""
_BY_DIGEST = "select * from mail where digest = $1"
# the lease is a due time ahead: a reader that dies gives its mails back by itself; what a batch has no room for is
# locked and left, and the first one is always taken
_LEASE = """
with due as (
  select id, size, due_at from mail where state = 0 and due_at <= now() order by due_at limit $1 for update skip locked
), sized as (
  select id, sum(least(size, $3)) over (order by due_at, id) - least(size, $3) as before from due
)
update mail set due_at = now() + $2 * interval '1 second', attempts = attempts + 1
where id in (select id from sized where before < $4)
returning id, recipient, received_at, state, outcome, message, attempts, tenant, mode, substring(raw for $3) as raw
"""
_CLOSE = """
update mail set state = closing.state, outcome = closing.outcome, message = closing.message
from unnest($1::uuid[], $2::smallint[], $3::text[], $4::text[]) as closing (id, state, outcome, message)
where mail.id = closing.id and mail.state = 0
"""
_POSTPONE = "update mail set due_at = now() + $2 * interval '1 second' where id = $1 and state = 0"
_COUNT = """
insert into backscatter (day, why, count, last_at, last_recipient, last_peer) values ($1, $2, 1, $3, $4, $5)
on conflict (day, why) do update set count = backscatter.count + 1, last_at = excluded.last_at,
  last_recipient = excluded.last_recipient, last_peer = excluded.last_peer
"""
_DROP_RAW = "update mail set raw = null where received_at < $1 and raw is not null and state <> 0"


@dataclass(frozen=True, slots=True)
class PostgresMails:
    database: Database

    async def keep(self, mail: NewMail) -> Mail:
        """Commits the bytes; gives the mail that is already there where it came before."""
        tenant, mode = mail.owner or (None, None)
        owner = f"{tenant}/{int(mode)}" if mode else ""
        digest = hashlib.sha256(b"\0".join((owner.encode(), mail.recipient.encode(), mail.raw))).digest()
        async with self.database.transaction() as connection:
            row = await connection.fetchrow(
                _KEEP, uuid7(), digest, tenant, mode, mail.recipient, mail.at, len(mail.raw), mail.raw
            )
            return to_mail(row or await connection.fetchrow(_BY_DIGEST, digest))

    async def lease(self, limit: int, seconds: float) -> list[Mail]:
        """Waiting mails that are due, invisible to other readers for `seconds`; of each what is ever looked at.

        At most `limit`, and fewer where they are large: a batch is held in memory.
        """
        async with self.database.acquire() as connection:
            rows = await connection.fetch(_LEASE, limit, seconds, MAX_BYTES, MAX_BATCH_BYTES)
        return [to_mail(row) for row in rows]

    async def close(self, closing: Sequence[Closing]) -> None:
        rows = sorted((one.mail, STATES.index(one.state), one.outcome, one.message) for one in closing)
        if rows:
            async with self.database.acquire() as connection:
                await connection.execute(_CLOSE, *(list(column) for column in zip(*rows, strict=True)))

    async def postpone(self, mail: UUID, seconds: float) -> None:
        async with self.database.acquire() as connection:
            await connection.execute(_POSTPONE, mail, seconds)

    async def count_backscatter(self, why: str, recipient: str, peer: str, at: datetime) -> None:
        async with self.database.acquire() as connection:
            await connection.execute(_COUNT, at.date(), why, at, recipient[:320], peer)

    async def drop_raw_before(self, moment: datetime) -> int:
        async with self.database.acquire() as connection:
            tag = await connection.execute(_DROP_RAW, moment)
        return int(tag.rpartition(" ")[2])


def to_mail(row: Any) -> Mail:
    return Mail(
        id=row["id"],
        recipient=row["recipient"],
        received_at=row["received_at"],
        state=STATES[row["state"]],
        outcome=row["outcome"],
        message=row["message"],
        attempts=row["attempts"],
        owner=(row["tenant"], Mode(row["mode"])) if row["tenant"] is not None else None,
        raw=row["raw"],
    )
