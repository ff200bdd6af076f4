"""Receipts: deduplicated, applied to the attempt that they are about, and published.

A receipt may come before our own record, after it, or for a superseded attempt.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.contracts.delivery import Receipt, ReceiptRecorded, Transition
from libs.contracts.outcomes import REACHED, Channel, ReceiptKind, Status
from libs.contracts.reasons import Reason
from libs.ids import message_id
from libs.messaging.outbox import Outgoing, append
from services.delivery.adapters.postgres.lease import read_requests
from services.delivery.adapters.postgres.recover import OpenBody
from services.delivery.adapters.postgres.settle import settle
from services.delivery.domain.accounts import Moves, Unit
from services.delivery.domain.bodies import Body, Slot
from services.delivery.domain.callbacks import ReceiptNews
from services.delivery.domain.receiving import verdict_of
from services.delivery.ports import Realm, Received

_ABOUT = """
select m.notification_id, m.address_id, m.request_id, m.ordinal, m.channel, m.sender, m.plan_step, m.locale,
       m.address_hash
from unnest($1::uuid[], $2::bigint[]) as k (notification_id, address_id)
join message m on m.notification_id = k.notification_id and m.address_id = k.address_id
where $3::int is null
  or exists (select from request r where r.id = m.request_id and r.tenant = $3 and r.mode = $4::int)
"""
_KEEP = """
insert into receipt (provider, event_id, notification_id, address_id, attempt, kind, at, detail, vendor_class)
select * from unnest($1::text[], $2::text[], $3::uuid[], $4::bigint[], $5::int[], $6::int[], $7::timestamptz[],
                     $8::text[], $9::text[])
order by 1, 2 on conflict do nothing returning provider, event_id
"""
# sent → failed: the provider gave up after accepting; failed → sent: it was delivered, whatever we had recorded.
# A message that was delivered stays so: a callback may overtake the one before it.
_APPLY = """
update message m set status = i.status, reason = i.reason, detail = coalesce(i.detail, m.detail), recorded_at = $8
from unnest($1::uuid[], $2::bigint[], $3::int[], $4::int[], $5::int[], $6::bool[], $7::text[])
  as i (notification_id, address_id, attempt, status, reason, delivered, detail)
where m.notification_id = i.notification_id and m.address_id = i.address_id and m.attempt = i.attempt
  and (m.status in (1, 6) or (m.status = 3 and i.status = 2 and i.delivered)
       or (m.status = 2 and i.status = 3 and not exists (
             select from receipt r
             where r.notification_id = i.notification_id and r.address_id = i.address_id and r.attempt = i.attempt
               and r.kind = any($9::int[]))))
returning m.notification_id, m.address_id, m.attempt, old.status, new.status, new.reason
"""
_OVERTAKEN = """
update attempt a set status = i.status, reason = i.reason, recorded_at = $6
from unnest($1::uuid[], $2::bigint[], $3::int[], $4::int[], $5::int[])
  as i (notification_id, address_id, attempt, status, reason)
where a.notification_id = i.notification_id and a.address_id = i.address_id and a.attempt = i.attempt
  and a.status = 6
