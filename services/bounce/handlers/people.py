"""What people do: bar an address, lift a suppression."""

from uuid import UUID

from libs.auth import Principal
from libs.contracts.audit import ActionRecorded
from libs.contracts.outcomes import Scope
from libs.contracts.reasons import Reason
from libs.errors import NotFound
from services.bounce.domain.suppressions import Evidence, Suppression, SuppressionKey, lift
from services.bounce.handlers.deps import Bounce


async def suppress_by_hand(
    deps: Bounce, principal: Principal, address_hash: bytes, scope: Scope, note: str
) -> Suppression:
    """Bars an address on somebody's word."""
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
    """Ends a suppression. Raises NotFound, or Conflict where it bars nothing."""
    if await deps.reads.suppression(principal.tenant, principal.mode, id) is None:
        raise NotFound(f"There is no suppression {id}; GET suppressions lists them.")
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
