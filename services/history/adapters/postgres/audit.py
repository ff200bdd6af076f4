"""Decisions and other events in columns; a JSON body only for fields without a column."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

from libs.contracts.envelope import Envelope
from libs.contracts.erasing import is_gone
from libs.contracts.orders_notification import Decision as Decided
from libs.contracts.orders_notification import DecisionRecorded
from libs.contracts.outcomes import Mode
from libs.contracts.reasons import Reason
from libs.ids import time_of
from libs.privacy import redacted
from libs.storage.arrays import columns
from libs.storage.database import Database
from libs.storage.erasures import Erased, erased_among, remember
from libs.storage.new_rows import insert, written
from services.history.adapters.postgres.as_columns import by_kind
from services.history.adapters.postgres.records import PostgresRecords
from services.history.adapters.postgres.terms import Terms
from services.history.adapters.postgres.timeline import PostgresTimeline
from services.history.domain.facts import Decision, Document
from services.history.domain.records import LIFTED, lifted
from services.history.domain.search import AuditSearch, Group, Grouping, in_order
from services.history.ports import ActionSearch, RecordPage, Search

_ADD_DECISIONS = insert("""
insert into decision (cause_id, envelope, ordinal, notification_id, event_id, subject, recipient, outcome, tenant, mode,
                      event_type, event_source, communication, detail)
select cause_id, envelope, ordinal, notification_id, event_id, subject, recipient, ($9::smallint[])[kind],
  ($10::smallint[])[kind], ($11::smallint[])[kind], ($12::int[])[kind], ($13::int[])[kind], ($14::int[])[kind],
  ($15::text[])[kind]
from unnest($1::uuid[], $2::int[], $3::smallint[], $4::uuid[], $5::text[], $6::text[], $7::text[], $8::int[])
  as d (cause_id, envelope, ordinal, notification_id, event_id, subject, recipient, kind)
{unless}
""")
_OWN_OF_DECISION = 7
_UNKNOWN_OUTCOME = int(Reason.INTERNAL)
_OUTCOMES = {"requested": int(Reason.NONE)} | {reason.word: int(reason) for reason in Reason}
_ADD_DOCUMENTS = """
insert into document (id, at, address_key, type, tenant, mode, subject, recipient, message, actor, action, object,
                      body)
select * from unnest($1::uuid[], $2::timestamptz[], $3::bigint[], $4::int[], $5::smallint[], $6::smallint[],
  $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::jsonb[])
on conflict do nothing
"""
# $1 tenant, $2 mode, $3 limit, $4 before, $5 the value searched for, $6 the recipient who is asked about
_DECISIONS = """
select d.*, communication.word as communication_word, type.word as type_word, source.word as source_word
from decision d
join term type on type.id = d.event_type
join term source on source.id = d.event_source
left join term communication on communication.id = d.communication
where d.tenant = $1 and d.mode = $2 and ($4::uuid is null or d.cause_id < $4) and {which}
order by d.cause_id desc, d.envelope, d.ordinal limit $3
"""
_same = "hashtextextended(d.{0}, 0) = hashtextextended({1}, 0) and d.{0} = {1}".format  # as the indexes have it
_WHICH = {"causes": "d.cause_id = any ($5::uuid[])"} | {
    name: _same(name, "$5::text") for name in ("event_id", "subject", "recipient")
}
_ABOUT = " and (d.recipient is null or d.recipient = $6)"
_DECISIONS_BY = {(name, also): _DECISIONS.format(which=_WHICH[name] + also) for name in _WHICH for also in ("", _ABOUT)}

_DOCUMENTS = """
select d.*, term.word as type_word from document d join term on term.id = d.type
where d.tenant = $1 and d.mode = $2 and ($4::uuid is null or d.id < $4) and ($6::uuid is null or d.id >= $6)
  and {which}
order by d.id desc limit $3
"""
_DOCUMENTS_BY_RECIPIENT = _DOCUMENTS.format(which=_same("recipient", "$5::text"))
_DOCUMENTS_BY_MESSAGES = _DOCUMENTS.format(
    which="hashtextextended(d.message, 0) in (select hashtextextended(m, 0) from unnest($5::text[]) m)"
    " and d.message = any ($5)"
)
_DOCUMENTS_BY_ADDRESS = _DOCUMENTS.format(which="d.address_key = $5::bigint")
# bounds in every case: with "is null or" a generic plan of Postgres would start at the newest row
_ACTIONS_OF = f"""
select d.*, term.word as type_word from document d join term on term.id = d.type
where d.tenant = $1 and d.mode = $2 and d.action is not null
  and ($4::text is null or d.actor = $4) and ($5::text is null or d.action = $5) and {{which}}
  and (d.at, d.id) < (coalesce($7::timestamptz, 'infinity'), coalesce($8::uuid, '{UUID(int=0)}'))
