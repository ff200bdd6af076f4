"""Attempts in doubt: read to query their provider, and the answers recorded.

Nothing here locks while a provider is queried. A receipt may settle a doubt meanwhile, so the update is guarded by
attempt and status, as everywhere.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from libs.contracts.delivery import Transition
from libs.contracts.outcomes import ASKABLE, Channel, Lane, Status
from libs.contracts.reasons import Reason
from services.delivery.adapters.postgres.recover import OpenBody
from services.delivery.adapters.postgres.settle import settle
from services.delivery.adapters.postgres.throttle import grant
from services.delivery.adapters.postgres.turns import Turn, queue_turns
from services.delivery.domain.accounts import Moves, Unit
from services.delivery.domain.bodies import Body
from services.delivery.domain.verifying import Beside, Doubt, Learned
from services.delivery.domain.work import QUESTIONS, WorkRow

_DOUBTS = """
select k.place, m.ordinal, m.notification_id, m.address_id, m.channel, m.sender, m.plan_step, m.locale, m.claimed_at,
       m.recorded_at, m.content_digest, m.address_hash
from unnest($1::uuid[], $2::uuid[], $3::int[], $4::int[]) as k (notification_id, request_id, attempt, place)
join message m on m.notification_id = k.notification_id and m.request_id = k.request_id and m.attempt = k.attempt
where m.status = 6 and m.channel = any($5::int[]) order by m.notification_id, m.address_id
"""
# Messages to the same addresses around the time of our doubts.
_BESIDE = """
select m.notification_id, m.address_id, m.claimed_at, m.recorded_at, m.content_digest, m.address_hash from doubt d
join message m on m.notification_id = d.notification_id and m.address_id = d.address_id
where d.claimed_at between $1 and $2 and m.status = 6 and m.address_hash = any($3::bytea[])
"""
_BESIDE_TIME = timedelta(minutes=10)  # more than a lease plus the clocks' difference
_OWNERS = """
select r.provider, r.event_id, r.notification_id, r.address_id
from unnest($1::text[], $2::text[]) as k (provider, event_id)
join receipt r on r.provider = k.provider and r.event_id = k.event_id
"""
_FENCE = """
delete from work w using unnest($1::bigint[], $2::int[]) as d (id, lease) where w.id = d.id and w.lease = d.lease
returning w.id
"""
_LEARN = """
update message m set status = i.status, reason = i.reason, detail = i.detail, recorded_at = $8,
  provider_ref = coalesce(i.provider_ref, m.provider_ref)
from unnest($1::uuid[], $2::bigint[], $3::int[], $4::int[], $5::int[], $6::text[], $7::text[])
  as i (notification_id, address_id, attempt, status, reason, detail, provider_ref)
where m.notification_id = i.notification_id and m.address_id = i.address_id and m.attempt = i.attempt
  and m.status = 6
returning m.notification_id, m.address_id
"""


async def read(connection: Any, rows: Sequence[WorkRow], open_body: OpenBody, now: datetime) -> list[Doubt]:
    """Return the open doubts of these rows, each once, whichever row asks about it. A query takes a token of the
    sender's throttle, like a bulk message; a doubt without a token gets the time to try again."""
    bodies = {row.request.id: open_body(row.request.id, row.request.body) for row in rows if row.request.body}
    keys: list[tuple[UUID, UUID, int, int]] = [
        (bodies[row.request.id].notification_id(ordinal), row.request.id, row.attempt, place)
        for place, row in enumerate(rows)
        if row.request.id in bodies
        for ordinal in row.ordinals
    ]
    if not keys:
        return []
    askable = [int(channel) for channel in ASKABLE]
    found = await connection.fetch(_DOUBTS, *map(list, zip(*sorted(keys), strict=True)), askable)
    doubts: dict[tuple[UUID, int], Doubt] = {}
    for place, ordinal, notification, address, channel, *rest in found:
        row = rows[place]
        whom = _recipient(bodies[row.request.id], ordinal)
        doubt = Doubt(row, ordinal, notification, address, whom, Channel(channel), *rest)
        doubts.setdefault(doubt.key, doubt)
    await _look_beside(connection, list(doubts.values()))
    await _obey_throttles(connection, list(doubts.values()), now)
    return list(doubts.values())


async def _look_beside(connection: Any, doubts: Sequence[Doubt]) -> None:
    """Mark two equal texts in doubt as rivals even if they are queried at different times."""
    by_hash: dict[bytes, list[Doubt]] = defaultdict(list)
    for doubt in doubts:
        if doubt.hash is not None:
            by_hash[doubt.hash].append(doubt)
    if not by_hash:
        return
    low = min(doubt.claimed_at for doubt in doubts) - _BESIDE_TIME
    high = max(doubt.ended_at for doubt in doubts) + _BESIDE_TIME
    found: dict[bytes, list[Beside]] = defaultdict(list)
    for notification, address, claimed_at, ended_at, digest, hash_ in await connection.fetch(
        _BESIDE, low, high, list(by_hash)
    ):
        found[hash_].append(Beside((notification, address), claimed_at, ended_at, digest))
    for hash_, asked in by_hash.items():
        for doubt in asked:
            doubt.beside = found[hash_]


