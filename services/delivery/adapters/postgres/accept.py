"""Store requests and their work rows: two statements for a whole batch."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID

from libs.contracts.delivery import Transition
from libs.contracts.outcomes import Status
from libs.contracts.reasons import Reason
from libs.ids import time_of
from libs.keyring import Keyring
from libs.storage.erasures import erased_among
from libs.storage.new_rows import insert
from services.delivery.adapters.postgres.settle import array_text, settle
from services.delivery.domain.accounts import Moves
from services.delivery.domain.intake import NewRequest, NewWork, chunks, owners_of, shared, without_erased

_EPOCH = date(1970, 1, 1).toordinal()
_DAY_MILLISECONDS = 86_400_000

# Active holds first, and locked: a lift must either see the work that we park, or be seen by us.
HOLDS = "select tenant, mode, kind, key from hold where active for share"

# Per request only what differs; values that many share are passed once and looked up by index.
_STORE = insert("""
insert into request (id, cause_id, subject, expires_at, traceparent, marks, body, recipients, pending, tenant, mode,
                     cause_kind, parent_id, release_id, communication, variant, lane, on_unknown, secret)
select id, cause_id, subject, expires_at, traceparent, marks, body, recipients, recipients, ($10::int[])[kind],
  ($11::int[])[kind], ($12::text[])[kind], ($13::uuid[])[kind], ($14::uuid[])[kind], ($15::text[])[kind],
  ($16::int[])[kind], ($17::int[])[kind], ($18::int[])[kind], ($19::bool[])[kind]
from unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[], $5::text[], $6::bytea[], $7::bytea[], $8::int[],
            $9::int[])
  as r (id, cause_id, subject, expires_at, traceparent, marks, body, recipients, kind)
{unless} returning id
""")
# A statement of its own: in a join with the stored rows, Postgres compared a batch with itself row by row.
_QUEUE = """
insert into work (request_id, lane, due_at, ordinals, held, reason, together)
select request_id, lane, $3, ordinals::int[], held, case when held then 64 else 0 end, together::uuid[]
from unnest($1::uuid[], $2::int[], $4::text[], $5::bool[], $6::text[])
  as w (request_id, lane, ordinals, held, together)
"""


async def without_erased_recipients(
    connection: Any, requests: Sequence[NewRequest], keyring: Keyring
) -> Sequence[NewRequest]:
    """Return the requests without the recipients who were erased while these were on their way. Must be the first
    statement of its transaction."""
    oldest = min(request.command.cause_id for request in requests)
    owners = (owner for request in requests for owner in owners_of(request))
    erased = await erased_among(connection, owners, since=time_of(oldest))
    return [without_erased(request, erased, keyring) for request in requests] if erased else requests


async def store(connection: Any, requests: Sequence[NewRequest], now: datetime, oldest: date, look: bool) -> list[UUID]:
    """Store the new requests of a batch, with their work, and return their ids. Requests older than the ledger end
    here. `look`: some of them may already exist."""
    requests = sorted({request.id: request for request in requests}.values(), key=lambda request: request.id.int)
    holds = {tuple(row) for row in await connection.fetch(HOLDS)}
    stored = {row[0] for row in await connection.fetch(_STORE[look], *_columns(requests))}
    new = [request for request in requests if request.id in stored]
    ended = [request for request in new if day_of(request.command.cause_id) < oldest]
    late = {request.id for request in ended}
    held = {request.id for request in new if _held(request, holds)}
    if work := _work([request for request in new if request.id not in late], held):
        await connection.execute(_QUEUE, *_work_columns(work, now, held))
    if ended:
        await _expire(connection, ended, now)
    return [request.id for request in new]


def day_of(cause: UUID) -> date:
    """Return the ledger day that holds a cause's messages."""
    return date.fromordinal(_EPOCH + (cause.int >> 80) // _DAY_MILLISECONDS)


def oldest_day(now: datetime, retention_days: int) -> date:
    """Return the oldest day in the ledger."""
    return (now - timedelta(days=retention_days)).date()


def is_held(request: tuple[int, int, UUID, UUID], holds: set[tuple[Any, ...]]) -> bool:
    """Whether a hold on the cause, release or tenant stops a request (tenant, mode, cause, release)."""
    if not holds:
        return False
    tenant, mode, cause, release = request
    targets = (("cause", str(cause)), ("release", str(release)), ("tenant", str(tenant)))
    return any((tenant, mode, kind, key) in holds for kind, key in targets)


def _work(requests: Sequence[NewRequest], held: set[UUID]) -> list[NewWork]:
    """Build the work rows. A held request gets rows of its own, so that they can be parked."""
    single = [request for request in requests if len(request.command.recipients) == 1 and request.id not in held]
    if len(single) == 1:
        single = []
    alone = {request.id for request in single}
    own = [chunk for request in requests if request.id not in alone for chunk in chunks(request)]
    return [*own, *shared(single)]


def _held(request: NewRequest, holds: set[tuple[Any, ...]]) -> bool:
    return is_held((request.tenant, request.mode, request.command.cause_id, request.command.release_id), holds)


def _columns(requests: Sequence[NewRequest]) -> list[list[Any]]:
    kinds: dict[tuple[Any, ...], int] = {}
    places = [kinds.setdefault(_kind(request), len(kinds) + 1) for request in requests]
    return [
        [request.id for request in requests],
        [request.command.cause_id for request in requests],
        [request.subject for request in requests],
        [request.command.expires_at for request in requests],
        [request.traceparent for request in requests],
        [request.marks for request in requests],
        [request.body for request in requests],
        [len(request.command.recipients) for request in requests],
        places,
        *map(list, zip(*kinds, strict=True)),
    ]


def _kind(request: NewRequest) -> tuple[Any, ...]:
    c = request.command
    about = (c.cause_kind, c.parent_id, c.release_id, c.communication, c.variant)
    return request.tenant, request.mode, *about, int(request.lane), int(request.on_unknown), c.secret


def _work_columns(work: Sequence[NewWork], due_at: datetime, held: set[UUID]) -> list[Any]:
    return [
        [chunk.request_id for chunk in work],
        [chunk.lane for chunk in work],
        due_at,
        [_in_order(chunk.ordinals) for chunk in work],
        [chunk.request_id in held for chunk in work],
        [array_text(chunk.together) if chunk.together else None for chunk in work],
    ]


@lru_cache(maxsize=64)
def _in_order(ordinals: range) -> str:
    """Full chunks are always the same: from the first recipient on, and from the 501st."""
    return array_text(ordinals)


async def _expire(connection: Any, requests: Sequence[NewRequest], now: datetime) -> None:
    """End requests whose cause is older than the ledger: nothing could be proved about them, so nothing is sent."""
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
