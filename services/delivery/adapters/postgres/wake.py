"""Later attempts: wake only rows that are pending or unknown at the previous attempt.

The same statement copies the superseded attempt to `attempt`. An unknown message that may not be called again (no
address any more, suppressed meanwhile, a communication without `resend`) stays unknown: nobody knows that it was not
sent.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.contracts.delivery import Transition
from libs.contracts.outcomes import Channel, Status
from libs.contracts.reasons import Reason
from services.delivery.adapters.postgres.transitions import transition
from services.delivery.domain.accounts import Moves, Unit
from services.delivery.domain.work import Message, Rest

_WAKE = """
with woken as (
  update message m set
    status = case when s.reason is not null then 5 else i.status end,
    reason = case when s.reason is not null then s.reason else i.reason end,
    attempt = case when i.status = 1 and s.reason is null then i.attempt else m.attempt end,
    claimed_at = case when i.status = 1 and s.reason is null then $13::timestamptz else m.claimed_at end,
    recorded_at = case when i.status = 1 and s.reason is null then null else $13::timestamptz end,
    provider_ref = null, sender = i.sender, locale = i.locale, content_digest = i.digest, detail = i.detail
  from unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::int[], $5::int[], $6::int[], $7::int[], $8::text[],
              $9::bytea[], $10::bytea[], $11::bool[], $12::text[])
    as i (notification_id, address_id, request_id, attempt, status, reason, sender, locale, digest, hash, marketing,
          detail)
  join request r on r.id = i.request_id
  left join lateral (
    select b.reason from suppression b where i.status = 1 and b.tenant = r.tenant and b.mode = r.mode
      and b.address_hash = i.hash and b.active and (b.scope = 0 or i.marketing) order by b.scope limit 1) as s on true
  where m.notification_id = i.notification_id and m.address_id = i.address_id and m.request_id = i.request_id
    and m.attempt = i.attempt - 1
    and (m.status = 0 or (m.status = 6 and r.on_unknown = 1 and i.status = 1 and s.reason is null))
  returning m.notification_id, m.address_id, new.status, new.reason, old.status as was, old.attempt as superseded,
            old.reason as old_reason, old.provider_ref as old_ref, old.recorded_at as old_at, i.attempt as wanted)
, copied as (
  insert into attempt (notification_id, address_id, attempt, status, reason, provider_ref, recorded_at)
  select notification_id, address_id, superseded, was, old_reason, old_ref, old_at from woken where status = 1
  order by 1, 2 on conflict do nothing)
select notification_id, address_id, status, reason, was, wanted from woken
"""

_END = """
update message m set status = 4, reason = e.reason, recorded_at = $5
from unnest($1::uuid[], $2::uuid[], $3::int[], $4::int[]) as e (notification_id, request_id, attempt, reason)
where m.notification_id = e.notification_id and m.request_id = e.request_id and m.attempt = e.attempt - 1
  and m.status = 0
returning m.notification_id, m.address_id, m.request_id, m.attempt, m.channel, m.sender, m.plan_step, m.locale,
          m.reason
"""


async def wake(
    connection: Any, woken: tuple[Sequence[Message], Sequence[Rest]], moves: Moves, now: datetime
) -> list[Message]:
    """Wake rows and end those left over; return the messages that may be called."""
    messages, rest = woken
    calls = await _wake(connection, sorted(messages, key=lambda m: m.key), moves, now) if messages else []
    if rest:
        await end(connection, rest, moves, now)
    return calls


async def _wake(connection: Any, messages: Sequence[Message], moves: Moves, now: datetime) -> list[Message]:
    rows = await connection.fetch(_WAKE, *_columns(messages), now)
    # rows of one group may want the same message, for the same attempt or another: only one of them gets it
    woken = {(row[0], row[1], row[5]): row for row in rows}
    calls: list[Message] = []
    for message in messages:
        row = woken.pop((*message.key, message.row.attempt), None)
        if row is None:
            continue
        request_id = message.row.request.id
        status, reason, was = Status(row[2]), Reason(row[3]), Status(row[4])
        message.status, message.reason, message.was = status, reason, was
        moves.move(request_id, was, status)
        if status is Status.SENDING:
            calls.append(message)
        if status is not Status.SENDING or was is Status.UNKNOWN:
            moves.transitions[request_id].append(transition(message, (was, status), reason, now))
        if status is Status.SUPPRESSED:
            moves.ended.add(Unit(request_id, message.notification_id, message.ordinal, message.step))
    return calls


async def end(connection: Any, rest: Sequence[Rest], moves: Moves, now: datetime) -> None:
    """End these recipients' pending rows that were not woken as skipped, each with its reason."""
    rest = sorted(rest, key=lambda item: item.notification_id)
    recipients: dict[UUID, str] = {item.notification_id: item.recipient for item in rest}
    rows = await connection.fetch(
        _END,
        [item.notification_id for item in rest],
        [item.row.request.id for item in rest],
        [item.row.attempt for item in rest],
        [int(item.reason) for item in rest],
        now,
    )
    for notification, address, request, attempt, channel, sender, step, locale, reason in rows:
        moves.move(request, Status.PENDING, Status.SKIPPED)
        moves.transitions[request].append(
            Transition(
                notification_id=notification,
                address_id=address,
                recipient=recipients[notification],
                attempt=attempt,
                was=Status.PENDING.word,
                is_=Status.SKIPPED.word,
                reason=Reason(reason).word,
                at=now,
                channel=Channel(channel).word if channel else None,
                sender=sender,
                step=step,
                locale=locale,
            )
        )


def _columns(messages: Sequence[Message]) -> list[list[Any]]:
    return [
        [m.notification_id for m in messages],
        [m.address_id for m in messages],
        [m.row.request.id for m in messages],
        [m.row.attempt for m in messages],
        [int(m.status) for m in messages],
        [int(m.reason) for m in messages],
        [m.sender for m in messages],
        [m.locale for m in messages],
        [m.digest for m in messages],
        [m.hash for m in messages],
        [m.marketing for m in messages],
        [m.detail for m in messages],
    ]
