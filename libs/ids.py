"""Typed ids, and the only place where keys are built.

`cause_id` is a UUIDv7 (RFC 9562 §5.7) of the system clock at first acceptance. `notification_id` is a UUIDv8 (§5.8):
the cause's 48 time bits, then a hash of (cause, communication, recipient key). A repeat is therefore the same
notification, and the id alone identifies the ledger's partition. `request_id` is built the same way, so that requests
are indexed in order of arrival.

Ids are asyncpg's UUID, a C subclass of Python's: a third of the cost to create, compare and send.
"""

import hashlib
import os
import struct
import time
from datetime import UTC, datetime
from typing import NewType
from uuid import UUID

from asyncpg.pgproto.pgproto import UUID as _FastUUID

from libs.mac import mac_of

NotificationId = NewType("NotificationId", UUID)
CauseId = NewType("CauseId", UUID)
RequestId = NewType("RequestId", UUID)
ReleaseId = NewType("ReleaseId", UUID)
RecipientKey = NewType("RecipientKey", str)
AddressId = NewType("AddressId", int)
TenantId = NewType("TenantId", int)

OPERATOR = TenantId(1)  # the tenant that `up` creates first; its live keys administer the installation

_NAMESPACE = UUID("6ba52c1e-8f4c-4a27-9a3e-1d1c5f0e7a10")
_TIME_SHIFT = 80
_VERSION_MASK = ~((0xF << 76) | (0x3 << 62))
_RANDOM_AT_ONCE = 512
_V5 = (5 << 76) | (2 << 62)
_V7 = (7 << 76) | (2 << 62)
_V8 = (8 << 76) | (2 << 62)


_random: list[int] = []  # 64 bits each, drawn from the system in batches
os.register_at_fork(after_in_child=_random.clear)


def _made(value: int) -> UUID:
    made: UUID = _FastUUID(value.to_bytes(16))
    return made


def _random_bits() -> int:
    try:
        return _random.pop()
    except IndexError:
        # extended, not replaced: another thread may be here too
        _random.extend(struct.unpack(f"{_RANDOM_AT_ONCE}Q", os.urandom(8 * _RANDOM_AT_ONCE)))
        return _random.pop()


def recipient_key_of(text: str) -> RecipientKey:
    """Return the key for an id as shops and people write it: a bare id is a customer's. A shop's ids may contain
    colons."""
    return RecipientKey(text if text.startswith(("customer:", "installation:")) else f"customer:{text}")


def named(namespace: bytes, name: bytes) -> UUID:
    """Return the UUIDv5 (RFC 9562 §5.5) of a name in a namespace, given as its 16 bytes."""
    value = int.from_bytes(hashlib.sha1(namespace + name, usedforsecurity=False).digest()[:16])
    return _made(value & _VERSION_MASK | _V5)


def uuid7() -> UUID:
    """Return a time-ordered id: 48 bits of Unix milliseconds, 12 bits of the millisecond's fraction, then randomness.

    The fraction (RFC 9562 §6.2, method 3) keeps the events of one batch in the order in which they came."""
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    fraction = (rest << 12) // 1_000_000
    value = (milliseconds << _TIME_SHIFT) | (fraction << 64) | _random_bits()
    return _made(value & _VERSION_MASK | _V7)


def time_of(id_: UUID) -> datetime:
    """Return when a UUIDv7 or a notification's cause was created (milliseconds, UTC)."""
    return datetime.fromtimestamp((id_.int >> _TIME_SHIFT) / 1000, UTC)


def uuid_of(raw: bytes) -> UUID:
    """Return the UUID of 16 bytes, as asyncpg's fast C type, for hot paths."""
    made: UUID = _FastUUID(raw)
    return made


def first_id_at(moment: datetime) -> UUID:
    """Return the lowest UUIDv8 of a moment, a bound of the ledger's partitions."""
    return UUID(int=int(moment.timestamp() * 1000) << _TIME_SHIFT)


def moment_of(id_: UUID) -> tuple[UUID, UUID]:
    """Return the lowest ids of the id's millisecond and of the next one: the range around what one cause led to."""
    milliseconds = id_.int >> _TIME_SHIFT
    after = min((milliseconds + 1) << _TIME_SHIFT, (1 << 128) - 1)  # callers may send any id, the very last one too
    return UUID(int=milliseconds << _TIME_SHIFT), UUID(int=after)


def notification_id(cause: UUID, communication: str, recipient: str) -> NotificationId:
    """Derive the id of one communication for one recipient from one cause."""
    return NotificationId(_of_cause(cause, b"\0".join((cause.bytes, communication.encode(), recipient.encode()))))


def request_id(cause: UUID, release: UUID, part: int) -> RequestId:
    """Derive the inbox mark of one envelope: the same cause, release and part are the same request."""
    return RequestId(_of_cause(cause, b"request:" + cause.bytes + release.bytes + part.to_bytes(4)))


def _of_cause(cause: UUID, name: bytes) -> UUID:
    """Return a UUIDv8: the cause's time, then a hash of the name."""
    digest = hashlib.blake2b(name, digest_size=10).digest()
    value = (cause.int >> _TIME_SHIFT << _TIME_SHIFT) | int.from_bytes(digest)
    return _made(value & _VERSION_MASK | _V8)


def event_key(tenant: int, mode: int, source: str, id_: str) -> UUID:
    """Return an event's identity: CloudEvents' (source, id) within tenant and mode."""
    return named(_NAMESPACE.bytes, f"event:{tenant}:{mode}:{len(source)}:{source}:{id_}".encode())


def message_id(notification: UUID, address: int) -> str:
    """Return the message's external id: `notification_id.address_id`."""
    return f"{notification}.{address}"


def parse_message_id(text: str) -> tuple[NotificationId, AddressId]:
    """Split a message id. Raises ValueError if it is not one."""
    notification, dot, address = text.partition(".")
    if not dot or not address.isascii() or not address.isdigit() or len(address) > 19:
        raise ValueError("a message id is a notification's UUID, a dot and an address number")
    return NotificationId(UUID(notification)), AddressId(int(address))


class AddressHasher:
    """HMAC-SHA-256 of normalised addresses: history and audit can find one, but never read it back."""

    def __init__(self, key: bytes) -> None:
        self._mac = mac_of(key)

    def __call__(self, kind: str, normalised: str) -> bytes:
        """Return the 32-byte hash of an address (`kind`: email, phone, device, webhook), already normalised by
        libs.addresses."""
        return self._mac.digest(f"{kind}:{normalised}".encode())
