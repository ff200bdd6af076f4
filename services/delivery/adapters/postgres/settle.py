"""The end of every transaction that moves messages: next steps, accounts, settlement, and their events.

Locks are taken in one order everywhere: hold, work, throttle, message, attempt, request; rows by primary key.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.contracts.delivery import (
    Account,
    MessageRecorded,
    MessageRejected,
    RequestAdjusted,
    RequestSettled,
)
from libs.contracts.envelope import Event
from libs.messaging.outbox import Outgoing, append
from services.delivery.adapters.postgres.counting import note
from services.delivery.domain.accounts import Moves, Unit

# A separate statement: only a snapshot taken after the lock sees what earlier transactions did.
_LOCK = "select id from request where id = any($1::uuid[]) order by id for update"

_ENDED = """
select u.request_id, u.notification_id, u.ordinal, u.step
from unnest($1::uuid[], $2::uuid[], $3::int[], $4::int[]) as u (request_id, notification_id, ordinal, step)
join request r on r.id = u.request_id and r.body is not null
join release l on l.id = r.release_id and l.steps > u.step + 1
where not exists (select from message m where m.notification_id = u.notification_id and m.request_id = u.request_id
                  and (m.plan_step > u.step or (m.plan_step = u.step and m.status not in (3, 5))))
  and not exists (select from work w where w.request_id = u.request_id and w.plan_step > u.step
                  and u.ordinal = any (w.ordinals))
"""

_NEXT_STEP = """
insert into work (request_id, lane, due_at, ordinals, plan_step)
select r.id, r.lane, $4, n.ordinals::int[], n.step
from unnest($1::uuid[], $2::int[], $3::text[]) as n (request_id, step, ordinals) join request r on r.id = n.request_id
"""

# A secret body goes when everything is final. What was sent may still come back as undelivered, so that the plan's next
# step needs it: with further steps it stays until the message expires, and `partitions.py` wipes it.
_MOVE = """
update request r set extra = r.extra + d.extra, pending = r.pending + d.pending, sent = r.sent + d.sent,
  failed = r.failed + d.failed, skipped = r.skipped + d.skipped, suppressed = r.suppressed + d.suppressed,
  unknown = r.unknown + d.unknown,
  settled_at = case when r.settled_at is null and r.pending + d.pending = 0
    and not exists (select from work w where w.request_id = r.id) then $9 else r.settled_at end,
  body = case when r.secret and r.pending + d.pending = 0 and r.unknown + d.unknown = 0
    and not exists (select from work w where w.request_id = r.id)
    and not (r.sent + d.sent > 0 and r.expires_at > $9
             and exists (select from release l where l.id = r.release_id and l.steps > 1)) then null else r.body end
from (select id, ($2::int[])[kind] as extra, ($3::int[])[kind] as pending, ($4::int[])[kind] as sent,
        ($5::int[])[kind] as failed, ($6::int[])[kind] as skipped, ($7::int[])[kind] as suppressed,
        ($8::int[])[kind] as unknown
      from unnest($1::uuid[], $10::int[]) as m (id, kind)) as d
where r.id = d.id
returning r.id, r.recipients, r.extra, r.pending, r.sent, r.failed, r.skipped, r.suppressed, r.unknown,
  old.settled_at is null and new.settled_at is not null as settled, old.settled_at is not null as adjusted
"""

_HEADS = """
select id, tenant, mode, cause_id, release_id, communication, subject, traceparent from request
where id = any($1::uuid[])
"""


@dataclass(frozen=True, slots=True)
class Head:
    """What events say about a request."""

    tenant: int
    mode: int
    cause_id: UUID
    release_id: UUID
    communication: str
    subject: str | None
    traceparent: str | None


async def settle(connection: Any, moves: Moves, now: datetime, heads: Mapping[UUID, Any] | None = None) -> None:
    """Apply the moves, send ended recipients to their next step, settle requests, and write the outbox.

    `heads` holds requests that are already known (a Request or Head each)."""
    ids = moves.requests()
    if not ids:
        return
    await connection.execute(_LOCK, ids)
    if moves.ended:
        await _next_steps(connection, moves, now)
    kinds: dict[tuple[int, ...], int] = {}  # most accounts of a batch move alike
    places = [kinds.setdefault(tuple(moves.deltas[id_]), len(kinds) + 1) for id_ in ids]
    rows = await connection.fetch(_MOVE, ids, *map(list, zip(*kinds, strict=True)), now, places)
    known = heads if heads is not None else await read_heads(connection, ids)
    await append(connection, _events(moves, rows, known, now))


def array_text(items: Iterable[int | UUID]) -> str:
    """Encode an int[] or uuid[] inside a text[]: arrays of arrays of different lengths cannot be passed."""
    return "{" + ",".join(map(str, items)) + "}"


async def read_heads(connection: Any, ids: Any) -> dict[UUID, Head]:
    """Return what events need to know about these requests."""
    return {row[0]: Head(*row[1:]) for row in await connection.fetch(_HEADS, list(ids))}


async def _next_steps(connection: Any, moves: Moves, now: datetime) -> None:
    units = sorted(moves.ended)
    rows = await connection.fetch(
        _ENDED,
        [unit.request_id for unit in units],
        [unit.notification_id for unit in units],
        [unit.ordinal for unit in units],
        [unit.step for unit in units],
    )
    steps: dict[tuple[UUID, int], list[int]] = defaultdict(list)
    for unit in sorted(Unit(*row) for row in rows):
        steps[unit.request_id, unit.step + 1].append(unit.ordinal)
        moves.add(unit.request_id, 1)
    if steps:
        request_ids, numbers = zip(*steps, strict=True)
        await connection.execute(_NEXT_STEP, request_ids, numbers, [array_text(n) for n in steps.values()], now)


def _events(moves: Moves, rows: Any, heads: Mapping[UUID, Any], now: datetime) -> list[Outgoing]:
    events: list[Outgoing] = []
    for row in rows:
        id_ = row[0]
        head = heads[id_]

        def say(event: Event, head: Any = head) -> None:
            key = str(head.cause_id)
            events.append(Outgoing(event, key, head.tenant, head.mode, head.subject, head.traceparent))

        about = (id_, head.cause_id, head.release_id, head.communication)
        if transitions := moves.transitions.get(id_):
            note(transitions)
            say(_recorded(about, tuple(transitions)))
        if rejections := moves.rejections.get(id_):
            say(MessageRejected(request_id=id_, rejections=tuple(rejections), communication=head.communication))
        if row["settled"]:
            say(_settled(about, _account(row), now))
        elif row["adjusted"] and any(moves.deltas[id_]):
            say(RequestAdjusted(request_id=id_, cause_id=head.cause_id, account=_account(row), at=now))
    return events


def _recorded(about: tuple[UUID, UUID, UUID, str], transitions: Any) -> MessageRecorded:
    request, cause, release, communication = about
    return MessageRecorded(
        request_id=request,
        cause_id=cause,
        release_id=release,
        communication=communication,
        transitions=transitions,
    )


def _settled(about: tuple[UUID, UUID, UUID, str], account: Account, now: datetime) -> RequestSettled:
    request, cause, release, communication = about
    return RequestSettled(
        request_id=request,
        cause_id=cause,
        release_id=release,
        communication=communication,
        account=account,
        at=now,
    )


def _account(row: Any) -> Account:
    return Account(
        recipients=row[1],
        extra=row[2],
        pending=row[3],
        sent=row[4],
        failed=row[5],
        skipped=row[6],
        suppressed=row[7],
        unknown=row[8],
    )
