"""Who acts, where and when; how an act is retried, and the events about it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from libs.contracts.audit import ActionRecorded
from libs.contracts.tokens import DeviceRetired, RecipientChanged
from libs.messaging.outbox import Outgoing
from services.tokens.domain.recipients import Realm
from services.tokens.ports import Contended, Touched

_TRIES = 4
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Act:
    """Who acts, where and when: a key's id, a service, or the customer through a link or a reply."""

    realm: Realm
    actor: str
    now: datetime


async def contended(transaction: Callable[[], Awaitable[T]]) -> T:
    """Run a transaction, and retry it if it collided with another one; the last attempt's Contended goes to the
    caller."""
    for _ in range(_TRIES - 1):
        try:
            return await transaction()
        except Contended:
            continue
    return await transaction()


def changed(act: Act, touched: Touched, fields: tuple[str, ...], note: str | None = None) -> Outgoing:
    """Return the event that a recipient changed: which fields, never their values."""
    event = RecipientChanged(recipient=touched.key, fields=fields, version=touched.version, at=act.now, note=note)
    return Outgoing(event, key=touched.key, tenant=act.realm.tenant, mode=act.realm.mode)


def action(act: Act, verb: str, object_: str, after: dict[str, object] | None = None) -> Outgoing:
    """Return the audit record. It has names of fields only: the audit must not store what an erasure wipes."""
    event = ActionRecorded(actor=act.actor, action=verb, object=object_, at=act.now, after=after)
    return Outgoing(event, key=object_, tenant=act.realm.tenant, mode=act.realm.mode, source="tokens")


def device_retired(act: Act, key: str, address_id: int, why: str) -> Outgoing:
    """Return the event that a device's address is no longer used."""
    event = DeviceRetired(recipient=key, address_id=address_id, why=why, at=act.now)
    return Outgoing(event, key=key, tenant=act.realm.tenant, mode=act.realm.mode)
