"""Storing requests and their work rows: two statements for a whole batch."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from libs.contracts.delivery import Transition
from libs.contracts.outcomes import Status
from libs.contracts.reasons import Reason
from libs.ids import time_of
from services.delivery.adapters.postgres.settle import array_text, settle
from services.delivery.domain.accounts import Moves
from services.delivery.domain.intake import NewRequest, NewWork, chunks

# Active holds first, and locked: a lift must either see the work that we park, or be seen by us.
HOLDS = "select tenant, mode, kind, key from hold where active for share"

_STORE = """
insert into request (id, tenant, mode, cause_id, cause_kind, parent_id, release_id, communication, subject, variant,
                     lane, on_unknown, secret, expires_at, traceparent, marks, body, recipients, pending)
select *, recipients
from unnest($1::uuid[], $2::int[], $3::int[], $4::uuid[], $5::text[], $6::uuid[], $7::uuid[], $8::text[],
            $9::text[], $10::int[], $11::int[], $12::int[], $13::bool[], $14::timestamptz[], $15::text[],
            $16::bytea[], $17::bytea[], $18::int[])
  as r (id, tenant, mode, cause_id, cause_kind, parent_id, release_id, communication, subject, variant, lane,
        on_unknown, secret, expires_at, traceparent, marks, body, recipients)
on conflict do nothing returning id
"""
# A statement of its own: joined to what was stored, a batch was compared with itself row by row.
_QUEUE = """
insert into work (request_id, lane, due_at, ordinals, held, reason)
select request_id, lane, $3, ordinals::int[], held, case when held then 64 else 0 end
from unnest($1::uuid[], $2::int[], $4::text[], $5::bool[]) as w (request_id, lane, ordinals, held)
"""


async def store(connection: Any, requests: Sequence[NewRequest], now: datetime, oldest: date) -> list[UUID]:
    """Stores what is new of a batch, with its work; requests older than the ledger end here. The ids stored."""
    requests = sorted({request.id: request for request in requests}.values(), key=lambda request: request.id)
    holds = {tuple(row) for row in await connection.fetch(HOLDS)}
    stored = {row[0] for row in await connection.fetch(_STORE, *_columns(requests))}
    new = [request for request in requests if request.id in stored]
    ended = [request for request in new if day_of(request.command.cause_id) < oldest]
    late = {request.id for request in ended}
    if work := [chunk for request in new if request.id not in late for chunk in chunks(request)]:
        held = {request.id for request in new if _held(request, holds)}
        await connection.execute(_QUEUE, *_work_columns(work, now, held))
    if ended:
        await _expire(connection, ended, now)
    return [request.id for request in new]


def day_of(cause: UUID) -> date:
    """The day of the ledger that a cause's messages stand in."""
    return time_of(cause).date()


def oldest_day(now: datetime, retention_days: int) -> date:
    """The first day that the ledger keeps."""
    return (now - timedelta(days=retention_days)).date()


def is_held(request: tuple[int, int, UUID, UUID], holds: set[tuple[Any, ...]]) -> bool:
    """Whether a hold on the cause, release or tenant stops a request (tenant, mode, cause, release)."""
    if not holds:
        return False
    tenant, mode, cause, release = request
    targets = (("cause", str(cause)), ("release", str(release)), ("tenant", str(tenant)))
    return any((tenant, mode, kind, key) in holds for kind, key in targets)


def _held(request: NewRequest, holds: set[tuple[Any, ...]]) -> bool:
    return is_held((request.tenant, request.mode, request.command.cause_id, request.command.release_id), holds)


def _columns(requests: Sequence[NewRequest]) -> list[list[Any]]:
    commands = [request.command for request in requests]
    return [
        [request.id for request in requests],
        [request.tenant for request in requests],
        [request.mode for request in requests],
        [command.cause_id for command in commands],
        [command.cause_kind for command in commands],
        [command.parent_id for command in commands],
        [command.release_id for command in commands],
        [command.communication for command in commands],
        [request.subject for request in requests],
        [command.variant for command in commands],
        [int(request.lane) for request in requests],
        [int(request.on_unknown) for request in requests],
        [command.secret for command in commands],
        [command.expires_at for command in commands],
        [request.traceparent for request in requests],
        [request.marks for request in requests],
        [request.body for request in requests],
        [len(command.recipients) for command in commands],
    ]


def _work_columns(work: Sequence[NewWork], due_at: datetime, held: set[UUID]) -> list[Any]:
    return [
        [chunk.request_id for chunk in work],
        [chunk.lane for chunk in work],
        due_at,
        [array_text(chunk.ordinals) for chunk in work],
        [chunk.request_id in held for chunk in work],
    ]


async def _expire(connection: Any, requests: Sequence[NewRequest], now: datetime) -> None:
    """A cause older than the ledger: nothing could be proved about it any more, so nothing is sent."""
    moves = Moves()
    for request in requests:
        recipients = request.command.recipients
        moves.move(request.id, Status.PENDING, Status.SKIPPED, len(recipients))
        moves.transitions[request.id] = [
            Transition(
                notification_id=recipient.notification_id,
                address_id=0,
                recipient=recipient.key,
                attempt=1,
                was=Status.PENDING.word,
                is_=Status.SKIPPED.word,
                reason=Reason.EXPIRED.word,
                at=now,
            )
            for recipient in recipients
        ]
    await settle(connection, moves, now)
