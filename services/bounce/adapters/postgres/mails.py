"""Mails between their 250 and their outcome."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from libs.contracts.audit import ActionRecorded
from libs.contracts.outcomes import Mode
from libs.ids import first_id_at, uuid7
from libs.messaging.outbox import Outgoing, append
from libs.storage.arrays import columns
from libs.storage.database import Database
from libs.storage.portions import in_portions
from services.bounce.adapters.postgres.closing import close_all
from services.bounce.domain.mime import MAX_BYTES, MAX_KEPT
from services.bounce.ports.mails import STATES, Closing, Kept, Lease, Mail, NewMail, Rereading, Stray

MAX_BATCH_BYTES = 16 * 1024 * 1024

_COLUMNS = "id, recipient, received_at, state, outcome, message, attempts, tenant, mode, again"
# a mail without an owner came by SMTP: it waits beside its row (0014)
_KEEP = """
with added as (
  insert into mail (id, digest, tenant, mode, recipient, received_at, size, due_at, raw, state)
  select id, digest, tenant, mode, recipient, received_at, size, now(), raw, (tenant is null)::int
  from unnest($1::uuid[], $2::bytea[], $3::smallint[], $4::smallint[], $5::text[], $6::timestamptz[], $7::int[],
    $8::bytea[]) as new (id, digest, tenant, mode, recipient, received_at, size, raw)
  on conflict (digest) do nothing returning id, digest, size, tenant
), waiting as (
  insert into mail_waiting (id, size) select id, size from added where tenant is null
)
select digest from added
"""
_KNOWN = f"select digest, {_COLUMNS}, null::bytea as raw from mail where digest = any($1)"  # noqa: S608 - our own statement
# readers choose one at a time, which takes milliseconds; the mails are fetched after that commit
_ONE_CHOOSES = "select pg_advisory_xact_lock(hashtext('bounce mail leases'))"
_RUN_OUT = "delete from mail_lease where until <= now()"
# both kinds share a batch, whichever waits in numbers; mails beyond its size stay, but the first one is always leased
_LEASE = """
with leased as materialized (select unnest(mails) as id from mail_lease), due as (
  (select id, size, row_number() over (order by due_at) as place from mail
    where state = 0 and due_at <= now() and id not in (select id from leased) order by due_at limit $2)
  union all
  (select id, size, row_number() over (order by id) from mail_waiting
    where id not in (select id from leased) order by id limit $2)
  order by place limit $2
), sized as (
  select id, sum(least(size, $4)) over (order by place, id) - least(size, $4) as before from due
)
insert into mail_lease (id, until, mails)
select $1, now() + $3 * interval '1 second', array_agg(id) from sized where before < $5 having count(*) > 0
returning mails
"""
_LEASED = f"select {_COLUMNS}, substring(raw for $2) as raw from mail where id = any($1)"  # noqa: S608 - our own statement
_RELEASE = "delete from mail_lease where id = $1"
_POSTPONE = """
with waits as (select * from unnest($1::uuid[], $2::float8[]) as waits (id, seconds)),
ended as (delete from mail_waiting where id = any($1) returning id)
update mail set state = 0, due_at = now() + waits.seconds * interval '1 second', attempts = attempts + 1
from waits where mail.id = waits.id and (mail.state < 1 or mail.id in (select id from ended))
"""
_COUNT = """
insert into backscatter (day, why, count, last_at, last_recipient, last_peer)
select $1, why, count, $2, recipient, peer
from unnest($3::text[], $4::bigint[], $5::text[], $6::text[]) as new (why, count, recipient, peer)
on conflict (day, why) do update set count = backscatter.count + excluded.count, last_at = excluded.last_at,
  last_recipient = excluded.last_recipient, last_peer = excluded.last_peer
"""
_FITS = """raw is not null and state <> 0 and tenant = $1 and mode = $2 and received_at >= $3 and received_at < $4
  and ($5::text is null or outcome = $5) and ($6::uuid is null or id = $6)"""
_TOLD = """bounce b join mail m on m.id = b.mail_id
  where b.is_outcome and b.tenant = $1 and b.mode = $2 and b.at >= $3 and b.at < $4
  and ($5::text is null or b.category = $5) and ($6::uuid is null or b.mail_id = $6)
  and m.tenant is null and m.raw is not null"""
_READABLE = f"select (select count(*) from mail where {_FITS}) + (select count(*) from {_TOLD})"  # noqa: S608 - our own statement
# from here on the outcome of each is in its row
_AGAIN = f"""
with found as (
  select * from (select id, received_at, outcome, message, tenant, mode from mail
    where {_FITS} and ($7::timestamptz is null or (received_at, id) > ($7, $8::uuid))
    order by received_at, id limit $9 for update skip locked) as written
  union all
  select * from (select m.id, b.at, b.category, b.message, b.tenant, b.mode from {_TOLD}
    and ($7::timestamptz is null or (b.at, b.mail_id) > ($7, $8::uuid))
    order by b.at, b.mail_id limit $9 for update of m skip locked) as told
), first as (select * from found order by received_at, id limit $9)
update mail set state = 0, again = true, attempts = 0, due_at = now(),
  outcome = first.outcome, message = first.message, tenant = first.tenant, mode = first.mode
