"""Record the results of calls: guarded by attempt and status, so that nothing superseded moves the ledger."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from math import ceil
from typing import Any

import msgspec

from libs.contracts.delivery import Rejection
from libs.contracts.erasing import Owner
from libs.contracts.outcomes import Status
from libs.contracts.reasons import Reason
from libs.ids import message_id
from libs.storage.erasures import erased_among
from services.delivery.adapters.postgres.settle import settle
from services.delivery.adapters.postgres.transitions import transition
from services.delivery.adapters.postgres.turns import Turn, queue_turns
from services.delivery.domain.accounts import Moves, Unit
from services.delivery.domain.outbound import domain_of, from_domain
from services.delivery.domain.outcomes import Rejected
from services.delivery.domain.work import QUESTIONS, Result, WorkRow, channel_of

_DONE = """
delete from work w using unnest($1::bigint[], $2::int[]) as d (id, lease) where w.id = d.id and w.lease = d.lease
"""
# Rows come back only if not all of them were `sending` ($10: how many there are); the last row is the sum.
_RECORD = """
with moved as (
update message m set status = ($6::int[])[r.kind], reason = ($7::int[])[r.kind], detail = ($8::text[])[r.kind],
  provider_ref = r.provider_ref, recorded_at = $9
from unnest($1::uuid[], $2::bigint[], $3::int[], $4::text[]) as r (notification_id, address_id, kind, provider_ref)
where m.notification_id = r.notification_id and m.address_id = r.address_id and m.attempt = ($5::int[])[r.kind]
  and m.status in (1, 6)
returning m.notification_id, m.address_id, old.status as was)
, whole as (select count(*) filter (where was = 1) as sending from moved)
select m.* from moved m, whole where sending <> $10
union all select null, sending, null from whole
"""
# An attempt that was given up as unknown, then answered after all; sent twice if a later one was accepted too.
_OVERTAKEN = """
update attempt a set status = r.status, reason = r.reason, provider_ref = r.provider_ref, recorded_at = $7
from unnest($1::uuid[], $2::bigint[], $3::int[], $4::int[], $5::int[], $6::text[])
  as r (notification_id, address_id, attempt, status, reason, provider_ref)
where a.notification_id = r.notification_id and a.address_id = r.address_id and a.attempt = r.attempt
  and a.status = 6
"""
# Retries of one request are rounded to steps of up to a second: hundreds that failed together wake together.
_LONGEST_STEP_SECONDS = 1.0
_CALLED_WITHIN = timedelta(minutes=15)  # longer than a lease


async def record(connection: Any, results: Sequence[Result], finished: Sequence[WorkRow], now: datetime) -> None:
    """Record results and delete the rows that they finish (a shared row with the last of them), in the caller's
    transaction."""
    if finished:
        queued = sorted((row.queued for row in finished), key=lambda queued: queued.id)
        await connection.execute(_DONE, [one.id for one in queued], [one.lease for one in queued])
    moves = Moves()
    for row in finished:
        moves.touch(row.request.id)
    results = await _without_erased_words(connection, results, now)
    applied = await _apply(connection, results, now) if results else []
    for result, was in applied:
        _move(result, was, moves, now)
    await queue_turns(connection, _turns([result for result, _ in applied], now))
    heads = {row.request.id: row.request for row in finished}
    heads |= {result.message.row.request.id: result.message.row.request for result in results}
    await settle(connection, moves, now, heads)


async def _without_erased_words(connection: Any, results: Sequence[Result], now: datetime) -> Sequence[Result]:
    """A recipient may be erased during the call: the provider's words about them are not stored."""
    worded = [result for result in results if result.detail]
    if not worded:
        return results
    erased = await erased_among(connection, (_owner(result) for result in worded), now - _CALLED_WITHIN)
    if not erased:
        return results
    return [msgspec.structs.replace(one, detail=None) if _owner(one) in erased else one for one in results]


