"""Commands on one recipient: save it, add or remove an address, erase it."""

from collections.abc import Callable
from dataclasses import dataclass

from libs.addresses import Address
from libs.contracts.outcomes import Channel
from libs.contracts.tokens import RecipientErased
from libs.errors import FieldError, Invalid, NotFound
from libs.ids import RecipientKey
from libs.messaging.outbox import Outgoing
from services.tokens.domain.consents import Statement, unknown_topic
from services.tokens.domain.recipients import MAX_ADDRESSES, Change
from services.tokens.handlers.acts import Act, action, changed, contended, device_retired
from services.tokens.handlers.save import FIELD_OF_CHANNEL, Saved, save_recipients
from services.tokens.ports import NewAddress, StoredAddress, StoredRecipient, Tokens, Unit

Check = Callable[[int | None], None]  # raises if the current version (None: there is none) is not the expected one


@dataclass(frozen=True, slots=True)
class AddressAdded:
    """An address of a recipient; `created` is False if it already existed."""

    id: int
    version: int
    created: bool


async def save_recipient(deps: Tokens, act: Act, change: Change, check: Check) -> Saved:
    """PUT and PATCH. Raises what `check` raises, and Invalid."""

    async def transaction() -> Saved:
        async with deps.store.transaction() as unit:
            stored = (await unit.recipients.lock(act.realm, [change.key])).get(change.key)
            check(stored.version if stored else None)
            (saved,) = await save_recipients(unit, act, [change], deps.hasher)
            if saved.refused is not None:
                raise saved.refused
            if saved.created or saved.fields:
                verb = "recipient.create" if saved.created else "recipient.change"
                await unit.publish([action(act, verb, change.key, {"fields": saved.fields, "version": saved.version})])
            return saved

    return await contended(transaction)


async def record_statements(deps: Tokens, act: Act, key: RecipientKey, statements: tuple[Statement, ...]) -> Saved:
    """Record consent as stated by the shop. Raises NotFound, Invalid for topics that do not exist, Transient."""
    missing = await deps.topics.missing(act.realm, {statement.topic for statement in statements})
    if missing:
        raise Invalid.many(
            [
                FieldError(f"/consents/{at}/topic", unknown_topic(statement.topic, missing[statement.topic]))
                for at, statement in enumerate(statements)
                if statement.topic in missing
            ]
        )
    return await save_recipient(deps, act, Change(key=key, statements=statements), _must_exist(key))


async def add_address(deps: Tokens, act: Act, key: RecipientKey, written: tuple[Channel, Address]) -> AddressAdded:
    """Add an e-mail, phone or webhook address. Raises NotFound, Invalid."""
    channel, address = written

    async def transaction() -> AddressAdded:
        async with deps.store.transaction() as unit:
            stored = await _locked(unit, act, key)
            hash_ = address.hash(deps.hasher)
            have = [row for row in await unit.addresses.of([stored.id]) if row.live and row.channel == channel]
            for row in have:
                if row.hash == hash_ and row.value == address.value:
                    return AddressAdded(row.id, stored.version, created=False)
            if len(have) >= MAX_ADDRESSES:
                raise Invalid(
                    f"A recipient may have at most {MAX_ADDRESSES} addresses per channel; remove one first.",
                    pointer="/value",
                )
            (row,) = await unit.addresses.put(act.realm, [NewAddress(stored.id, channel, address, hash_)], act.now)
            version = await _told(unit, act, stored, FIELD_OF_CHANNEL[channel], "address.add")
            return AddressAdded(row.id, version, created=True)

    return await contended(transaction)


async def remove_address(deps: Tokens, act: Act, key: RecipientKey, named: tuple[Channel, int]) -> None:
    """Retire an address, by channel and id. Raises NotFound."""
    channel, address_id = named

    async def transaction() -> None:
        async with deps.store.transaction() as unit:
            stored = await _locked(unit, act, key)
            for row in await unit.addresses.of([stored.id]):
                if row.id == address_id and row.live and row.channel == channel:
                    break
            else:
                raise NotFound(f"{key} has no such address; `depesche recipients show` lists its addresses.")
            await unit.addresses.retire([row.id], "removed", act.now)
            await _told(unit, act, stored, FIELD_OF_CHANNEL[channel], "address.remove")
            if channel is Channel.PUSH:
                await unit.publish([device_retired(act, key, row.id, "removed through the API")])

    await contended(transaction)


async def erase_recipient(deps: Tokens, act: Act, key: RecipientKey, check: Check) -> None:
    """Wipe everything about a recipient here, and tell every service to do the same.

    Also if it is unknown here: events can name people whom nobody imported, or arrive after an erasure.
    """

    async def transaction() -> None:
        async with deps.store.transaction() as unit:
            await unit.remember_erased([(act.realm.tenant, act.realm.mode, key, act.now)])
            stored = (await unit.recipients.lock(act.realm, [key])).get(key)
            check(stored.version if stored else None)
            if stored is not None:
                await unit.recipients.erase([stored.id])
            event = RecipientErased(recipient=key, at=act.now)
            await unit.publish(
                [
                    Outgoing(event, key=key, tenant=act.realm.tenant, mode=act.realm.mode),
                    action(act, "recipient.erase", key),
                ]
            )

    await contended(transaction)


async def unsubscribe(deps: Tokens, act: Act, key: RecipientKey, statement: Statement) -> None:
    """Record the customer's no, given through a link. A repeat changes nothing, and an erased customer needs none."""

    async def transaction() -> None:
        async with deps.store.transaction() as unit:
            stored = (await unit.recipients.lock(act.realm, [key])).get(key)
            if stored is None:
                return
            standing = await unit.consents.standing([stored.id])
            current = standing.get((stored.id, statement.topic, statement.channel))
            if current is not None and not current.granted:
                return
            await save_recipients(unit, act, [Change(key=key, statements=(statement,))], deps.hasher)
            await unit.publish(
                [action(act, "consent.withdraw", key, {"topic": statement.topic, "channel": statement.channel.word})]
            )

    await contended(transaction)


async def _locked(unit: Unit, act: Act, key: RecipientKey) -> StoredRecipient:
    stored = (await unit.recipients.lock(act.realm, [key])).get(key)
    if stored is None:
        raise unknown(key)
    return stored


async def _told(unit: Unit, act: Act, stored: StoredRecipient, field: str, verb: str) -> int:
    (touched,) = await unit.recipients.touch([stored.id], act.now)
    await unit.publish([changed(act, touched, (field,)), action(act, verb, stored.key, {"fields": [field]})])
    return touched.version


def _must_exist(key: RecipientKey) -> Check:
    def check(version: int | None) -> None:
        if version is None:
            raise unknown(key)

    return check


def unknown(key: str) -> NotFound:
    """Return the error for a recipient that does not exist in this tenant and mode."""
    return NotFound(f"There is no recipient {key} in this tenant and mode; check the key, or create it first.")


__all__ = ["AddressAdded", "StoredAddress", "add_address", "erase_recipient", "remove_address", "save_recipient"]