order by d.at desc, d.id desc limit $3
"""  # noqa: S608 - our own words
_ACTIONS = _ACTIONS_OF.format(which="$6::text is null")
_ACTIONS_ABOUT = _ACTIONS_OF.format(which=_same("object", "$6::text"))
_FORGET_DECISIONS = """
update decision d set recipient = null, detail = null
from unnest($1::smallint[], $2::smallint[], $3::text[]) as gone (tenant, mode, recipient)
where hashtextextended(d.recipient, 0) = hashtextextended(gone.recipient, 0) and d.recipient = gone.recipient
  and d.tenant = gone.tenant and d.mode = gone.mode
"""
# the part of a body that names nobody
_NAMELESS = f"""
  select coalesce(jsonb_object_agg(key, value), '{{}}') from jsonb_each(d.body)
  where key in ({", ".join(f"'{name}'" for name in LIFTED)})
"""  # noqa: S608 - our own words
_FORGET_DOCUMENTS = f"""
update document d set recipient = null, address_key = null, object = null, body = ({_NAMELESS})
from unnest($1::smallint[], $2::smallint[], $3::text[]) as gone (tenant, mode, recipient)
where hashtextextended(d.recipient, 0) = hashtextextended(gone.recipient, 0) and d.recipient = gone.recipient
  and d.tenant = gone.tenant and d.mode = gone.mode
"""  # noqa: S608 - our own words
_FORGET_ACTIONS = f"""
update document d set object = null, body = ({_NAMELESS})
from unnest($1::smallint[], $2::smallint[], $3::text[]) as gone (tenant, mode, recipient)
where d.action is not null and hashtextextended(d.object, 0) = hashtextextended(gone.recipient, 0)
  and d.object = gone.recipient and d.tenant = gone.tenant and d.mode = gone.mode
"""  # noqa: S608 - our own words


@dataclass(frozen=True, slots=True)
class PostgresAudit:
    """`messages` writes the messages' rows where the timeline is in another store; None: the timeline writes them."""

    database: Database
    terms: Terms
    records: PostgresRecords
    messages: PostgresTimeline | None = None

    async def record_messages(self, batch: Sequence[Envelope]) -> None:
        if self.messages is not None:
            await self.messages.record_messages(batch)

    async def record_receipts(self, batch: Sequence[Envelope]) -> None:
        if self.messages is not None:
            await self.messages.record_receipts(batch)

    async def record_rejections(self, batch: Sequence[Envelope]) -> None:
        if self.messages is not None:
            await self.messages.record_rejections(batch)

    async def record_decisions(self, batch: Sequence[Envelope]) -> None:
        words = {word for envelope in batch for word in _words(envelope.data)}
        terms = await self.terms.ids(words)
        await written(partial(self._record_decisions, [row for e in batch for row in _decisions(e, terms)]))

    async def _record_decisions(self, rows: list[tuple[Any, ...]], look: bool) -> None:
        async with self.database.transaction() as connection:
            owners = ((row[8], row[9], row[6]) for row in rows if row[6] is not None)
            gone = await erased_among(connection, owners)
            if gone:
                rows = [_nameless(row, gone) for row in rows]
            rows.sort(key=lambda row: (row[0].int, *row[1:3]))
            await connection.execute(_ADD_DECISIONS[look], *by_kind(rows, _OWN_OF_DECISION))

    async def record_documents(self, documents: Sequence[Document]) -> None:
        terms = await self.terms.ids(document.type for document in documents)
        async with self.database.transaction() as connection:
            gone = await erased_among(connection, (owner for d in documents for owner in _owners(d)))
            rows = [_document_row(document, terms) for document in sorted(documents, key=lambda d: d.id)]
            kept = [_nameless_document(row, gone) if gone else row for row in rows]
            await connection.execute(_ADD_DOCUMENTS, *columns(kept))

    async def decisions(self, wanted: Search) -> list[Decision]:
        statement, values = _decision_query(wanted)
        if statement is None:
            return []
        async with self.database.acquire() as connection:
            common = (wanted.tenant, wanted.mode, wanted.limit, wanted.before)
            return [_decision(row) for row in await connection.fetch(statement, *common, *values)]

    async def documents(self, wanted: Search) -> list[Document]:
        statement, value = _document_query(wanted)
        if statement is None:
            return []
        async with self.database.acquire() as connection:
            common = (wanted.tenant, wanted.mode, wanted.limit, wanted.before)
            return [_document(row) for row in await connection.fetch(statement, *common, value, wanted.since)]

    async def actions(self, wanted: ActionSearch) -> list[Document]:
        at, id_ = wanted.after or (None, None)
        who = (wanted.actor, wanted.action, wanted.object)
        async with self.database.acquire() as connection:
            statement = _ACTIONS if wanted.object is None else _ACTIONS_ABOUT
            rows = await connection.fetch(statement, wanted.tenant, wanted.mode, wanted.limit, *who, at, id_)
        return [_document(row) for row in rows]

    async def search(self, wanted: AuditSearch, limit: int, after: list[Any] | None = None) -> RecordPage:
        return await self.records.search(wanted, limit, after)

    async def counts(self, wanted: AuditSearch, grouping: Grouping) -> list[Group]:
        return in_order(await self.records.counts(wanted, grouping), grouping)

    async def forget(self, erased: Sequence[Erased]) -> None:
        if self.messages is not None:
            await self.messages.forget(erased)
        owners = columns(sorted({(tenant, mode, recipient) for tenant, mode, recipient, _ in erased}))
        async with self.database.transaction() as connection:
            await remember(connection, erased)
            for statement in (_FORGET_DECISIONS, _FORGET_DOCUMENTS, _FORGET_ACTIONS):
                await connection.execute(statement, *owners)


