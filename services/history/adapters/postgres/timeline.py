"""Messages in columns: one row per transition, receipt and refusal."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from libs.contracts.delivery import MessageRecorded, Transition
from libs.contracts.envelope import Envelope
from libs.contracts.erasing import Owner, is_gone
from libs.contracts.outcomes import Channel, ReceiptKind, Status
from libs.contracts.reasons import Reason
from libs.ids import parse_message_id, time_of
from libs.privacy import redacted
from libs.storage.arrays import columns
from libs.storage.database import Database
from libs.storage.erasures import Erased, erased_among, remember
from libs.storage.new_rows import insert, written
from services.history.adapters.postgres.as_columns import by_kind
from services.history.adapters.postgres.messages import find_messages
from services.history.adapters.postgres.terms import Terms
from services.history.domain.facts import Message, address_key
from services.history.ports import Search

# Every event about a request repeats it: check for the row first.
_ADD_REQUESTS = insert("""
insert into request (id, cause_id, subject, release_id, communication, tenant, mode)
select id, cause_id, subject, ($5::uuid[])[kind], ($6::int[])[kind], ($7::smallint[])[kind], ($8::smallint[])[kind]
from unnest($1::uuid[], $2::uuid[], $3::text[], $4::int[]) as r (id, cause_id, subject, kind)
where not exists (select from request there where there.id = r.id) {unless}
""")
_ADD_TRANSITIONS = insert("""
insert into transition (notification_id, request_id, address_id, address_key, recipient, provider_ref, at, attempt, was,
                        status, reason, channel, sender, step, tenant, mode, locale, detail)
select notification_id, request_id, address_id, address_key, recipient, provider_ref, ($8::timestamptz[])[kind],
  ($9::smallint[])[kind], ($10::smallint[])[kind], ($11::smallint[])[kind], ($12::smallint[])[kind],
  ($13::smallint[])[kind], ($14::smallint[])[kind], ($15::smallint[])[kind], ($16::smallint[])[kind],
  ($17::smallint[])[kind], ($18::text[])[kind], ($19::text[])[kind]
from unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::int[])
  as t (notification_id, request_id, address_id, address_key, recipient, provider_ref, kind)
{unless}
""")
_OWN_OF_REQUEST = 3
_OWN_OF_TRANSITION = 6
_STATUSES = {status.word: int(status) for status in Status}
_REASONS = {reason.word: int(reason) for reason in Reason}
_UNKNOWN_REASON = int(Reason.INTERNAL)  # a newer publisher's reason counts as our own fault until we know it
_CHANNELS = {channel.word: int(channel) for channel in Channel}
_ADD_RECEIPTS = """
insert into receipt (notification_id, event_key, at, address_id, attempt, kind, tenant, mode, provider, detail)
select * from unnest($1::uuid[], $2::bigint[], $3::timestamptz[], $4::bigint[], $5::smallint[], $6::smallint[],
  $7::smallint[], $8::smallint[], $9::text[], $10::text[])
on conflict do nothing
"""
_ADD_REJECTIONS = """
insert into rejection (notification_id, at, address_id, attempt, reply_code, final, tenant, mode, enhanced_code,
                       error, text)
select * from unnest($1::uuid[], $2::timestamptz[], $3::bigint[], $4::smallint[], $5::smallint[], $6::boolean[],
  $7::smallint[], $8::smallint[], $9::text[], $10::text[], $11::text[])
on conflict do nothing
"""
_FORGET = """
update transition t set recipient = null, address_key = null, detail = null
from unnest($1::smallint[], $2::smallint[], $3::text[]) as gone (tenant, mode, recipient)
where hashtextextended(t.recipient, 0) = hashtextextended(gone.recipient, 0) and t.recipient = gone.recipient
  and t.tenant = gone.tenant and t.mode = gone.mode
returning t.notification_id
"""
_FORGET_TEXTS = """
with gone as (select distinct id from unnest($1::uuid[]) as id),
     receipts as (update receipt set detail = null from gone where notification_id = gone.id)
