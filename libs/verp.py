"""Variable envelope return paths, signed: a bounce mail names the message and attempt that it is about.

Local part: `b-` and base32 (RFC 4648, lower case, no padding) of version (1 byte), notification id (16),
address id (8), attempt (1) and MAC (6): 32 bytes, 52 characters of the 64 octets that RFC 5321 §4.5.3.1.1 allows.
"""

import hmac
import re
from dataclasses import dataclass
from uuid import UUID

from libs.ids import uuid_of
from libs.mac import mac_of

_PREFIX = "b-"
_VERSION = 1
_MAC_BYTES = 6
_BODY_BYTES = 26
# base32 two characters at a time: half of what base64.b32encode takes, and there is one for every mail
_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_PADDING_BITS = -(_BODY_BYTES + _MAC_BYTES) * 8 % 5
_LOCAL = re.compile(rf"{_PREFIX}[{_ALPHABET}]{{{((_BODY_BYTES + _MAC_BYTES) * 8 + _PADDING_BITS) // 5}}}")
_DIGITS = str.maketrans(_ALPHABET, "0123456789abcdefghijklmnopqrstuv")  # as int() reads base 32
_SHIFTS = tuple(range((_BODY_BYTES + _MAC_BYTES) * 8 + _PADDING_BITS - 10, -1, -10))


@dataclass(frozen=True, slots=True)
class Verp:
    """What a signed return path says."""

    notification_id: UUID
    address_id: int
    attempt: int


@dataclass(frozen=True, slots=True)
class ReturnPath:
    """Makes and reads the return paths of one domain."""

    key: bytes
    domain: str

    def make(self, notification: UUID, address_id: int, attempt: int) -> str:
        """The envelope sender for one attempt."""
        if address_id >> 63:
            raise ValueError(f"an address's id has 63 bits, not {address_id}")
        number = ((_VERSION << 128 | notification.int) << 64 | address_id) << 8 | min(attempt, 255)
        mac = mac_of(self.key).digest(number.to_bytes(_BODY_BYTES))[:_MAC_BYTES]
        number = (number << _MAC_BYTES * 8 | int.from_bytes(mac)) << _PADDING_BITS
        local = "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])
        return f"{_PREFIX}{local}@{self.domain}"

    def read(self, address: str) -> Verp | None:
        """What the address says, or None where we did not sign it. Case and domain do not matter:
        servers on the way fold the case, and forwarders rewrite the domain."""
        local = address.strip().strip("<>").partition("@")[0].lower()
        if not _LOCAL.fullmatch(local):
            return None
        number = int(local[len(_PREFIX) :].translate(_DIGITS), 32) >> _PADDING_BITS
        raw = number.to_bytes(_BODY_BYTES + _MAC_BYTES)
        body, mac = raw[:_BODY_BYTES], raw[_BODY_BYTES:]
        if body[0] != _VERSION:
            return None
        if not hmac.compare_digest(mac, mac_of(self.key).digest(body)[:_MAC_BYTES]):
            return None
        return Verp(uuid_of(body[1:17]), int.from_bytes(body[17:25]), body[25])