async def _obey_throttles(connection: Any, doubts: Sequence[Doubt], now: datetime) -> None:
    by_sender: dict[tuple[int, int, int], list[Doubt]] = defaultdict(list)
    for doubt in doubts:
        request = doubt.row.request
        by_sender[request.tenant, int(request.mode), doubt.sender].append(doubt)
    wanted = {key: len(asked) for key, asked in by_sender.items()}
    for key, (granted, free_at) in (await grant(connection, wanted, Lane.BULK, now)).items():
        for doubt in by_sender[key][granted:]:
            doubt.free_at = free_at


async def owners(connection: Any, events: Sequence[tuple[str, str]]) -> dict[tuple[str, str], tuple[UUID, int]]:
    """Return the messages that these receipts (provider, event id) were about; absent: no receipt with that id came."""
    columns = list(map(list, zip(*events, strict=True)))
    return {(row[0], row[1]): (row[2], row[3]) for row in await connection.fetch(_OWNERS, *columns)}


def _recipient(body: Body, ordinal: int) -> str:
    slot = body.slot(ordinal)
    return slot.recipient if slot else ""


async def learn(connection: Any, rows: Sequence[WorkRow], learned: Sequence[Learned], now: datetime) -> list[Learned]:
    """Record what was learned and queue what follows, in the caller's transaction; return what changed. Rows whose
    lease now belongs to another worker are left to it."""
    queued = {row.queued.id: row.queued for row in rows}
    ids = sorted(queued)
    fenced = {row[0] for row in await connection.fetch(_FENCE, ids, [queued[id_].lease for id_ in ids])}
    mine = [one for one in learned if one.doubt.row.queued.id in fenced]
    news = {one.doubt.key: one for one in mine if one.ask_at is None}
    applied = [news[key] for key in await _update(connection, [news[key] for key in sorted(news)], now)]
    moves = Moves()
    for row in rows:
        if row.queued.id in fenced:
            moves.touch(row.request.id)
    for one in applied:
        _move(one, moves, now)
    await queue_turns(connection, _turns([*applied, *(one for one in mine if one.ask_at is not None)], now))
    await settle(connection, moves, now, {row.request.id: row.request for row in rows})
    return applied


async def _update(connection: Any, news: Sequence[Learned], now: datetime) -> list[tuple[UUID, int]]:
    if not news:
        return []
    rows = await connection.fetch(
        _LEARN,
        [one.doubt.notification_id for one in news],
        [one.doubt.address_id for one in news],
        [one.doubt.row.attempt for one in news],
        [int(one.status) for one in news],
        [int(one.reason) for one in news],
        [one.detail for one in news],
        [one.provider_ref for one in news],
        now,
    )
    return [(row[0], row[1]) for row in rows]


def _move(one: Learned, moves: Moves, now: datetime) -> None:
    doubt, request_id = one.doubt, one.doubt.row.request.id
    moves.move(request_id, Status.UNKNOWN, one.status)
    if one.status is Status.FAILED:
        moves.ended.add(Unit(request_id, doubt.notification_id, doubt.ordinal, doubt.step))
    moves.transitions[request_id].append(
        Transition(
            notification_id=doubt.notification_id,
            address_id=doubt.address_id,
            recipient=doubt.recipient,
            attempt=doubt.row.attempt,
            was=Status.UNKNOWN.word,
            is_=one.status.word,
            reason=one.reason.word,
            at=now,
            channel=doubt.channel.word,
            sender=doubt.sender,
            step=doubt.step,
            locale=doubt.locale,
            provider_ref=one.provider_ref,
            address_hash=doubt.hash,
            digest=doubt.digest,
            detail=one.detail,
        )
    )


def _turns(learned: Sequence[Learned], now: datetime) -> dict[Turn, set[int]]:
    """Return the next query for open doubts, and the next attempt for messages that were not sent."""
    turns: dict[Turn, set[int]] = defaultdict(set)
    for one in learned:
        row, about = one.doubt.row, (one.doubt.row.request.id, one.doubt.step)
        if one.ask_at is not None:
            turn = Turn(*about, row.attempt, Reason.VERIFYING, QUESTIONS, one.ask_at, min(row.returns + 1, 100))
        elif one.status is Status.PENDING:
            turn = Turn(*about, row.attempt + 1, one.reason, None, now)
        else:
            continue
        turns[turn].add(one.doubt.ordinal)
    return turns
