"""A request's content, sealed: the event once, and its recipients in slots, so that one person can be erased.

MessagePack of [sealed event, notification ids (16 bytes each), sealed groups, slots per group]. A group is JSON of
its slots, and a slot is the recipient's key and own variables. An erased slot is null, and the rest of its group is
sealed again. Notification ids are derived and anonymous, so they stay in the clear: the ledger finds its rows by them
after everything else is wiped.
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

# A seal costs ten times what one more slot in it costs; but a small chunk, or a retry of one, should not open many.
TOGETHER = 20
_PURPOSE = "seal"
_MARK_BYTES = 8
ERASED = bytes(_MARK_BYTES)  # the mark of a slot whose recipient was erased
_EVENT = b"event"
_GROUP = b"slots"


class _Packed(msgspec.Struct, array_like=True):
    """The stored form. `together` 0: written before slots shared a seal, when each was sealed by itself."""

    event: bytes
    notifications: bytes
    groups: list[bytes]
    together: int = 0


_packed = msgspec.msgpack.Decoder(_Packed)
_json = msgspec.json.Decoder(float_hook=Decimal)
_slot = msgspec.json.Decoder(tuple[str, Any] | None, float_hook=Decimal)
_slots = msgspec.json.Decoder(list[tuple[str, Any] | None], float_hook=Decimal)
_write = msgspec.json.Encoder(decimal_format="number")


class Slot(msgspec.Struct, frozen=True, gc=False):
    """One recipient of a request."""

    notification_id: UUID
    recipient: str
    variables: Mapping[str, Any] | None


class Body:
    """An opened body. The event, and each group of slots, is opened on first use."""

    __slots__ = ("_context", "_event", "_keyring", "_opened", "_packed", "_size")

    def __init__(self, keyring: Keyring, request_id: UUID, raw: bytes) -> None:
        self._keyring = keyring
        self._context = request_id.bytes
        self._packed = _packed.decode(raw)
        self._size = self._packed.together or 1  # slots in a group
        self._event: dict[str, Any] | None = None
        self._opened: dict[int, list[Slot | None]] = {}

    @property
    def event(self) -> dict[str, Any] | None:
        """What users' texts see as `event`; None once it was wiped."""
        if self._event is None and self._packed.event:
            event = _json.decode(self._keyring.open(_PURPOSE, self._packed.event, self._context + _EVENT))
            self._event = event
        return self._event

    def notification_id(self, ordinal: int) -> UUID:
        return uuid_of(self._packed.notifications[16 * ordinal : 16 * ordinal + 16])

    def slot(self, ordinal: int) -> Slot | None:
        """Return the recipient; None if it was erased."""
        number, place = divmod(ordinal, self._size)
        if (known := self._opened.get(number)) is None:
            known = self._opened[number] = self._open(number)
        return known[place]

    def __len__(self) -> int:
        return len(self._packed.notifications) // 16

    def without(self, ordinals: Sequence[int]) -> bytes:
        """Return the body with these slots erased; the event goes too once no recipient is left."""
        rest = [None if ordinal in ordinals else self.slot(ordinal) for ordinal in range(len(self))]
        slots = [None if slot is None else (slot.recipient, slot.variables) for slot in rest]
        groups = _sealed(self._keyring, self._context, slots)
        event = self._packed.event if any(groups) and len(self) > 1 else b""
        return _written(event, self._packed.notifications, groups)

    def _open(self, number: int) -> list[Slot | None]:
        sealed, alone = self._packed.groups[number], not self._packed.together
        if not sealed:
            return [None] * self._size
        context = self._context + (b"" if alone else _GROUP) + number.to_bytes(4)
        raw = self._keyring.open(_PURPOSE, sealed, context)
        slots = [_slot.decode(raw)] if alone else _slots.decode(raw)
        first = number * self._size
        return [one and Slot(self.notification_id(first + n), *one) for n, one in enumerate(slots)]


def pack(
    keyring: Keyring, request_id: UUID, event: Mapping[str, Any], recipients: Sequence[RequestedRecipient]
) -> bytes:
    """Seal the body of a request; each part is bound to its place. A recipient without a key was erased."""
    context = request_id.bytes
    groups = _sealed(keyring, context, [(one.key, one.variables) if one.key else None for one in recipients])
    notifications = b"".join([one.notification_id.int.to_bytes(16) for one in recipients])
    sealed = keyring.seal(_PURPOSE, _write.encode(event), context + _EVENT) if any(groups) else b""
    return _written(sealed, notifications, groups)


def _sealed(keyring: Keyring, context: bytes, slots: Sequence[tuple[str, Any] | None]) -> list[bytes]:
    """Return the sealed groups; a group without recipients is empty."""
    groups = [slots[first : first + TOGETHER] for first in range(0, len(slots), TOGETHER)]
    return [
        keyring.seal(_PURPOSE, _write.encode(group), context + _GROUP + number.to_bytes(4)) if any(group) else b""
        for number, group in enumerate(groups)
    ]


def _written(event: bytes, notifications: bytes, groups: list[bytes]) -> bytes:
    return msgspec.msgpack.encode(_Packed(event, notifications, groups, TOGETHER))


def mark(keyring: Keyring, tenant: int, mode: int, recipient: str) -> bytes:
    """Return 8 keyed bytes by which erasure finds a recipient's requests; accidental matches are checked afterwards."""
    return _marks(keyring, tenant, mode, [recipient])


def marks(keyring: Keyring, tenant: int, mode: int, recipients: Sequence[RequestedRecipient]) -> bytes:
    """Return all marks of a request, in order of its recipients."""
    return _marks(keyring, tenant, mode, [recipient.key for recipient in recipients])


def _marks(keyring: Keyring, tenant: int, mode: int, recipients: Sequence[str]) -> bytes:
    # keyed once and copied: hashing the key is half the work
    begun = hashlib.blake2b(f"{tenant}:{mode}:".encode(), digest_size=_MARK_BYTES, key=keyring.key("recipient-mark"))
    made, fresh = [], begun.copy
    for recipient in recipients:
        if not recipient:
            made.append(ERASED)
            continue
        one = fresh()
        one.update(recipient.encode())
        made.append(one.digest())
    return b"".join(made)
