"""Further work for recipients: one queue row per request, lane, step, attempt and turn."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from libs.contracts.reasons import Reason
from services.delivery.adapters.postgres.settle import array_text

_QUEUE = """
insert into work (request_id, lane, due_at, ordinals, plan_step, attempt, reason, returns)
select r.id, coalesce(w.lane, r.lane), w.due_at, w.ordinals::int[], w.plan_step, w.attempt, w.reason, w.returns
from unnest($1::uuid[], $2::int[], $3::int[], $4::int[], $5::int[], $6::timestamptz[], $7::int[], $8::text[])
  as w (request_id, plan_step, attempt, reason, lane, due_at, returns, ordinals)
join request r on r.id = w.request_id
"""


class Turn(NamedTuple):
    """When recipients have their turn, and what for. Lane None: their request's."""

    request_id: UUID
    step: int
    attempt: int
    reason: Reason
    lane: int | None
    due_at: datetime
    returns: int = 0


async def queue_turns(connection: Any, turns: Mapping[Turn, Iterable[int]]) -> None:
    """Insert a work row for each turn, with its recipients' ordinals."""
    if turns:
        ordinals = [array_text(sorted(who)) for who in turns.values()]
        await connection.execute(_QUEUE, *map(list, zip(*turns, strict=True)), ordinals)
