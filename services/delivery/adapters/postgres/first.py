"""First attempts: inserting the message row is the claim."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.contracts.outcomes import Status
from libs.contracts.reasons import Reason
from libs.storage.new_rows import insert
from services.delivery.adapters.postgres.transitions import transition
from services.delivery.domain.accounts import Moves, Unit
from services.delivery.domain.work import Message

# The claiming statement looks up the suppression itself, so nothing can come between the check and the claim.
_INSERT = insert("""
with claimed as (
insert into message (notification_id, address_id, request_id, recipient_id, ordinal, claimed_at, recorded_at, status,
                     reason, channel, sender, plan_step, variant, locale, attempt, detail, content_digest, address_hash)
select i.notification_id, i.address_id, r.id, i.recipient_id, i.ordinal, $1::timestamptz,
       case when ($10::int[])[i.kind] <> 1 or s.reason is not null then $1::timestamptz end,
       case when ($10::int[])[i.kind] = 1 and s.reason is not null then 5 else ($10::int[])[i.kind] end,
       case when ($10::int[])[i.kind] = 1 and s.reason is not null then s.reason else ($11::int[])[i.kind] end,
       ($12::int[])[i.kind], ($13::int[])[i.kind], ($14::int[])[i.kind], r.variant, ($15::text[])[i.kind], 1,
       ($16::text[])[i.kind], i.digest, i.hash
from unnest($2::uuid[], $3::bigint[], $4::bigint[], $5::int[], $6::int[], $7::bytea[], $8::bytea[], $9::uuid[])
  as i (notification_id, address_id, recipient_id, ordinal, kind, digest, hash, request_id)
join request r on r.id = i.request_id
left join lateral (
  select b.reason from suppression b where b.tenant = r.tenant and b.mode = r.mode and b.address_hash = i.hash
    and b.active and (b.scope = 0 or ($17::bool[])[i.kind]) order by b.scope limit 1) as s on true
{unless}
returning notification_id, address_id, status, reason, request_id)
, whole as (select count(*) filter (where status = 1) as calls from claimed)
select c.* from claimed c, whole where calls <> $18
union all select null, calls, null, null, null from whole
""")
_THERE = """
select m.notification_id, m.address_id, m.request_id
from unnest($1::uuid[], $2::bigint[]) as k (notification_id, address_id)
join message m on m.notification_id = k.notification_id and m.address_id = k.address_id
"""


async def insert_first(
    connection: Any, messages: Sequence[Message], moves: Moves, now: datetime, look: bool
) -> list[Message]:
    """Insert the rows and move the accounts; return the messages that may be called. `look`: some rows may already
    exist."""
    messages = sorted(messages, key=lambda message: message.key)
    if len({(m.row.request.id, m.ordinal) for m in messages}) < len(messages):
        _add_further(messages, moves)
    *rows, (_, whole, *_) = await connection.fetch(_INSERT[look], *_columns(messages, now), len(messages))
    if whole == len(messages):
        return messages
    # two requests in one group may name the same message: only one of them gets the row
    claimed = {(row[0], row[1], row[4]): row for row in rows}
    calls: list[Message] = []
    late: list[Message] = []
    for message in messages:
        row = claimed.pop((*message.key, message.row.request.id), None)
        if row is None:
            late.append(message)
            continue
        if row[2] == Status.SENDING:
            calls.append(message)
            continue
        message.status, message.reason = Status(row[2]), Reason(row[3])
        _refused(message, moves, now)
    if late:
        await _duplicates(connection, late, moves, now)
    return calls


def _add_further(messages: Sequence[Message], moves: Moves) -> None:
    """Count addresses beyond a recipient's first."""
    for (request_id, _), count in Counter((m.row.request.id, m.ordinal) for m in messages).items():
        if count > 1:
            moves.add(request_id, count - 1)


def _refused(message: Message, moves: Moves, now: datetime) -> None:
    """Handle a row that was final at once: our rule said no, or the address is suppressed."""
    request_id = message.row.request.id
    moves.move(request_id, Status.PENDING, message.status)
    moves.transitions[request_id].append(transition(message, (Status.PENDING, message.status), message.reason, now))
    if message.status in (Status.SUPPRESSED, Status.FAILED) and message.address_id:
        moves.ended.add(Unit(request_id, message.notification_id, message.ordinal, message.step))


async def _duplicates(connection: Any, messages: Sequence[Message], moves: Moves, now: datetime) -> None:
    """Another request already has the row: end the unit without one, naming that request."""
    rows = await connection.fetch(_THERE, [m.notification_id for m in messages], [m.address_id for m in messages])
    owners: dict[tuple[UUID, int], UUID] = {(row[0], row[1]): row[2] for row in rows}
    for message in messages:
        request_id = message.row.request.id
        message.detail = str(owners[message.key])
        moves.move(request_id, Status.PENDING, Status.SKIPPED)
        change = (Status.PENDING, Status.SKIPPED)
        moves.transitions[request_id].append(transition(message, change, Reason.DUPLICATE, now))


def _columns(messages: Sequence[Message], now: datetime) -> list[Any]:
    """Pass per message only what differs; the rest is passed once per kind of message and looked up by index."""
    kinds: dict[tuple[Any, ...], int] = {}
    places = [kinds.setdefault(_kind(m), len(kinds) + 1) for m in messages]
    return [
        now,
        [m.notification_id for m in messages],
        [m.address_id for m in messages],
        [m.recipient_id for m in messages],
        [m.ordinal for m in messages],
        places,
        [m.digest for m in messages],
        [m.hash for m in messages],
        [m.row.request.id for m in messages],
        *map(list, zip(*kinds, strict=True)),
    ]


def _kind(m: Message) -> tuple[Any, ...]:
    status, reason = m.status, m.reason
    return (status, reason, m.channel or 0, m.sender, m.step, m.locale, m.detail, m.marketing)
