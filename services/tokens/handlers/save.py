"""Writing recipients: one path for a single PUT and for a thousand rows of an import.

Everything is read and locked in key order and compared in Python, and only the differences are written, in a few
statements whatever the number. A change without a difference writes and publishes nothing.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from libs.contracts.outcomes import Channel
from libs.errors import Invalid
from libs.ids import AddressHasher
from libs.messaging.outbox import Outgoing
from services.tokens.domain.consents import ALL_TOPICS, Statement, as_heard, overrules, repeats
from services.tokens.domain.recipients import Change, Profile, changed_profile
from services.tokens.handlers.acts import Act, changed, device_retired
from services.tokens.ports import Contended, NewAddress, NewDevice, StoredAddress, StoredRecipient, Touched, Unit, Word

FIELD_OF_CHANNEL = {
    Channel.PUSH: "devices",
    Channel.EMAIL: "emails",
    Channel.SMS: "phones",
    Channel.WEBHOOK: "webhooks",
}


@dataclass(slots=True)
class Saved:
    """The result of one change. `refused` has the reason if nothing of it was written."""

    change: Change
    id: int = 0
    version: int = 1
    created: bool = False
    fields: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    refused: Invalid | None = None


@dataclass(frozen=True, slots=True)
class Left:
    """What moved devices leave behind: owners that are not being saved themselves, and addresses whose token moved."""

    owners: frozenset[int] = frozenset()
    retired: tuple[StoredAddress, ...] = ()


async def save_recipients(unit: Unit, act: Act, changes: Sequence[Change], hasher: AddressHasher) -> list[Saved]:
    """Write the changes (each key, installation and device token once) and publish the differences."""
    locked = await _locked(unit, act, changes, hasher)
    saved = [Saved(change) for change in changes]
    inserts, updates = _profiles(saved, locked)
    made = await unit.recipients.insert(act.realm, inserts, act.now)
    kept = [item for item in saved if item.refused is None]
    for item in kept:
        stored = locked.get(item.change.key)
        item.id, item.created = (stored.id, False) if stored else (made[item.change.key], True)
        item.version = stored.version if stored else 1
    await _save_addresses(unit, act, kept, hasher)
    ours = {stored.id for stored in locked.values()} | set(made.values())
    left = await _save_devices(unit, act, _Kept(kept, frozenset(ours)), hasher)
    await _save_statements(unit, act, kept)
    await _publish(unit, act, kept, left, updates)
    return saved


async def _locked(unit: Unit, act: Act, changes: Sequence[Change], hasher: AddressHasher) -> dict[str, StoredRecipient]:
    """Lock the recipients and their devices' current owners, all in key order, to prevent deadlocks."""
    keys: set[str] = {change.key for change in changes}
    devices = [device for change in changes for device in change.devices]
    if devices:
        installations = [device.installation for device in devices]
        hashes = [device.address.hash(hasher) for device in devices]
        keys |= await unit.addresses.device_owners(act.realm, installations, hashes)
    return await unit.recipients.lock(act.realm, list(keys))


@dataclass(frozen=True, slots=True)
class _Kept:
    """The changes to write, and the ids of the locked recipients."""

    saved: Sequence[Saved]
    locked: frozenset[int]


def _profiles(
    saved: Sequence[Saved], locked: Mapping[str, StoredRecipient]
) -> tuple[dict[str, Profile], dict[int, Profile]]:
    inserts: dict[str, Profile] = {}
    updates: dict[int, Profile] = {}
    for item in saved:
        stored = locked.get(item.change.key)
        try:
            after, fields = changed_profile(stored.profile if stored else Profile(), item.change)
        except Invalid as error:
            item.refused = error
            continue
        item.fields += fields
        if stored is None:
            inserts[item.change.key] = after
        elif fields:
            updates[stored.id] = after
    return inserts, updates


async def _save_addresses(unit: Unit, act: Act, saved: Sequence[Saved], hasher: AddressHasher) -> None:
    named = [item for item in saved if item.change.addresses]
    if not named:
        return
    existing: dict[tuple[int, Channel], dict[bytes, StoredAddress]] = {}
    for row in await unit.addresses.of([item.id for item in named if not item.created]):
        if row.live:
            existing.setdefault((row.recipient_id, row.channel), {})[row.hash] = row
    added: list[NewAddress] = []
    retired: list[int] = []
    for item in named:
        for channel, addresses in item.change.addresses.items():
            wanted = {address.hash(hasher): address for address in addresses}
            have = existing.get((item.id, channel), {})
            new = [
                NewAddress(item.id, channel, address, hash_)
                for hash_, address in wanted.items()
                if hash_ not in have or have[hash_].value != address.value
            ]
            gone = [row.id for hash_, row in have.items() if hash_ not in wanted]
            if new or gone:
                item.fields.append(FIELD_OF_CHANNEL[channel])
            added += new
            retired += gone
    await unit.addresses.retire(retired, "replaced", act.now)
    await unit.addresses.put(act.realm, added, act.now)


