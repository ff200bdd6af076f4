"""Bars placed on a provider's word shortly before its breaker opened, or later by a process that had not seen it."""

from datetime import datetime
from typing import Any

from libs.messaging.outbox import append
from libs.storage.database import Database
from libs.telemetry import get_logger
from services.bounce.adapters.postgres.breakers import Tripped
from services.bounce.adapters.postgres.lifting import Lift, count_changes, lift_all
from services.bounce.adapters.postgres.parking import park
from services.bounce.adapters.postgres.suppressions import changed, to_suppression
from services.bounce.domain.policy import Decision
from services.bounce.domain.suppressions import Evidence, Suppression

_BATCH = 1_000
_PLACED = """
select * from suppression where active and mode = $1 and provider = $2 and changed_at >= $3 and actor = 'system'
  and policy not in ('', 'complaint', 'domain-check')
order by tenant, mode, address_hash, scope limit $4 for update
"""
_PARKED = "update bounce set decision = $2 where id = any($1::uuid[])"

log = get_logger(__name__)


async def reexamine(database: Database, breaker: Tripped, now: datetime) -> int:
    """Lift what rests on doubtful facts, and park it; return how many. Repeatable at any time."""
    count = 0
    while True:
        async with database.transaction() as connection:
            arguments = (int(breaker.mode), breaker.provider, breaker.doubtful_from, _BATCH)
            found = [to_suppression(row) for row in await connection.fetch(_PLACED, *arguments)]
            await _park(connection, breaker, found, now)
        count += len(found)
        if len(found) < _BATCH:
            break
    if count:
        log.warning("suppressions_parked", provider=breaker.provider, mode=breaker.mode.word, count=count)
    return count


async def _park(connection: Any, breaker: Tripped, found: list[Suppression], now: datetime) -> None:
    if not found:
        return
    note = f"parked: {breaker.provider} is not believed at the moment"
    lifted = await lift_all(connection, found, Lift(now, "system", note))
    await park(connection, [(breaker.id, _evidence(item)) for item in found])
    ids = [item.bounce_id for item in found if item.bounce_id]
    await connection.execute(_PARKED, ids, int(Decision.PARKED))
    await count_changes(connection, lifted, now, lifted=1, parked=1)
    await append(connection, [changed(item) for item in lifted])


def _evidence(item: Suppression) -> Evidence:
    return Evidence(
        item.key,
        item.reason,
        item.changed_at,
        "system",
        item.bounce_id,
        item.message,
        item.recipient,
        cause=item.cause,
    )
