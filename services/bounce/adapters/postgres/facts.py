"""Facts and suppressions: each call one transaction with its events."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from prometheus_client import Counter

from libs.contracts.audit import ActionRecorded
from libs.contracts.bounce import BounceClassified, SuppressionChanged
from libs.contracts.outcomes import Mode
from libs.errors import NotFound
from libs.messaging.outbox import Outgoing, append
from libs.privacy import redacted
from libs.storage.database import Database
from services.bounce.adapters.postgres.suppressions import locked, place_all, put_all, to_suppression
from services.bounce.domain.categories import bar_for
from services.bounce.domain.suppressions import Evidence, Suppression, SuppressionKey
from services.bounce.ports import Change, NewFact

APP_ID = "bounce"

_facts = Counter("depesche_bounce_facts", "New facts about addresses", ["category", "origin"])
_barred = Counter("depesche_bounce_suppressions", "Suppressions placed by evidence", ["reason"])

_ADD = """
insert into bounce (id, tenant, mode, at, category, permanent, origin, address_hash, message, attempt, recipient,
                    reply_code, enhanced_code, text, mail_id, rule, matched, confidence, provider, template, rule_set)
select id, tenant, mode, at, category, permanent, origin, address_hash, message, attempt, recipient, reply_code,
  enhanced_code, text, mail_id, rule, string_to_array(matched, ' '), confidence, provider, template, rule_set
from unnest($1::uuid[], $2::smallint[], $3::smallint[], $4::timestamptz[], $5::text[], $6::boolean[], $7::text[],
  $8::bytea[], $9::text[], $10::smallint[], $11::text[], $12::smallint[], $13::text[], $14::text[], $15::uuid[],
  $16::text[], $17::text[], $18::real[], $19::text[], $20::text[], $21::text[])
  as new (id, tenant, mode, at, category, permanent, origin, address_hash, message, attempt, recipient, reply_code,
          enhanced_code, text, mail_id, rule, matched, confidence, provider, template, rule_set)
on conflict (id) do nothing returning id
"""
_CLOSE_MAIL = """
update mail set state = 1, outcome = closing.category, message = closing.message
from unnest($1::uuid[], $2::text[], $3::text[]) as closing (id, category, message)
where mail.id = closing.id and mail.state = 0
"""
_LOCK_ID = "select * from suppression where tenant = $1 and mode = $2 and id = $3 and version > 0 for update"
_FORGET_MAILS = """
delete from mail where id in (select mail_id from bounce where (tenant, mode, recipient) in
  (select * from unnest($1::smallint[], $2::smallint[], $3::text[])))
"""
_FORGET_BOUNCES = """
update bounce set recipient = null, text = null, template = null where (tenant, mode, recipient) in
  (select * from unnest($1::smallint[], $2::smallint[], $3::text[]))
"""
_FORGET_SUPPRESSIONS = """
update suppression set recipient = null, note = null where (tenant, mode, recipient) in
  (select * from unnest($1::smallint[], $2::smallint[], $3::text[]))