update rejection set text = null from gone where notification_id = gone.id
"""


@dataclass(frozen=True, slots=True)
class PostgresTimeline:
    database: Database
    terms: Terms

    async def record_messages(self, batch: Sequence[Envelope]) -> None:
        """Record transitions and the fields that their messages share, in one transaction."""
        terms = await self.terms.ids(envelope.data.communication for envelope in batch)
        await written(partial(self._record_messages, batch, terms))

    async def _record_messages(self, batch: Sequence[Envelope], terms: Mapping[str, int], look: bool) -> None:
        requests = {
            envelope.data.request_id: _request(envelope, terms[envelope.data.communication]) for envelope in batch
        }
        async with self.database.transaction() as connection:
            owners = ((e.tenant, e.mode, t.recipient) for e in batch for t in e.data.transitions)
            gone = await erased_among(connection, owners)
            told = sorted(requests.values(), key=lambda row: row[0].int)
            await connection.execute(_ADD_REQUESTS[look], *by_kind(told, _OWN_OF_REQUEST))
            rows = [_transition(envelope, t) for envelope in batch for t in envelope.data.transitions]
            if gone:
                rows = [_nameless(row, gone) for row in rows]
            if rows:
                rows.sort(key=_transition_key)
                await connection.execute(_ADD_TRANSITIONS[look], *by_kind(rows, _OWN_OF_TRANSITION))

    async def record_receipts(self, batch: Sequence[Envelope]) -> None:
        rows: list[tuple[Any, ...]] = []
        whose: list[Owner] = []
        for envelope in batch:
            for r in envelope.data.receipts:
                whose.append((envelope.tenant, int(envelope.mode), r.recipient or ""))
                notification, address = parse_message_id(r.message)
                detail = redacted(r.detail) if r.detail and not r.erased else None
                key = _event_key(r.provider, r.provider_event_id)
                kind = ReceiptKind.parse(r.kind)
                owner = (envelope.tenant, envelope.mode)
                rows.append((notification, key, r.at, address, r.attempt, kind, *owner, r.provider, detail))
        await self._add(_ADD_RECEIPTS, rows, whose, lambda row: (row[0], row[3], row[1]))

    async def record_rejections(self, batch: Sequence[Envelope]) -> None:
        rows: list[tuple[Any, ...]] = []
        whose: list[Owner] = []
        for envelope in batch:
            for r in envelope.data.rejections:
                whose.append((envelope.tenant, int(envelope.mode), r.recipient or ""))
                notification, address = parse_message_id(r.message)
                codes = (r.enhanced_code, r.error, redacted(r.text))
                owner = (envelope.tenant, envelope.mode)
                rows.append((notification, r.at, address, r.attempt, r.reply_code, r.final, *owner, *codes))
        await self._add(_ADD_REJECTIONS, rows, whose, lambda row: (row[0], row[2], row[3]))

    async def messages(self, wanted: Search) -> list[Message]:
        async with self.database.acquire() as connection:
            return await find_messages(connection, wanted)

    async def forget(self, erased: Sequence[Erased]) -> None:
        """Make rows nameless; late events are stored nameless too."""
        async with self.database.transaction() as connection:
            await remember(connection, erased)
            owners = columns(sorted({(tenant, mode, recipient) for tenant, mode, recipient, _ in erased}))
            rows = await connection.fetch(_FORGET, *owners)
            await connection.execute(_FORGET_TEXTS, [row["notification_id"] for row in rows])

    async def _add(
        self, statement: str, rows: Sequence[tuple[Any, ...]], whose: Sequence[Owner], order: Callable[[Any], Any]
    ) -> None:
        """Add rows whose last column is what a provider said; `whose`: each row's recipient, if known."""
        if not rows:
            return
        async with self.database.transaction() as connection:
            gone = await erased_among(connection, (one for one in whose if one[2]))
            if gone:
                rows = [_wordless(row, one, gone) for row, one in zip(rows, whose, strict=True)]
            await connection.execute(statement, *columns(sorted(rows, key=order)))


def _request(envelope: Envelope, communication: int) -> tuple[Any, ...]:
    data: MessageRecorded = envelope.data
    kind = (data.release_id, communication, envelope.tenant, int(envelope.mode))
    return data.request_id, data.cause_id, envelope.subject, *kind


def _transition(envelope: Envelope, t: Transition) -> tuple[Any, ...]:
    return (
        t.notification_id,
        envelope.data.request_id,
        t.address_id,
        address_key(t.address_hash),
        t.recipient,
        t.provider_ref,
        t.at,
        t.attempt,
        _STATUSES[t.was],
        _STATUSES[t.is_],
        _REASONS.get(t.reason, _UNKNOWN_REASON),
        _CHANNELS[t.channel] if t.channel else None,
        t.sender,
        t.step,
        envelope.tenant,
        int(envelope.mode),
        t.locale,
        redacted(t.detail) if t.detail else None,
    )


def _transition_key(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return row[0].int, row[2], *row[7:10]  # as numbers: comparing UUIDs runs in Python


def _nameless(row: tuple[Any, ...], gone: dict[Any, Any]) -> tuple[Any, ...]:
    """Return the row without recipient, address and words, if its cause was accepted before the erasure."""
    if not is_gone(gone, (row[14], row[15], row[4]), time_of(row[0])):
        return row
    return *row[:3], None, None, *row[5:17], None


def _wordless(row: tuple[Any, ...], whose: Owner, gone: Mapping[Owner, datetime]) -> tuple[Any, ...]:
    """Return the row without words, if its cause was accepted before the erasure."""
    return (*row[:-1], None) if is_gone(gone, whose, time_of(row[0])) else row


def _event_key(provider: str, event_id: str) -> int:
    digest = hashlib.blake2b(f"{provider}\0{event_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)
