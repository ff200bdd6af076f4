"""Decisions of people about parked addresses: the provider is believed, or not."""

from typing import Any

from libs.contracts.audit import ActionRecorded
from libs.contracts.outcomes import Mode, Scope
from libs.contracts.reasons import Reason
from libs.messaging.outbox import Outgoing, append
from services.bounce.adapters.postgres.lifting import count_changes
from services.bounce.adapters.postgres.parking import conclude
from services.bounce.adapters.postgres.suppressions import changed, place_all, to_cause
from services.bounce.domain.parking import ParkState
from services.bounce.domain.suppressions import Evidence, SuppressionKey
from services.bounce.domain.undoing import Undo
from services.bounce.ports import Parking

_BATCH = 1_000
_LOCK = """
select * from parked where breaker_id = $1 and tenant = $2 and mode = $3 and state = 0
order by tenant, mode, address_hash, scope limit $4 for update
"""
_BELIEVE = "update breaker set real = true where id = $1 and not real"


async def release_batch(connection: Any, wanted: Parking, undo: Undo) -> int:
    """Bar a batch of parked addresses, with its audit entry; return how many."""
    await connection.execute(_BELIEVE, wanted.breaker)
    rows = await _locked(connection, wanted)
    placed = await place_all(connection, [_evidence(row, undo) for row in rows])
    await _conclude(connection, rows, ParkState.RELEASED, undo)
    await count_changes(connection, placed.began, undo.at, suppressed=1)
    await append(connection, [*map(changed, placed.all), *_told("breaker.release", rows, wanted, undo)])
    return len(rows)


async def drop_batch(connection: Any, wanted: Parking, undo: Undo) -> int:
    """Drop a batch of parked addresses, with its audit entry; return how many."""
    rows = await _locked(connection, wanted)
    await _conclude(connection, rows, ParkState.DROPPED, undo)
    await append(connection, _told("breaker.drop", rows, wanted, undo))
    return len(rows)


async def _locked(connection: Any, wanted: Parking) -> list[Any]:
    found: list[Any] = await connection.fetch(_LOCK, wanted.breaker, wanted.tenant, int(wanted.mode), _BATCH)
    return found


async def _conclude(connection: Any, rows: list[Any], state: ParkState, undo: Undo) -> None:
    await conclude(connection, [row["id"] for row in rows], state, (undo.at, undo.actor, undo.note))


def _evidence(row: Any, undo: Undo) -> Evidence:
    # a person's decision, so it has that time: an address lifted in the meantime is barred all the same
    key = SuppressionKey(row["tenant"], Mode(row["mode"]), row["address_hash"], Scope(row["scope"]))
    about = (row["bounce_id"], row["message"], row["recipient"], undo.note)
    return Evidence(key, Reason(row["reason"]), undo.at, undo.actor, *about, cause=to_cause(row))


def _told(action: str, rows: list[Any], wanted: Parking, undo: Undo) -> list[Outgoing]:
    if not rows:
        return []
    event = ActionRecorded(
        actor=undo.actor,
        action=action,
        object=str(wanted.breaker),
        at=undo.at,
        after={"count": len(rows), "provider": rows[0]["provider"]},
        note=undo.note,
    )
    return [Outgoing(event, str(wanted.breaker), wanted.tenant, wanted.mode, source="bounce")]