async def _save_devices(unit: Unit, act: Act, kept: _Kept, hasher: AddressHasher) -> Left:
    """Move devices to their new owners; return what they left behind."""
    new = [
        NewDevice(item.id, device, device.address.hash(hasher)) for item in kept.saved for device in item.change.devices
    ]
    if not new:
        return Left()
    installations = {row.device.installation: row for row in new}
    hashes = {row.hash for row in new}
    was = await unit.addresses.lock_devices(act.realm, list(installations), list(hashes))
    if not {row.recipient_id for row in was} <= kept.locked:
        raise Contended("A device was moved at this moment; retry.")
    before = {row.installation: row for row in was}
    # the same token under another installation, as after a restored backup; the token belongs to the latest one
    moved = [row for row in was if row.live and row.hash in hashes and _elsewhere(row, installations)]
    await unit.addresses.retire([row.id for row in moved], "token_moved", act.now)
    differing = [row for row in new if _differs(row, before.get(row.device.installation))]
    await unit.addresses.put_devices(act.realm, new, act.now)
    by_id = {item.id: item for item in kept.saved}
    for row in differing:
        if "devices" not in by_id[row.recipient_id].fields:
            by_id[row.recipient_id].fields.append("devices")
    owners = {row.recipient_id for row in moved}
    for row in differing:
        earlier = before.get(row.device.installation)
        if earlier is not None and earlier.live:
            owners.add(earlier.recipient_id)
    return Left(frozenset(owners - set(by_id)), tuple(moved))


def _elsewhere(row: StoredAddress, installations: Mapping[str, NewDevice]) -> bool:
    here = installations.get(row.installation or "")
    return here is None or here.hash != row.hash


def _differs(new: NewDevice, was: StoredAddress | None) -> bool:
    return was is None or not was.live or (was.recipient_id, was.hash) != (new.recipient_id, new.hash)


async def _save_statements(unit: Unit, act: Act, saved: Sequence[Saved]) -> None:
    speaking = [item for item in saved if item.change.statements]
    if not speaking:
        return
    standing = dict(await unit.consents.standing([item.id for item in speaking if not item.created]))
    mine: dict[int, dict[tuple[str, Channel], Statement]] = defaultdict(dict)
    for (id_, topic, channel), held in standing.items():
        mine[id_][topic, channel] = held
    holding: dict[tuple[int, str, Channel], Word] = {}
    heard: list[Word] = []
    for item in speaking:
        for said in item.change.statements:
            statement = as_heard(said, mine[item.id].values(), act.now)
            place = (item.id, statement.topic, statement.channel)
            current = standing.get(place)
            if repeats(statement, current):
                continue
            heard.append(Word(item.id, statement))
            if overrules(statement, current, standing.get((item.id, ALL_TOPICS, statement.channel))):
                standing[place] = statement
                mine[item.id][statement.topic, statement.channel] = statement
                holding[place] = heard[-1]
                item.notes.append(statement.note)
                if "consents" not in item.fields:
                    item.fields.append("consents")
    await unit.consents.put(act.realm, list(holding.values()))
    await unit.consents.remember(act.realm, heard, act.actor, act.now)


async def _publish(unit: Unit, act: Act, saved: Sequence[Saved], left: Left, updates: Mapping[int, Profile]) -> None:
    """Increment the version of each recipient that differs, once, and publish its change."""
    rest = [item.id for item in saved if item.fields and not item.created and item.id not in updates]
    touched = {row.id: row for row in await unit.recipients.update(updates, act.now)}
    touched |= {row.id: row for row in await unit.recipients.touch([*rest, *left.owners], act.now)}
    events: list[Outgoing] = []
    for item in saved:
        if item.created or item.fields:
            row = touched.get(item.id) or Touched(item.id, item.change.key, 1)
            item.version = row.version
            note = "; ".join(item.notes) or None
            events.append(changed(act, row, tuple(["created"] * item.created + item.fields), note))
    events += [changed(act, touched[id_], ("devices",)) for id_ in sorted(left.owners) if id_ in touched]
    keys = {item.id: str(item.change.key) for item in saved} | {row.id: row.key for row in touched.values()}
    events += [
        device_retired(act, keys[row.recipient_id], row.id, "its token appeared in another installation")
        for row in left.retired
    ]
    await unit.publish(events)