"""

_REACHED = sorted(int(kind) for kind in REACHED)

Key = tuple[UUID, int]
_WIPED = Slot(UUID(int=0), "", None)


async def apply(
    connection: Any, news: Sequence[ReceiptNews], realm: Realm | None, open_body: OpenBody, now: datetime
) -> Received:
    """Apply receipts of known messages in the caller's transaction. `realm`: restricts them to one tenant and mode's
    messages, if given."""
    keys = sorted({(n.notification_id, n.address_id) for n in news})
    tenant, mode = (realm[0], int(realm[1])) if realm else (None, None)
    found = await connection.fetch(_ABOUT, [key[0] for key in keys], [key[1] for key in keys], tenant, mode)
    about: dict[Key, Any] = {(row[0], row[1]): row for row in found}
    known = [n for n in news if (n.notification_id, n.address_id) in about]
    requests = await read_requests(connection, {row[2] for row in about.values()}) if known else {}
    names = _names(about, {id_: open_body(id_, r.body) for id_, r in requests.items() if r.body is not None})
    fresh = await _keep(connection, known, names)
    if not fresh:
        return Received(len(known), 0)
    moved = await _apply(connection, [_stored(one, names) for one in fresh], now)
    moves = Moves()
    for notification, address, attempt, was, status, reason in moved:
        _move(about[notification, address], (attempt, was, status, reason), moves, now)
    for request_id, transitions in moves.transitions.items():
        moves.transitions[request_id] = [_named(t, names[t.notification_id, t.address_id] or "") for t in transitions]
    await settle(connection, moves, now, requests)
    await append(connection, _recorded(fresh, about, requests, names))
    return Received(len(known), len(fresh))


def _names(about: Mapping[Key, Any], bodies: Mapping[UUID, Body]) -> dict[Key, str | None]:
    """Return each message's recipient: None if erased, empty once the request's body was wiped."""
    names: dict[Key, str | None] = {}
    for key, row in about.items():
        slot = bodies[row[2]].slot(row[3]) if row[2] in bodies else _WIPED
        names[key] = slot.recipient if slot else None
    return names


def _stored(news: ReceiptNews, names: Mapping[Key, str | None]) -> ReceiptNews:
    """Return it as it is stored: the words about an erased recipient go no further than to `bounce`, which reads
    them."""
    return replace(news, detail=None) if names[news.notification_id, news.address_id] is None else news


async def _keep(connection: Any, news: Sequence[ReceiptNews], names: Mapping[Key, str | None]) -> list[ReceiptNews]:
    first: dict[tuple[Any, Any], ReceiptNews] = {(n.provider, n.event_id): n for n in reversed(news)}
    rows = await connection.fetch(
        _KEEP,
        [n.provider for n in first.values()],
        [n.event_id for n in first.values()],
        [n.notification_id for n in first.values()],
        [n.address_id for n in first.values()],
        [n.attempt for n in first.values()],
        [int(n.kind) for n in first.values()],
        [n.at for n in first.values()],
        [_stored(n, names).detail for n in first.values()],
        [n.opinion.vendor_class if n.opinion else None for n in first.values()],
    )
    return [first[row[0], row[1]] for row in rows]


async def _apply(connection: Any, news: Sequence[ReceiptNews], now: datetime) -> Any:
    by_attempt: dict[tuple[UUID, int, int], list[ReceiptNews]] = defaultdict(list)
    for one in news:
        by_attempt[one.notification_id, one.address_id, one.attempt].append(one)
    keys = sorted(by_attempt)
    verdicts = [verdict_of(by_attempt[key]) for key in keys]
    columns: list[list[Any]] = [
        [key[0] for key in keys],
        [key[1] for key in keys],
        [key[2] for key in keys],
        [int(v.status) for v in verdicts],
        [int(v.reason) for v in verdicts],
    ]
    delivered, details = [v.delivered for v in verdicts], [v.detail for v in verdicts]
    moved = await connection.fetch(_APPLY, *columns, delivered, details, now, _REACHED)
    applied = {(row[0], row[1], row[2]) for row in moved}
    missed = [place for place, key in enumerate(keys) if key not in applied]
    if missed:
        await connection.execute(_OVERTAKEN, *[[column[place] for place in missed] for column in columns], now)
    return moved


def _move(row: Any, change: tuple[int, int, int, int], moves: Moves, now: datetime) -> None:
    notification, address, request_id, ordinal, channel, sender, step, locale, _ = row
    attempt, was, status, reason = change
    moves.move(request_id, Status(was), Status(status))
    if status == Status.FAILED:
        moves.ended.add(Unit(request_id, notification, ordinal, step))
    moves.transitions[request_id].append(
        Transition(
            notification_id=notification,
            address_id=address,
            recipient="",
            attempt=attempt,
            was=Status(was).word,
            is_=Status(status).word,
            reason=Reason(reason).word,
            at=now,
            channel=Channel(channel).word if channel else None,
            sender=sender,
            step=step,
            locale=locale,
        )
    )


def _named(transition: Transition, recipient: str) -> Transition:
    fields = {name: getattr(transition, name) for name in transition.__struct_fields__}
    return Transition(**(fields | {"recipient": recipient}))


def _receipt(news: ReceiptNews, name: str | None, address_hash: bytes | None) -> Receipt:
    opinion = news.opinion
    return Receipt(
        provider=news.provider,
        provider_event_id=news.event_id,
        message=message_id(news.notification_id, news.address_id),
        attempt=news.attempt,
        kind=ReceiptKind(news.kind).word,
        at=news.at,
        recipient=name or None,
        address_hash=address_hash,
        detail=news.detail,
        reply_code=news.reply_code,
        enhanced_code=news.enhanced,
        vendor_class=opinion.vendor_class if opinion else None,
        vendor_category=opinion.category if opinion else None,
        vendor_permanent=opinion.permanent if opinion else None,
        erased=name is None,
    )


def _recorded(
    fresh: Sequence[ReceiptNews], about: dict[Key, Any], requests: Any, names: Mapping[Key, str | None]
) -> list[Outgoing]:
    """Build one event per request: its trace and subject go with it."""
    by_request: dict[UUID, list[Receipt]] = defaultdict(list)
    for news in fresh:
        key = news.notification_id, news.address_id
        row = about[key]
        by_request[row[2]].append(_receipt(news, names[key], row[8]))
    return [
        Outgoing(
            ReceiptRecorded(receipts=tuple(receipts)),
            str(request.cause_id),
            request.tenant,
            request.mode,
            request.subject,
            request.traceparent,
        )
        for id_, receipts in by_request.items()
        if (request := requests[id_]) is not None
    ]
