"""What a request carries, sealed: the event once, and one slot per recipient, so that one person can be erased.

MessagePack of [sealed event, notification ids (16 bytes each), sealed slots]. A slot is JSON of the recipient's key
and own variables; erased, it is empty. Notification ids are derived and nameless, so they stay in the clear: the
ledger finds its rows by them after everything else is wiped.
"""

import hashlib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from libs.contracts.delivery import RequestedRecipient
from libs.ids import uuid_of
from libs.keyring import Keyring

_PURPOSE = "seal"
_MARK_BYTES = 8
_EVENT = b"event"

_packed = msgspec.msgpack.Decoder(tuple[bytes, bytes, list[bytes]])
_json = msgspec.json.Decoder(float_hook=Decimal)
_slot = msgspec.json.Decoder(tuple[str, Any], float_hook=Decimal)
_write = msgspec.json.Encoder(decimal_format="number")


class Slot(msgspec.Struct, frozen=True, gc=False):
    """One recipient of a request."""

    notification_id: UUID
    recipient: str
    variables: Mapping[str, Any] | None


class Body:
    """An opened body. The event is decoded at its first use."""

    __slots__ = ("_context", "_event", "_keyring", "_notifications", "_opened", "_sealed_event", "_slots")

    def __init__(self, keyring: Keyring, request_id: UUID, raw: bytes) -> None:
        self._keyring = keyring
        self._context = request_id.bytes
        self._sealed_event, self._notifications, self._slots = _packed.decode(raw)
        self._event: dict[str, Any] | None = None
        self._opened: dict[int, Slot] = {}

    @property
    def event(self) -> dict[str, Any] | None:
        """What users' texts see as `event`; None once it was wiped."""
        if self._event is None and self._sealed_event:
            event = _json.decode(self._keyring.open(_PURPOSE, self._sealed_event, self._context + _EVENT))
            self._event = event
        return self._event

    def notification_id(self, ordinal: int) -> UUID:
        return uuid_of(self._notifications[16 * ordinal : 16 * ordinal + 16])

    def slot(self, ordinal: int) -> Slot | None:
        """The recipient; None where it was erased."""
        if (known := self._opened.get(ordinal)) is not None:
            return known
        if not (sealed := self._slots[ordinal]):
            return None
        context = self._context + ordinal.to_bytes(4)
        recipient, variables = _slot.decode(self._keyring.open(_PURPOSE, sealed, context))
        slot = self._opened[ordinal] = Slot(self.notification_id(ordinal), recipient, variables)
        return slot

    def __len__(self) -> int:
        return len(self._slots)

    def without(self, ordinals: Sequence[int]) -> bytes:
        """The body with these slots erased; the event goes too once nobody is left who it could concern."""
        slots = [b"" if n in ordinals else slot for n, slot in enumerate(self._slots)]
        event = self._sealed_event if any(slots) and len(slots) > 1 else b""
        return msgspec.msgpack.encode((event, self._notifications, slots))


def pack(
    keyring: Keyring, request_id: UUID, event: Mapping[str, Any], recipients: Sequence[RequestedRecipient]
) -> bytes:
    """The sealed body of a request; each part is bound to its place."""
    context = request_id.bytes
    write = _write.encode
    slots = keyring.seal_each(
        _PURPOSE,
        [(write((one.key, one.variables)), context + n.to_bytes(4)) for n, one in enumerate(recipients)],
    )
    notifications = b"".join([one.notification_id.int.to_bytes(16) for one in recipients])
    sealed = keyring.seal(_PURPOSE, _write.encode(event), context + _EVENT)
    return msgspec.msgpack.encode((sealed, notifications, slots))


def mark(keyring: Keyring, tenant: int, mode: int, recipient: str) -> bytes:
    """8 keyed bytes by which the requests of a recipient are found for erasure; chance finds are looked at again."""
    return _marks(keyring, tenant, mode, [recipient])


def marks(keyring: Keyring, tenant: int, mode: int, recipients: Sequence[RequestedRecipient]) -> bytes:
    """All the marks of a request, in order of its recipients."""
    return _marks(keyring, tenant, mode, [recipient.key for recipient in recipients])


def _marks(keyring: Keyring, tenant: int, mode: int, recipients: Sequence[str]) -> bytes:
    # keyed once and copied: the key is a block of its own, and half the work
    begun = hashlib.blake2b(f"{tenant}:{mode}:".encode(), digest_size=_MARK_BYTES, key=keyring.key("recipient-mark"))
    made, fresh = [], begun.copy
    for recipient in recipients:
        one = fresh()
        one.update(recipient.encode())
        made.append(one.digest())
    return b"".join(made)