def _words(data: DecisionRecorded) -> set[str | None]:
    return {data.event_type, data.event_source, *(decision.communication for decision in data.decisions)}


def _decisions(envelope: Envelope, terms: dict[str, int]) -> list[tuple[Any, ...]]:
    data: DecisionRecorded = envelope.data
    # an event without a communication is a decision too: "I never got it" must find it
    decided = data.decisions or (Decided(communication=None, outcome=Reason.NO_COMMUNICATION.word),)
    shared = (envelope.tenant, int(envelope.mode), terms[data.event_type], terms[data.event_source])
    return [
        (
            data.cause_id,
            envelope.id.int & 0x7FFF_FFFF,
            ordinal,
            item.notification_id,
            data.event_id,
            envelope.subject,
            item.recipient,
            _OUTCOMES.get(item.outcome, _UNKNOWN_OUTCOME),
            *shared,
            terms[item.communication] if item.communication is not None else None,
            redacted(item.detail) if item.detail else None,
        )
        for ordinal, item in enumerate(decided)
    ]


def _nameless(row: tuple[Any, ...], gone: dict[Any, Any]) -> tuple[Any, ...]:
    whose = row[8], row[9], row[6]
    return (*row[:6], None, *row[7:13], None) if is_gone(gone, whose, time_of(row[0])) else row


def _decision_query(wanted: Search) -> tuple[str | None, tuple[Any, ...]]:
    also, whom = ("", ()) if wanted.recipient is None else (_ABOUT, (wanted.recipient,))
    for name in _WHICH:
        if (value := getattr(wanted, name)) not in (None, ()):
            return _DECISIONS_BY[name, also], (value, *whom)
    return None, ()


def _decision(row: Any) -> Decision:
    return Decision(
        at=time_of(row["cause_id"]),
        cause_id=row["cause_id"],
        event_id=row["event_id"],
        event_type=row["type_word"],
        event_source=row["source_word"],
        reason=Reason(row["outcome"]),
        subject=row["subject"],
        communication=row["communication_word"],
        recipient=row["recipient"],
        notification_id=row["notification_id"],
        detail=row["detail"],
    )


def _document_row(item: Document, terms: dict[str, int]) -> tuple[Any, ...]:
    owner = (item.tenant, item.mode, item.subject, item.recipient, item.message)
    return item.id, item.at, item.address_key, terms[item.type], *owner, item.actor, item.action, item.object, item.body


def _owners(item: Document) -> Iterator[tuple[int, int, str]]:
    """Yield the recipients that a document concerns: its own, and the object of an action."""
    if item.recipient is not None:
        yield item.tenant, item.mode, item.recipient
    if item.action is not None and item.object is not None:
        yield item.tenant, item.mode, item.object


def _nameless_document(row: tuple[Any, ...], gone: dict[Any, Any]) -> tuple[Any, ...]:
    about = (row[7], row[11] if row[10] is not None else None)
    if not any(is_gone(gone, (row[4], row[5], name), row[1]) for name in about):
        return row
    return *row[:2], None, *row[3:7], None, *row[8:11], None, lifted(row[12])


def _document_query(wanted: Search) -> tuple[str | None, Any]:
    if wanted.message is not None:
        return _DOCUMENTS_BY_MESSAGES, wanted.message.split(",")
    if wanted.recipient is not None:
        return _DOCUMENTS_BY_RECIPIENT, wanted.recipient
    if wanted.address_key is not None:
        return _DOCUMENTS_BY_ADDRESS, wanted.address_key
    return None, None


def _document(row: Any) -> Document:
    return Document(
        id=row["id"],
        type=row["type_word"],
        tenant=row["tenant"],
        mode=Mode(row["mode"]),
        at=row["at"],
        body=row["body"],
        subject=row["subject"],
        recipient=row["recipient"],
        message=row["message"],
        address_key=row["address_key"],
        actor=row["actor"],
        action=row["action"],
        object=row["object"],
    )