"""


@dataclass(frozen=True, slots=True)
class PostgresFacts:
    database: Database

    async def record(self, facts: Sequence[NewFact]) -> None:
        """New facts, what they bar, and both events; mails that brought them are closed. Repeats change nothing."""
        if not facts:
            return
        ordered = sorted({fact.id: fact for fact in facts}.values(), key=lambda fact: fact.id)
        async with self.database.transaction() as connection:
            new = {row["id"] for row in await connection.fetch(_ADD, *_columns(ordered))}
            await _close_mails(connection, facts)
            fresh = [fact for fact in ordered if fact.id in new]
            outgoing = [_classified(fact) for fact in fresh]
            evidence = [made for fact in fresh if (made := _evidence(fact))]
            outgoing += [_changed(placed) for placed in await place_all(connection, evidence)]
            await append(connection, outgoing)
        for published in outgoing:
            _count(published)

    async def place(self, evidence: Evidence, action: ActionRecorded) -> Suppression:
        """Bars by hand; gives the suppression that already bars where there is one."""
        async with self.database.transaction() as connection:
            for placed in await place_all(connection, [evidence]):
                await append(connection, [_changed(placed), _action(placed, action)])
                return placed
            return await locked(connection, evidence.key)

    async def lift(self, tenant: int, mode: Mode, suppression: UUID, change: Change) -> Suppression:
        """Applies `change` to the locked suppression. Raises NotFound, and what `change` raises."""
        async with self.database.transaction() as connection:
            row = await connection.fetchrow(_LOCK_ID, tenant, mode, suppression)
            if row is None:
                raise NotFound(f"There is no suppression {suppression}; GET suppressions lists them.")
            lifted, action = change(to_suppression(row))
            await put_all(connection, [lifted])
            await append(connection, [_changed(lifted), _action(lifted, action)])
            return lifted

    async def forget(self, recipients: Sequence[tuple[int, Mode, str]]) -> None:
        """Facts stay, nameless; the mails that brought them go."""
        columns = [list(column) for column in zip(*sorted(set(recipients)), strict=True)]
        async with self.database.transaction() as connection:
            for statement in (_FORGET_MAILS, _FORGET_BOUNCES, _FORGET_SUPPRESSIONS):
                await connection.execute(statement, *columns)


def _count(item: Outgoing) -> None:
    match item.event:
        case BounceClassified(category=category, origin=origin):
            _facts.labels(category, origin).inc()
        case SuppressionChanged(reason=reason):
            _barred.labels(reason).inc()
        case _:
            pass


async def _close_mails(connection: Any, facts: Sequence[NewFact]) -> None:
    closing = sorted((f.mail_id, f.fact.category, f.message) for f in facts if f.mail_id and f.message)
    if closing:
        await connection.execute(_CLOSE_MAIL, *(list(column) for column in zip(*closing, strict=True)))


def _columns(facts: Sequence[NewFact]) -> list[list[Any]]:
    rows = [
        (
            item.id,
            item.tenant,
            item.mode,
            item.at,
            item.fact.category,
            item.fact.permanent,
            item.origin,
            item.address_hash,
            item.message,
            item.attempt,
            item.recipient,
            item.fact.reply_code,
            item.fact.enhanced,
            redacted(item.fact.text),
            item.mail_id,
            item.fact.rule,
            " ".join(item.fact.matched),
            item.fact.confidence,
            item.fact.provider,
            item.fact.template,
            item.fact.rule_set,
        )
        for item in facts
    ]
    return [list(column) for column in zip(*rows, strict=True)]


def _evidence(item: NewFact) -> Evidence | None:
    bar = bar_for(item.fact.category, permanent=item.fact.permanent)
    if bar is None or item.message is None:
        return None
    key = SuppressionKey(item.tenant, item.mode, item.address_hash, bar.scope)
    return Evidence(key, bar.reason, item.at, "system", item.id, item.message, item.recipient)


def _classified(item: NewFact) -> Outgoing:
    event = BounceClassified(
        bounce_id=item.id,
        category=item.fact.category,
        group=item.fact.group,
        address_hash=item.address_hash,
        at=item.at,
        message_id=item.message,
        attempt=item.attempt,
        recipient=item.recipient,
        reply_code=item.fact.reply_code,
        enhanced_code=item.fact.enhanced,
        text=redacted(item.fact.text),
        origin=item.origin,
    )
    return Outgoing(event, item.recipient or item.address_hash.hex(), item.tenant, item.mode)


def _changed(item: Suppression) -> Outgoing:
    event = SuppressionChanged(
        suppression_id=item.id,
        address_hash=item.key.address_hash,
        scope=item.key.scope.word,
        reason=item.reason.word,
        active=item.active,
        version=item.version,
        at=item.changed_at,
        bounce_id=item.bounce_id,
        message_id=item.message,
        note=item.note,
    )
    return Outgoing(event, item.key.address_hash.hex(), item.key.tenant, item.key.mode)


def _action(item: Suppression, action: ActionRecorded) -> Outgoing:
    return Outgoing(action, str(item.id), item.key.tenant, item.key.mode, source=APP_ID)
