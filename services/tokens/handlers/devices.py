"""Devices: an app installation reports its address; customers log in and out on it.

The installation is the anchor: one row, one live address. A new token replaces the old one in its row. Logging in or
out moves the row to another recipient. A token that appears in another installation leaves the first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from libs.errors import Invalid, NotFound
from libs.ids import RecipientKey
from services.tokens.domain.recipients import Change, Device, may_own, recipient_key
from services.tokens.handlers.acts import Act, action, changed, contended, device_retired
from services.tokens.handlers.save import Saved, save_recipients
from services.tokens.ports import Contended, OwnedAddress, Tokens, Unit

_UNREGISTERED = "the app unregistered it"


@dataclass(frozen=True, slots=True)
class Registration:
    """A device, the customer who is logged in on it (or nobody), and the installation's time zone."""

    device: Device
    owner: RecipientKey | None = None
    zone: str | None = None


def nobody_on(installation: str) -> RecipientKey:
    """Return the recipient of an installation on which nobody is logged in."""
    return recipient_key(f"installation:{installation}")


async def register_device(deps: Tokens, act: Act, registration: Registration) -> Saved:
    """Handle an app start: a new device, or a known one, possibly with another user or token."""
    device = registration.device
    _check_owner(registration.owner, device.installation)
    if registration.owner is None:
        # the shop sets a customer's locale and zone; an installation has only the device to set them
        said = {"locale": device.locale, "zone": registration.zone}
        profile = {name: value for name, value in said.items() if value is not None}
        change = Change(key=nobody_on(device.installation), profile=profile, devices=(device,))
    else:
        change = Change(key=registration.owner, devices=(device,))
    return await _saved(deps, act, change, "device.register")


async def refresh_device(deps: Tokens, act: Act, device: Device) -> None:
    """Replace an installation's token; its owner stays. Raises NotFound.

    One that the app unregistered stays so: Firebase issues a new token by itself when the old one is deleted, which
    is how apps turn pushes off.
    """

    async def transaction() -> None:
        async with deps.store.transaction() as unit:
            known = await _known(unit, act, device.installation)
            if known.retired_why == _UNREGISTERED:
                return
            change = Change(key=RecipientKey(known.owner), devices=(device,))
            await save_recipients(unit, act, [change], deps.hasher)
            await unit.publish([action(act, "device.refresh", known.owner, {"address": known.address.id})])

    await contended(transaction)


async def move_device(deps: Tokens, act: Act, installation: str, owner: RecipientKey) -> None:
    """Handle a login (`owner` is the customer) or logout (the installation itself). Raises NotFound, Invalid."""
    _check_owner(owner, installation)

    async def transaction() -> None:
        async with deps.store.transaction() as unit:
            known = await _known(unit, act, installation, owner)
            if known.owner == owner:
                return
            (saved,) = await save_recipients(unit, act, [Change(key=owner)], deps.hasher)
            await unit.addresses.move(known.address.id, saved.id, act.now)
            touched = await unit.recipients.touch([saved.id, known.address.recipient_id], act.now)
            verb = "device.logout" if owner == nobody_on(installation) else "device.login"
            after: dict[str, object] = {"address": known.address.id, "from": known.owner}
            await unit.publish([changed(act, row, ("devices",)) for row in touched] + [action(act, verb, owner, after)])

    await contended(transaction)


async def unregister_device(deps: Tokens, act: Act, installation: str) -> None:
    """Handle that the app was removed, or its user wants no pushes; a repeat changes nothing. Raises NotFound."""

    async def transaction() -> None:
        async with deps.store.transaction() as unit:
            known = await _known(unit, act, installation)
            if known.address.live:
                await retire_devices(unit, act, [known], _UNREGISTERED)
                await unit.publish([action(act, "device.unregister", known.owner, {"address": known.address.id})])

    await contended(transaction)


async def retire_devices(unit: Unit, act: Act, owned: Sequence[OwnedAddress], why: str) -> None:
    """Retire devices that are no longer used; they come back when their installation registers again."""
    await unit.addresses.retire([item.address.id for item in owned], why, act.now)
    touched = await unit.recipients.touch(list({item.address.recipient_id for item in owned}), act.now)
    await unit.publish(
        [device_retired(act, item.owner, item.address.id, why) for item in owned]
        + [changed(act, row, ("devices",)) for row in touched]
    )


async def _saved(deps: Tokens, act: Act, change: Change, verb: str) -> Saved:
    async def transaction() -> Saved:
        async with deps.store.transaction() as unit:
            (saved,) = await save_recipients(unit, act, [change], deps.hasher)
            if saved.refused is not None:
                raise saved.refused
            if saved.created or saved.fields:
                await unit.publish([action(act, verb, change.key, {"fields": saved.fields})])
            return saved

    return await contended(transaction)


def _check_owner(owner: RecipientKey | None, installation: str) -> None:
    if owner is not None and not may_own(owner, installation):
        raise Invalid("A device must belong to a customer or to its own installation.", pointer="/recipient")


async def _known(unit: Unit, act: Act, installation: str, *others: RecipientKey) -> OwnedAddress:
    """Return the device, with its owner and the others locked. Raises NotFound; Contended if it is being moved right
    now."""
    seen = await unit.addresses.device(act.realm, installation)
    if seen is None:
        raise NotFound(f"There is no device of installation {installation}; register it with POST /v1/devices.")
    await unit.recipients.lock(act.realm, [seen.owner, *others])
    known = await unit.addresses.device(act.realm, installation)
    if known is None or known.owner != seen.owner:
        raise Contended("The device was moved at this moment; retry.")
    return known