from first where mail.id = first.id
returning mail.received_at, mail.id
"""  # noqa: S608 - our own statement
# ids carry the time of arrival; a mail that was never read keeps waiting
_READ = "state <> 0 and not exists (select from mail_waiting w where w.id = mail.id)"
_DROP = f"delete from mail where id = any(array(select id from mail where id < $1 and {_READ} order by id limit $2))"  # noqa: S608 - our own statement
_DROP_RAW = f"""
update mail set raw = null where ctid = any(array(
  select ctid from mail where received_at < $1 and raw is not null and {_READ} order by received_at limit $2))
"""  # noqa: S608 - our own statement


@dataclass(frozen=True, slots=True)
class PostgresMails:
    database: Database

    async def keep(self, mails: Sequence[NewMail]) -> list[Kept]:
        """Commit the bytes of all mails at once; a repeat returns the stored one."""
        made: dict[bytes, Mail] = {}
        digests = [_digest(mail) for mail in mails]
        for mail, digest in zip(mails, digests, strict=True):
            made.setdefault(digest, _waiting(mail))
        new = sorted(made)  # a fixed order, whoever else stores the same ones
        rows = [_row(digest, made[digest]) for digest in new]
        async with self.database.acquire() as connection:  # one statement, which commits by itself
            added = {row["digest"] for row in await connection.fetch(_KEEP, *columns(rows))}
            repeated = [digest for digest in new if digest not in added]
            known = await connection.fetch(_KNOWN, repeated) if repeated else []
        for row in known:
            made[row["digest"]] = replace(to_mail(row), raw=made[row["digest"]].raw)
        kept = []
        for digest in digests:
            kept.append(Kept(made[digest], digest in added))
            added.discard(digest)  # repeats within this batch: only the first is new
        return kept

    async def lease(self, limit: int, seconds: float) -> Lease:
        """Lease waiting mails that are due, for `seconds`; each with as much of it as is ever read.

        At most `limit`, and fewer if they are large: a batch is held in memory.
        """
        lease = uuid7()
        async with self.database.transaction() as connection:
            await connection.execute(_ONE_CHOOSES)
            await connection.execute(_RUN_OUT)
            ids = await connection.fetchval(_LEASE, lease, limit, seconds, MAX_BYTES, MAX_BATCH_BYTES)
        if not ids:
            return Lease(lease, [])
        async with self.database.acquire() as connection:
            return Lease(lease, [_leased(*row) for row in await connection.fetch(_LEASED, ids, MAX_BYTES)])

    async def release(self, lease: Lease) -> None:
        async with self.database.acquire() as connection:
            await connection.execute(_RELEASE, lease.id)

    async def close(self, closing: Sequence[Closing]) -> None:
        if closing:
            async with self.database.transaction() as connection:
                await close_all(connection, closing)

    async def postpone(self, waits: Mapping[UUID, float]) -> None:
        ids = sorted(waits)
        async with self.database.acquire() as connection:
            await connection.execute(_POSTPONE, ids, [waits[id_] for id_ in ids])

    async def count_backscatter(self, strays: Sequence[Stray], at: datetime) -> None:
        if not strays:
            return
        last = {stray.why: stray for stray in strays}
        counts = Counter(stray.why for stray in strays)
        rows = [(why, counts[why], last[why].recipient[:320], last[why].peer) for why in sorted(last)]
        async with self.database.acquire() as connection:
            await connection.execute(_COUNT, at.date(), at, *columns(rows))

    async def count_readable(self, wanted: Rereading) -> int:
        async with self.database.acquire() as connection:
            return int(await connection.fetchval(_READABLE, *_arguments(wanted)))

    async def read_again(
        self, wanted: Rereading, limit: int, action: ActionRecorded | None
    ) -> list[tuple[datetime, UUID]]:
        after = wanted.after or (None, None)
        async with self.database.transaction() as connection:
            rows = await connection.fetch(_AGAIN, *_arguments(wanted), *after, limit)
            if rows and action is not None:
                await append(connection, [Outgoing(action, action.object, *wanted.owner, source="bounce")])
        return sorted((row["received_at"], row["id"]) for row in rows)

    async def drop_raw_before(self, moment: datetime) -> int:
        return await in_portions(self.database, _DROP_RAW, moment)

    async def drop_before(self, moment: datetime) -> int:
        return await in_portions(self.database, _DROP, first_id_at(moment))


def _arguments(wanted: Rereading) -> tuple[Any, ...]:
    return wanted.owner[0], int(wanted.owner[1]), wanted.since, wanted.until, wanted.outcome, wanted.id


def _digest(mail: NewMail) -> bytes:
    owner = f"{mail.owner[0]}/{int(mail.owner[1])}" if mail.owner else ""
    return hashlib.sha256(b"\0".join((owner.encode(), mail.recipient.encode(), mail.raw))).digest()


def _waiting(mail: NewMail) -> Mail:
    return Mail(uuid7(), mail.recipient, mail.at, STATES[0], None, None, 0, mail.owner, mail.raw)


def _row(digest: bytes, mail: Mail) -> tuple[Any, ...]:
    tenant, mode = mail.owner or (None, None)
    raw = mail.raw or b""
    return mail.id, digest, tenant, mode, mail.recipient, mail.received_at, len(raw), raw[:MAX_KEPT]


def _leased(*row: Any) -> Mail:
    """Build one from the columns of `_LEASED`, by place: a batch has two thousand."""
    id_, recipient, received_at, _, outcome, message, attempts, tenant, mode, again, raw = row
    owner = (tenant, Mode(mode)) if tenant is not None else None
    return Mail(id_, recipient, received_at, STATES[0], outcome, message, attempts, owner, raw, again)


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
        again=row["again"],
    )
