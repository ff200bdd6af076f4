"""Actions of people: bar an address, lift a suppression."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from uuid import UUID

from libs.auth import Principal
from libs.contracts.audit import ActionRecorded
from libs.contracts.outcomes import Scope
from libs.contracts.reasons import Reason
from libs.errors import NotFound
from libs.ids import uuid7
from libs.telemetry import get_logger
from services.bounce.domain.suppressions import Evidence, Suppression, SuppressionKey, lift
from services.bounce.domain.undoing import Selection, Undo, Undone
from services.bounce.handlers.deps import Bounce
from services.bounce.ports import BreakerQuery, Parking

log = get_logger(__name__)


async def suppress_by_hand(
    deps: Bounce, principal: Principal, address_hash: bytes, scope: Scope, note: str
) -> Suppression:
    """Bar an address on a person's word."""
    now = deps.clock()
    key = SuppressionKey(principal.tenant, principal.mode, address_hash, scope)
    action = ActionRecorded(
        actor=principal.actor,
        action="suppression.place",
        object=address_hash.hex()[:16],
        at=now,
        after={"scope": scope.word, "active": True},
        note=note,
    )
    return await deps.suppressions.place(
        Evidence(key, Reason.SUPPRESSED_MANUAL, now, principal.actor, note=note), action
    )


async def lift_suppression(deps: Bounce, principal: Principal, id: UUID, note: str) -> Suppression:
    """End a suppression. Raises NotFound, or Conflict if it is not active."""
    if await deps.reads.suppression(principal.tenant, principal.mode, id) is None:
        raise NotFound(f"There is no suppression {id}; `depesche suppressions list` lists them.")
    now = deps.clock()

    def change(current: Suppression) -> tuple[Suppression, ActionRecorded]:
        lifted = lift(current, at=now, actor=principal.actor, note=note)
        action = ActionRecorded(
            actor=principal.actor,
            action="suppression.lift",
            object=str(id),
            at=now,
            before={"active": True, "version": current.version},
            after={"active": False, "version": lifted.version},
            note=note,
        )
        return lifted, action

    return await deps.suppressions.lift(principal.tenant, principal.mode, id, change)


async def release_parked(deps: Bounce, principal: Principal, breaker: UUID, note: str) -> int:
    """Believe the provider: bar what its breaker has parked. Return how many."""
    return await _decide(deps, principal, breaker, note, deps.breakers.release)


async def drop_parked(deps: Bounce, principal: Principal, breaker: UUID, note: str) -> int:
    """Do not believe the provider: drop what its breaker has parked. Return how many."""
    return await _decide(deps, principal, breaker, note, deps.breakers.drop)


async def _decide(
    deps: Bounce, principal: Principal, breaker: UUID, note: str, batch: Callable[[Parking, Undo], Awaitable[int]]
) -> int:
    wanted = Parking(principal.tenant, principal.mode, breaker)
    undo = Undo(breaker, deps.clock(), principal.actor, note)
    if not await deps.figures.breakers(BreakerQuery(wanted.tenant, wanted.mode, id=breaker)):
        raise NotFound(f"There is no breaker {breaker}; `depesche bounce breakers` lists them.")
    count = 0
    while some := await batch(wanted, undo):
        count += some
    return count


async def undo_suppressions(deps: Bounce, principal: Principal, wanted: Selection, note: str) -> Undone:
    """Lift all that is selected, a batch at a time. After an interruption, call it again for the rest."""
    now = deps.clock()
    undo = Undo(uuid7(), now, principal.actor, note)
    done = Undone()
    # suppressions that begin while this runs were not part of what the person reviewed
    wanted = replace(wanted, until=min(wanted.until, now))
    while batch := await deps.suppressions.undo(wanted, undo):
        done += batch
    log.info("suppressions_undone", tenant=principal.tenant, mode=principal.mode.word, count=done.lifted)
    return done