def _owner(result: Result) -> Owner:
    request = result.message.row.request
    return request.tenant, int(request.mode), result.message.recipient


async def _apply(connection: Any, results: Sequence[Result], now: datetime) -> list[tuple[Result, Status]]:
    """Return the results that the ledger accepted, with each message's previous status; superseded ones go to
    `attempt`."""
    results = sorted(results, key=lambda result: result.message.key)
    *rows, (_, whole, _) = await connection.fetch(_RECORD, *_by_kind(results), now, len(results))
    if whole == len(results):
        return [(result, Status.SENDING) for result in results]
    was = {(row[0], row[1]): Status(row[2]) for row in rows}
    if missed := [result for result in results if result.message.key not in was]:
        await connection.execute(_OVERTAKEN, *_columns(missed), now)
    return [(result, was[key]) for result in results if (key := result.message.key) in was]


def _move(result: Result, was: Status, moves: Moves, now: datetime) -> None:
    message = result.message
    request_id = message.row.request.id
    moves.move(request_id, was, result.status)
    message.detail = result.detail
    change = (was, result.status)
    moves.transitions[request_id].append(transition(message, change, result.reason, now, result.provider_ref))
    if result.refusal is not None:
        moves.rejections[request_id].append(_rejection(result, now))
    if result.status is Status.FAILED:
        moves.ended.add(Unit(request_id, message.notification_id, message.ordinal, message.step))


def _rejection(result: Result, now: datetime) -> Rejection:
    message, refusal = result.message, result.refusal
    assert refusal is not None
    return Rejection(
        message=message_id(message.notification_id, message.address_id),
        recipient=message.recipient,
        attempt=message.row.attempt,
        channel=channel_of(message) or "",
        sender=message.sender,
        address_id=message.address_id,
        address_hash=message.hash or b"",
        final=result.again_at is None,
        text=refusal.text,
        at=now,
        reply_code=refusal.code,
        enhanced_code=refusal.enhanced,
        error=refusal.error,
        retire=isinstance(refusal, Rejected) and refusal.retire,
        domain=domain_of(message.address) if message.kind == "email" else None,
        from_domain=from_domain(message.via.account) if message.via else None,
    )


def _turns(results: Sequence[Result], now: datetime) -> dict[Turn, set[int]]:
    """Return the next attempts, and the queries about those in doubt."""
    turns: dict[Turn, set[int]] = defaultdict(set)
    for result in results:
        message, row = result.message, result.message.row
        about = row.request.id, message.step
        if result.again_at is not None:
            turns[Turn(*about, row.attempt + 1, result.reason, None, _turn(result.again_at, now))].add(message.ordinal)
        if result.ask_at is not None:
            turn = Turn(*about, row.attempt, Reason.VERIFYING, QUESTIONS, _turn(result.ask_at, now))
            turns[turn].add(message.ordinal)
    return turns


def _turn(at: datetime, now: datetime) -> datetime:
    step = min(_LONGEST_STEP_SECONDS, max(0.05, (at - now).total_seconds() / 10))
    moment = at.timestamp()
    return at + timedelta(seconds=ceil(moment / step) * step - moment)


def _by_kind(results: Sequence[Result]) -> list[Any]:
    """Pass attempt, status, reason and detail once per kind of result; most results of a chunk are of one kind."""
    kinds: dict[tuple[Any, ...], int] = {}
    places = [kinds.setdefault((r.message.row.attempt, r.status, r.reason, r.detail), len(kinds) + 1) for r in results]
    return [
        [r.message.notification_id for r in results],
        [r.message.address_id for r in results],
        places,
        [r.provider_ref for r in results],
        *map(list, zip(*kinds, strict=True)),
    ]


def _columns(results: Sequence[Result]) -> list[list[Any]]:
    return [
        [r.message.notification_id for r in results],
        [r.message.address_id for r in results],
        [r.message.row.attempt for r in results],
        [int(r.status) for r in results],
        [int(r.reason) for r in results],
        [r.provider_ref for r in results],
    ]
