"""Response fields from HPACK (RFC 7541): a known block is a lookup, a new one costs a few µs.

The `hpack` library needs 19–27 µs for one of Google's replies; we use its tables and its Huffman code. Replies that
differ in one field (a duration, a date) change the dynamic table each time and cannot be cached as a whole.
"""

from collections import deque
from functools import lru_cache

from hpack import HPACKError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

from services.delivery.adapters.http2.frames import DEFAULT_TABLE, Code, Fault

_STATIC = ((b"", b""), *HeaderTable.STATIC_TABLE)  # counted from 1
_STATIC_COUNT = len(HeaderTable.STATIC_TABLE)
_ENTRY_OVERHEAD = 32
_MOST_REMEMBERED = 512
_LONGEST_INTEGER = 28  # bits after the prefix: 2**28 is far more than any length or index here

_unpacked = lru_cache(4_096)(decode_huffman)


class Head:
    """A block's fields by name (the last one of a repeated name), and the status: 0 if there is none."""

    __slots__ = ("fields", "status")

    def __init__(self, fields: dict[bytes, bytes]) -> None:
        self.fields = fields
        status = fields.get(b":status", b"")
        self.status = int(status) if len(status) == 3 and status.isdigit() else 0


class FieldDecoder:
    """The decoder of one connection. It must decode every incoming block, in order."""

    def __init__(self) -> None:
        self._table: deque[tuple[bytes, bytes]] = deque()  # the newest last
        self._used = 0
        self._size = DEFAULT_TABLE
        self._changed = False
        self._known: dict[bytes, Head] = {}

    def decode(self, block: bytes) -> Head:
        """Decode a block. Raises Fault if it is not HPACK."""
        head = self._known.get(block)
        if head is not None:
            return head
        self._changed = False
        try:
            head = Head(dict(self._fields(block)))
        except (IndexError, HPACKError) as error:
            raise Fault(Code.COMPRESSION_ERROR, f"fields that cannot be read: {error}") from error
        if self._changed or len(self._known) >= _MOST_REMEMBERED:
            self._known.clear()
        if not self._changed:
            self._known[block] = head
        return head

    def _fields(self, block: bytes) -> list[tuple[bytes, bytes]]:
        fields: list[tuple[bytes, bytes]] = []
        at, end = 0, len(block)
        while at < end:
            first = block[at]
            if first >= 0x80:
                index, at = (first & 0x7F, at + 1) if first < 0xFF else _integer(block, at, 0x7F)
                fields.append(self._entry(index))
            elif first & 0xE0 == 0x20:
                if fields:
                    raise Fault(Code.COMPRESSION_ERROR, "the table's size changes between fields")
                size, at = _integer(block, at, 0x1F)
                self._resize(size)
            else:
                insert = first >= 0x40
                index, at = _integer(block, at, 0x3F if insert else 0x0F)
                if index:
                    name = self._entry(index)[0]
                else:
                    name, at = _string(block, at)
                value, at = _string(block, at)
                if insert:
                    self._insert(name, value)
                fields.append((name, value))
        return fields

    def _entry(self, index: int) -> tuple[bytes, bytes]:
        if index > _STATIC_COUNT:
            return self._table[_STATIC_COUNT - index]
        if index == 0:
            raise Fault(Code.COMPRESSION_ERROR, "a field with index 0")
        return _STATIC[index]

    def _insert(self, name: bytes, value: bytes) -> None:
        """An entry larger than the table empties it, which is not an error (§4.4)."""
        self._changed = True
        self._table.append((name, value))
        self._used += len(name) + len(value) + _ENTRY_OVERHEAD
        self._evict()

    def _resize(self, size: int) -> None:
        if size > DEFAULT_TABLE:
            raise Fault(Code.COMPRESSION_ERROR, f"a table of {size} bytes, where we allow {DEFAULT_TABLE}")
        self._changed = True
        self._size = size
        self._evict()

    def _evict(self) -> None:
        while self._used > self._size:
            name, value = self._table.popleft()
            self._used -= len(name) + len(value) + _ENTRY_OVERHEAD


def _integer(block: bytes, at: int, mask: int) -> tuple[int, int]:
    """Return the number that begins at `at`, and where it ends."""
    value = block[at] & mask
    at += 1
    if value < mask:
        return value, at
    shift = 0
    while True:
        byte = block[at]
        at += 1
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > _LONGEST_INTEGER:
            raise Fault(Code.COMPRESSION_ERROR, "a number without end")


def _string(block: bytes, at: int) -> tuple[bytes, int]:
    packed = block[at] >= 0x80
    length, at = _integer(block, at, 0x7F)
    end = at + length
    if end > len(block):
        raise Fault(Code.COMPRESSION_ERROR, "a text that goes on after its block")
    text = block[at:end]
    return (_unpacked(text) if packed else text), end
