"""Mails between their 250 and their outcome."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from libs.contracts.erasing import Owner
from libs.contracts.outcomes import Mode
from libs.ids import first_id_at, parse_message_id, time_of, uuid7
from libs.storage.arrays import columns
from libs.storage.database import Database
from libs.storage.erasures import erased_among
from libs.storage.portions import in_portions
from services.bounce.domain.mime import MAX_BYTES, MAX_KEPT
from services.bounce.ports.mails import STATES, Closing, Kept, Lease, Mail, NewMail, Rereading, Stray

MAX_BATCH_BYTES = 16 * 1024 * 1024

_COLUMNS = "id, recipient, received_at, state, outcome, message, attempts, tenant, mode, again"
_KEEP = """
insert into mail (id, digest, tenant, mode, recipient, received_at, size, due_at, raw)
select id, digest, tenant, mode, recipient, received_at, size, now(), raw
from unnest($1::uuid[], $2::bytea[], $3::smallint[], $4::smallint[], $5::text[], $6::timestamptz[], $7::int[],
  $8::bytea[]) as new (id, digest, tenant, mode, recipient, received_at, size, raw)
on conflict (digest) do nothing returning digest
"""
_KNOWN = f"select digest, {_COLUMNS}, null::bytea as raw from mail where digest = any($1)"  # noqa: S608 - our own statement
# readers choose one at a time, which takes milliseconds; the mails are fetched after that commit
_ONE_CHOOSES = "select pg_advisory_xact_lock(hashtext('bounce mail leases'))"
_RUN_OUT = "delete from mail_lease where until <= now()"
# mails beyond the batch's size stay, but the first one is always leased
_LEASE = """
with due as (
  select id, size, due_at from mail
  where state = 0 and due_at <= now() and id not in (select unnest(mails) from mail_lease)
  order by due_at limit $2
), sized as (
  select id, sum(least(size, $4)) over (order by due_at, id) - least(size, $4) as before from due
)
insert into mail_lease (id, until, mails)
select $1, now() + $3 * interval '1 second', array_agg(id) from sized where before < $5 having count(*) > 0
returning mails
"""
_LEASED = f"select {_COLUMNS}, substring(raw for $2) as raw from mail where id = any($1)"  # noqa: S608 - our own statement
_RELEASE = "delete from mail_lease where id = $1"
_CLOSE = """
update mail set state = closing.state, outcome = closing.outcome, message = closing.message, again = false,
  attempts = attempts + 1, about = closing.about, raw = case when closing.erased then null else mail.raw end,
  tenant = coalesce(mail.tenant, closing.tenant), mode = coalesce(mail.mode, closing.mode)
from unnest($1::uuid[], $2::smallint[], $3::text[], $4::text[], $5::smallint[], $6::smallint[], $7::text[],
  $8::boolean[]) as closing (id, state, outcome, message, tenant, mode, about, erased)
where mail.id = closing.id and mail.state < 1 -- not `= 0`: through that index all that wait would be read
"""
_POSTPONE = """
update mail set due_at = now() + waits.seconds * interval '1 second', attempts = attempts + 1
from unnest($1::uuid[], $2::float8[]) as waits (id, seconds) where mail.id = waits.id and mail.state < 1
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
_READABLE = f"select count(*) from mail where {_FITS}"  # noqa: S608 - our own statement
_AGAIN = f"""
update mail set state = 0, again = true, attempts = 0, due_at = now() where id in (
  select id from mail where {_FITS} and ($7::timestamptz is null or (received_at, id) > ($7, $8::uuid))
  order by received_at, id limit $9 for update skip locked)
returning received_at, id
"""  # noqa: S608 - our own statement
# ids carry the time of arrival; a mail that was never read keeps waiting
_DROP = "delete from mail where id = any(array(select id from mail where id < $1 and state <> 0 order by id limit $2))"
_DROP_RAW = """
update mail set raw = null where ctid = any(array(
  select ctid from mail where received_at < $1 and raw is not null and state <> 0 order by received_at limit $2))
"""


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
        async with self.database.transaction() as connection:
            added = {row["digest"] for row in await connection.fetch(_KEEP, *columns(rows))}
            known = await connection.fetch(_KNOWN, [digest for digest in new if digest not in added])
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
                gone = await erased_among(connection, (owner for one in closing if (owner := _owner(one))))
                rows = [_closed(one, gone) for one in sorted(closing, key=lambda one: one.mail)]
                await connection.execute(_CLOSE, *columns(rows))

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
            await connection.execute(_COUNT, at.date(), at, *(list(column) for column in zip(*rows, strict=True)))

    async def count_readable(self, wanted: Rereading) -> int:
        async with self.database.acquire() as connection:
            return int(await connection.fetchval(_READABLE, *_arguments(wanted)))

    async def read_again(self, wanted: Rereading, limit: int) -> list[tuple[datetime, UUID]]:
        after = wanted.after or (None, None)
        async with self.database.acquire() as connection:
            rows = await connection.fetch(_AGAIN, *_arguments(wanted), *after, limit)
        return sorted((row["received_at"], row["id"]) for row in rows)

    async def drop_raw_before(self, moment: datetime) -> int:
        return await in_portions(self.database, _DROP_RAW, moment)

    async def drop_before(self, moment: datetime) -> int:
        return await in_portions(self.database, _DROP, first_id_at(moment))


def _owner(closing: Closing) -> Owner | None:
    owner = closing.owner
    return (owner[0], int(owner[1]), closing.about) if owner and closing.about else None


def _closed(one: Closing, gone: Mapping[Owner, datetime]) -> tuple[Any, ...]:
    owner = _owner(one)
    erased_at = gone.get(owner) if owner else None
    erased = erased_at is not None and time_of(parse_message_id(one.message or "")[0]) <= erased_at
    row = (one.mail, STATES.index(one.state), one.outcome, one.message, *(one.owner or (None, None)))
    return *row, None if erased else one.about, erased or one.erased


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
    id_, recipient, received_at, state, outcome, message, attempts, tenant, mode, again, raw = row
    owner = (tenant, Mode(mode)) if tenant is not None else None
    return Mail(id_, recipient, received_at, STATES[state], outcome, message, attempts, owner, raw, again)


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
