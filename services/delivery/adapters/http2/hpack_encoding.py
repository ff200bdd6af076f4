"""Request fields as HPACK (RFC 7541), for one set of fields sent over and over.

The long ones (a bearer token has 1 KB) enter the peer's dynamic table with the first request; each further request is
a dozen bytes of indices, always the same. The encoder inserts only fields that fit together: a field that does not
fit would empty the table with each request.
"""

from collections import deque
from collections.abc import Sequence

from hpack.table import HeaderTable

from services.delivery.adapters.http2.frames import DEFAULT_TABLE

Field = tuple[bytes, bytes]

_ENTRY_OVERHEAD = 32
_INDEXED, _INSERTED, _RESIZED, _PLAIN = 0x80, 0x40, 0x20, 0x00
_STATIC_FIELDS = {field: index for index, field in reversed(list(enumerate(HeaderTable.STATIC_TABLE, 1)))}
_STATIC_NAMES = {field[0]: index for index, field in reversed(list(enumerate(HeaderTable.STATIC_TABLE, 1)))}
_FIRST_DYNAMIC = len(HeaderTable.STATIC_TABLE) + 1


class FieldEncoder:
    """The encoder of one connection. Every block that it returns must be sent, in order."""

    def __init__(self) -> None:
        self._table: deque[Field] = deque()  # the newest first
        self._used = 0
        self._size = DEFAULT_TABLE
        self._smallest: int | None = None  # since the last block, if the size has changed
        self.steady = False  # whether the last block left the table unchanged, and so may be sent again

    def resize(self, allowed: int) -> None:
        """Apply the peer's SETTINGS_HEADER_TABLE_SIZE. We never use more than the default."""
        size = min(allowed, DEFAULT_TABLE)
        if size == self._size:
            return
        self._smallest = size if self._smallest is None else min(self._smallest, size)
        self._size = size
        self._evict(0)
        self.steady = False

    def encode(self, fields: Sequence[Field]) -> bytes:
        """Return the block for these fields, pseudo-header fields first."""
        self.steady = True
        block = bytearray()
        if self._smallest is not None:  # a peer that shrank the table expects the smallest size, then the last
            for size in sorted({self._smallest, self._size}):
                block += integer(size, 5, _RESIZED)
            self._smallest, self.steady = None, False
        kept = self._worth_keeping(fields)
        for field in fields:
            block += self._encode(field, insert=field in kept)
        return bytes(block)

    def _worth_keeping(self, fields: Sequence[Field]) -> set[Field]:
        """Return the fields that fit into the table together, the largest first."""
        kept, left = set(), self._size
        # a stable choice between two of the same cost, whatever the order of the set
        for field in sorted(set(fields) - _STATIC_FIELDS.keys(), key=lambda f: (_cost(f), f), reverse=True):
            if _cost(field) <= left:
                kept.add(field)
                left -= _cost(field)
        return kept

    def _encode(self, field: Field, *, insert: bool) -> bytes:
        index = _STATIC_FIELDS.get(field)
        if index is None and field in self._table:
            index = _FIRST_DYNAMIC + self._table.index(field)
        if index is not None:
            return integer(index, 7, _INDEXED)
        name, value = field
        known = _STATIC_NAMES.get(name, 0)
        start = integer(known, 6, _INSERTED) if insert else integer(known, 4, _PLAIN)
        if insert:
            self._evict(_cost(field))
            self._table.appendleft(field)
            self._used += _cost(field)
            self.steady = False
        return start + (b"" if known else _string(name)) + _string(value)

    def _evict(self, room: int) -> None:
        while self._used + room > self._size:
            self._used -= _cost(self._table.pop())


def _cost(field: Field) -> int:
    return len(field[0]) + len(field[1]) + _ENTRY_OVERHEAD


def _string(value: bytes) -> bytes:
    """Not Huffman-coded, which would save a few bytes once per connection."""
    return integer(len(value), 7, 0) + value


def integer(value: int, bits: int, pattern: int) -> bytes:
    """RFC 7541 §5.1: encode a number in the low `bits` of the first byte, with `pattern` above it."""
    most = (1 << bits) - 1
    if value < most:
        return bytes((pattern | value,))
    out = [pattern | most]
    value -= most
    while value >= 128:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
