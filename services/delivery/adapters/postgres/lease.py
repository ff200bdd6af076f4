"""Lease due rows from the queue, and give them back in good order."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.contracts.outcomes import Lane, Mode, OnUnknown
from services.delivery.domain.work import GiveBack, Queued, Request, WorkRow

# Rows of one group share a fate if the process dies, so a row that has seen two crashes is leased alone.
_LEASE = """
with due as materialized (
  select id, due_at, coalesce(cardinality(together), cardinality(ordinals)) as size, crashes from work
  where lane = $1 and not held and leased_until = '-infinity' and due_at <= $2
  order by due_at limit $3 for update skip locked)
, fitting as (
  select id from (select id, crashes, row_number() over turn as place, sum(size) over turn - size as before,
                         first_value(crashes) over turn as first_crashes
                  from due window turn as (order by due_at, id)) as d
  where place = 1 or (before + 1 <= $4 and first_crashes < 2 and crashes < 2))
update work w set lease = w.lease + 1, leased_until = now() + $5 * interval '1 second', calling = false
from fitting f
where w.id = f.id
returning w.id, w.lease, w.request_id, w.together, w.ordinals, w.plan_step, w.attempt, w.returns, w.crashes
"""

# An idle lane costs one statement, not a transaction.
_ANYTHING_DUE = """
select exists (select from work where lane = $1 and not held and leased_until = '-infinity' and due_at <= $2)
"""

_REQUESTS = """
select r.id, r.tenant, r.mode, r.cause_id, r.release_id, r.communication, r.subject, r.variant, r.lane,
       r.on_unknown, r.expires_at, r.traceparent, r.body, r.received_at, r.cancelled_at is not null,
       coalesce(l.active, true), r.secret
from request r left join release l on l.id = r.release_id where r.id = any($1::uuid[])
"""

# `calling` rows are not given back: a call must be recorded or recovered. Nor is a row that was given back before.
_GIVE_BACK = """
update work w set leased_until = '-infinity', due_at = b.due_at, reason = b.reason, returns = least(w.returns + 1, 100)
from unnest($1::bigint[], $2::int[], $3::timestamptz[], $4::int[]) as b (id, lease, due_at, reason)
where w.id = b.id and w.lease = b.lease and not w.calling and w.leased_until > '-infinity'
"""


async def anything_due(connection: Any, lane: int, now: datetime) -> bool:
    """Whether a lease would find something, or would have a moment ago."""
    return bool(await connection.fetchval(_ANYTHING_DUE, int(lane), now))


async def lease(connection: Any, lane: int, now: datetime, sizes: tuple[int, int], seconds: float) -> list[WorkRow]:
    """Lease due work of a lane: at most `sizes[0]` queue rows and about `sizes[1]` recipients, for `seconds`."""
    rows = await connection.fetch(_LEASE, int(lane), now, sizes[0], sizes[1], seconds)
    if not rows:
        return []
    requests = await read_requests(connection, {id_ for row in rows for id_ in row[3] or row[2:3]})
    leased: list[WorkRow] = []
    for id_, number, own, together, *rest in sorted(rows, key=lambda row: row[0]):
        queued = Queued(id_, number, shared=together is not None)
        leased += [WorkRow(n, queued, requests[r], *rest) for n, r in enumerate(together or [own], len(leased))]
    return leased


async def read_requests(connection: Any, ids: set[UUID]) -> dict[UUID, Request]:
    """Return requests with their bodies."""
    return {row[0]: _request(row) for row in await connection.fetch(_REQUESTS, list(ids))}


def _request(row: Any) -> Request:
    id_, tenant, mode, cause, release, communication, subject, variant, lane, on_unknown, expires_at, *rest = row
    traceparent, body, received_at, cancelled, release_active, secret = rest
    return Request(
        id_,
        tenant,
        Mode(mode),
        cause,
        release,
        communication,
        subject,
        variant,
        Lane(lane),
        OnUnknown(on_unknown),
        expires_at,
        traceparent,
        body,
        received_at,
        cancelled,
        release_active,
        secret,
    )


async def give_back(connection: Any, backs: Sequence[GiveBack]) -> None:
    """Reschedule rows; the ledger's sums do not change."""
    backs = sorted(backs, key=lambda back: back.row.queued.id)
    await connection.execute(
        _GIVE_BACK,
        [back.row.queued.id for back in backs],
        [back.row.queued.lease for back in backs],
        [back.due_at for back in backs],
        [int(back.reason) for back in backs],
    )
