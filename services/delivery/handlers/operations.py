"""Operators' actions: place and lift holds, cancel, configure senders. Each is one transaction with its audit."""

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any
from uuid import UUID

from libs.auth import Principal
from libs.contracts.audit import ActionRecorded
from libs.contracts.delivery import HoldLifted, HoldPlaced
from libs.contracts.envelope import Event
from libs.contracts.outcomes import Channel
from libs.errors import Conflict, NotFound
from libs.messaging.outbox import Outgoing
from services.delivery.domain.sender_accounts import same_setup
from services.delivery.domain.steering import Hold, HoldKind, SenderSetup
from services.delivery.handlers.delivery import Delivery

SERVICE = "delivery"
MatchVersion = Callable[[int | None], None]  # raises if If-Match does not match the current version


async def place_hold(deps: Delivery, principal: Principal, wanted: Hold) -> tuple[Hold, bool]:
    """Stop what the hold names; an existing hold is left unchanged. Raises NotFound for a sender that does not exist:
    during an incident somebody would believe that the right one is stopped."""
    if wanted.kind is HoldKind.SENDER and not await _is_sender(deps, wanted):
        raise NotFound(
            f"There is no sender {wanted.target} in this tenant and mode, so nothing was stopped; "
            "`depesche senders list` shows the numbers.",
            pointer="/target",
        )
    before = await deps.operations.hold(wanted)
    version = before.version + 1 if before else 1
    placed = HoldPlaced(
        kind=wanted.kind.value, target=wanted.target, version=version, at=wanted.changed_at, note=wanted.note
    )
    action = _action(deps, principal, "hold.place", (_name(wanted), wanted.note, None, _plain(wanted)))
    return await deps.operations.place(wanted, _outgoing(principal, wanted.target, placed, action))


async def lift_hold(deps: Delivery, principal: Principal, wanted: Hold) -> Hold:
    """Let the work that the hold stopped continue. Raises NotFound if there is no such hold."""
    before = await deps.operations.hold(wanted)
    if before is None or not before.active:
        raise NotFound(
            f"There is no hold on {wanted.kind.value} {wanted.target}; `depesche holds list` shows the active ones."
        )
    lifted = HoldLifted(
        kind=wanted.kind.value, target=wanted.target, version=before.version + 1, at=wanted.changed_at, note=wanted.note
    )
    action = _action(deps, principal, "hold.lift", (_name(wanted), wanted.note, _plain(before), None))
    hold = await deps.operations.lift(wanted, _outgoing(principal, wanted.target, lifted, action))
    if hold is None:
        raise NotFound("Somebody else lifted the hold at the same moment.")
    for lane in deps.line.pace.lanes:
        deps.line.wake(lane)
    return hold


async def cancel_cause(deps: Delivery, principal: Principal, cause: UUID, note: str | None) -> int:
    """End everything of the cause that has not been called yet as skipped(cancelled); return how many requests were
    open. Raises NotFound if none ever arrived: what arrives later would be sent."""
    action = _action(deps, principal, "cause.cancel", (str(cause), note, None, None))
    realm = (principal.tenant, principal.mode)
    count = await deps.operations.cancel(realm, cause, deps.line.clock(), _outgoing(principal, str(cause), action))
    if count is None:
        raise NotFound(
            f"Delivery knows no request of cause {cause}, so nothing was cancelled. Check the id; if its event was "
            "accepted only moments ago, cancel again."
        )
    for lane in deps.line.pace.lanes:
        deps.line.wake(lane)
    return count


async def put_sender(
    deps: Delivery, principal: Principal, wanted: SenderSetup, match: MatchVersion
) -> tuple[SenderSetup, bool]:
    """Create or change a sender; return it, and whether it is new. Secrets that the edit leaves out stay unchanged.

    An edit without a change creates no version: definitions may be applied again and again."""
    before = await deps.operations.sender((principal.tenant, principal.mode), wanted.number)
    match(before.version if before else None)
    if before is not None and before.channel is not wanted.channel:
        raise Conflict(
            f"Sender {wanted.number} is for {before.channel.word}, and its messages rely on that; use another number.",
            pointer="/channel",
        )
    if before is not None and same_setup(before, wanted):
        return before, False
    setup = replace(wanted, version=before.version + 1 if before else 1, changed_at=deps.line.clock())
    change = (f"sender {setup.number}", None, _shown(before) if before else None, _shown(setup))
    action = _action(deps, principal, "sender.put", change)
    if not await deps.operations.put_sender(setup, _outgoing(principal, str(setup.number), action)):
        raise Conflict("Somebody else changed this sender at the same moment; read it and repeat your edit.")
    return setup, before is None


async def _is_sender(deps: Delivery, hold: Hold) -> bool:
    """Whether it is configured, or the simulated default of a channel without a configured one."""
    if await deps.operations.channels((hold.tenant, hold.mode), [int(hold.target)]):
        return True
    defaults = await deps.line.senders.get([(hold.tenant, hold.mode, channel, 0) for channel in Channel])
    return any(sender is not None and sender.number == int(hold.target) for sender in defaults.values())


def _outgoing(principal: Principal, key: str, *events: Event) -> list[Outgoing]:
    return [Outgoing(event, key, principal.tenant, int(principal.mode), source=SERVICE) for event in events]


def _action(deps: Delivery, principal: Principal, verb: str, about: tuple[str, str | None, Any, Any]) -> ActionRecorded:
    of, note, before, after = about
    return ActionRecorded(
        actor=principal.actor,
        action=verb,
        object=of,
        at=deps.line.clock(),
        before=before,
        after=after,
        note=note,
    )


def _name(hold: Hold) -> str:
    return f"{hold.kind.value} {hold.target}"


def _plain(hold: Hold) -> dict[str, Any]:
    return {"kind": hold.kind.value, "target": hold.target, "note": hold.note}


def _shown(setup: SenderSetup) -> dict[str, Any]:
    """Return the sender without its secrets."""
    shown = asdict(replace(setup, secrets={}, changed_at=None))
    del shown["secrets"]
    return shown | {"mode": setup.mode.word, "channel": setup.channel.word, "changed_at": None}
