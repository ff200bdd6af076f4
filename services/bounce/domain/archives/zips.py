"""Owns zip files (APPNOTE.TXT), parsed while they arrive: entry by entry, by their local headers.

The directory at the file's end is not awaited, so nothing is stored on disk. That has two costs: an entry whose length
follows it must be deflated, which marks its end; and entries deleted only from the directory reappear.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from services.bounce.domain.archives.mbox import Mbox, is_mbox
from services.bounce.domain.archives.parts import Allowance, Bounds, Found, Refused, Unreadable

_ENTRY = struct.Struct("<4sHHHHHIIIHH")
_SIZES = struct.Struct("<QQ")
_HEADER, _LIST, _END, _LIST_64 = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x06"
_BEHIND = b"PK\x07\x08"
_STORED, _DEFLATED = 0, 8
_ENCRYPTED, _SIZES_BEHIND, _UTF8 = 1, 8, 0x800
_UNKNOWN = 0xFFFFFFFF
_LONGEST_BEHIND = 24
_MOST_RATIO = 200  # of single mails; bombs reach a thousand
_RATIO_FROM = 1 << 20
_STEP = 1 << 16
_MOST_AT_ONCE = 1 << 20
# not mails, but part of every archive that is made by hand or from a Maildir
_NO_MAIL = re.compile(
    r"(?:.*/)?(?:__MACOSX/.*|\.[^/]*|Thumbs\.db|dovecot[^/]*|maildirfolder|maildirsize|subscriptions)"
)


@dataclass(slots=True)
class _Entry:
    name: str
    method: int
    crc: int
    packed: int | None  # bytes; None: only its end shows
    sizes_are_long: bool
    refusal: str | None = None
    taken: int = 0  # bytes, packed
    size: int = 0  # bytes, unpacked
    seen_crc: int = 0
    parts: list[bytes] = field(default_factory=list)
    is_whole: bool = False
    inflate: Any = field(default_factory=lambda: zlib.decompressobj(-zlib.MAX_WBITS))

    @property
    def is_mail(self) -> bool:
        return not self.name.endswith("/") and not _NO_MAIL.fullmatch(self.name)


class Zip:
    """A push parser; see `Archive`."""

    def __init__(self, bounds: Bounds) -> None:
        self._allowance = Allowance(bounds)
        self._bounds = bounds
        self._buffer = bytearray()
        self._entry: _Entry | None = None
        self._ended = False  # no more entries; the directory follows
        self._packed = 0
        self._unpacked = 0

    def feed(self, piece: bytes) -> Iterator[Found | Refused]:
        if not self._ended:
            self._buffer += piece
        while not self._ended:
            entry = self._entry
            if entry is None:
                if not self._begin():
                    return
            elif not (self._unpack(entry) and self._behind(entry)):
                return
            else:
                self._entry = None
                if entry.is_mail:
                    yield from self._closed(entry)

    def finish(self) -> Iterator[Found | Refused]:
        if self._entry is not None and self._entry.is_mail:
            yield Refused(self._entry.name, "The archive ends in the middle of it.")
        if not self._ended:
            raise Unreadable("The zip file ends before its directory: it was truncated. Send it again.")

    def _begin(self) -> bool:
        """Parse the next entry's header; return false if more bytes are needed."""
        mark = bytes(self._buffer[:4])
        if mark in (_LIST, _END, _LIST_64):
            self._ended = True
            return True
        if len(mark) == 4 and mark != _HEADER:
            raise Unreadable("It is not a zip file, or it is damaged here: an entry should begin, and none does.")
        if len(self._buffer) < _ENTRY.size:
            return False
        _, _, flags, method, _, _, crc, packed, _, name_bytes, extra_bytes = _ENTRY.unpack_from(self._buffer)
        end = _ENTRY.size + name_bytes + extra_bytes
        if len(self._buffer) < end:
            return False
        name = bytes(self._buffer[_ENTRY.size : _ENTRY.size + name_bytes])
        extra = bytes(self._buffer[_ENTRY.size + name_bytes : end])
        del self._buffer[:end]
        long_sizes = _long_sizes(extra)
        length = None if flags & _SIZES_BEHIND else packed
        if length == _UNKNOWN and long_sizes is not None:
            length = long_sizes[1]
        text = name.decode("utf-8" if flags & _UTF8 else "cp437", "replace")[:300].replace("\x00", "")
        self._entry = _Entry(text, method, crc, length, long_sizes is not None)
        self._judge(self._entry, flags)
        return True

    def _judge(self, entry: _Entry, flags: int) -> None:
        self._allowance.begin()  # counts every entry: a million folders must end too
        if flags & _ENCRYPTED:
            entry.refusal = "It is encrypted; send it without a password."
        elif entry.method not in (_STORED, _DEFLATED):
            entry.refusal = "Its compression is not supported; use zip's usual one (deflate)."
        if entry.packed is None and (entry.refusal or entry.method == _STORED):
            raise Unreadable(f"{entry.name}: its end cannot be found. Create the zip again, deflated.")

    def _unpack(self, entry: _Entry) -> bool:
        """Take what has arrived of an entry; return whether that was all of it."""
        while not entry.is_whole:
            piece = bytes(self._buffer[: _STEP if entry.packed is None else min(_STEP, entry.packed - entry.taken)])
            if not piece:
                return False
            used = len(piece)
            if entry.method == _STORED:
                self._keep(entry, piece)
            elif entry.refusal is None:
                used = self._inflated(entry, piece)
            del self._buffer[:used]
            entry.taken += used
            self._packed += used
            entry.is_whole = entry.taken == entry.packed if entry.packed is not None else entry.inflate.eof
        return True

    def _inflated(self, entry: _Entry, piece: bytes) -> int:
        """Return how much of the piece belongs to the entry."""
        if entry.inflate.eof:  # the announced size was too large
            return len(piece)
        try:
            rest, data = piece, b"-"
            while data and not entry.inflate.eof:
                data = entry.inflate.decompress(rest, _MOST_AT_ONCE)
                rest = entry.inflate.unconsumed_tail
                self._keep(entry, data)
                if self._unpacked > max(_RATIO_FROM, _MOST_RATIO * (self._packed + len(piece))):
                    raise Unreadable(f"{entry.name} is compressed more than {_MOST_RATIO}-fold, as no mail is.")
        except zlib.error as error:
            raise Unreadable(f"{entry.name} is damaged, and what follows cannot be found. Pack it again.") from error
        return len(piece) - len(entry.inflate.unused_data)

    def _keep(self, entry: _Entry, data: bytes) -> None:
        entry.size += len(data)
        entry.seen_crc = zlib.crc32(data, entry.seen_crc)
        self._unpacked += len(data)
        self._allowance.take(len(data))
        if entry.is_mail and entry.size <= self._bounds.mail_bytes:
            entry.parts.append(data)
        else:
            entry.parts.clear()

    def _behind(self, entry: _Entry) -> bool:
        """Take what follows an entry: an optional signature, the checksum, and sizes of 4 or 8 bytes."""
        if entry.packed is not None:
            return True
        if len(self._buffer) < _LONGEST_BEHIND:
            return False
        marked = len(_BEHIND) if self._buffer.startswith(_BEHIND) else 0
        (entry.crc,) = struct.unpack_from("<I", self._buffer, marked)
        short = struct.pack("<II", entry.taken & _UNKNOWN, entry.size & _UNKNOWN)
        is_long = self._buffer[marked + 4 : marked + 12] != short if entry.size else entry.sizes_are_long
        del self._buffer[: marked + (20 if is_long else 12)]
        return True

    def _closed(self, entry: _Entry) -> Iterator[Found | Refused]:
        """Yield the entry's mail; all mails if it is an mbox, as mail programs store a folder."""
        raw = b"".join(entry.parts)
        if entry.refusal:
            yield Refused(entry.name, entry.refusal)
        elif entry.size > self._bounds.mail_bytes:
            yield self._allowance.too_large(entry.name)
        elif entry.seen_crc != entry.crc:
            yield Refused(entry.name, "It is damaged: its checksum does not match. Pack it again.")
        elif raw.startswith(_HEADER):
            yield Refused(entry.name, "It is a zip file inside the zip file; send it by itself.")
        elif is_mbox(raw):
            mails = Mbox(self._bounds)
            for one in (*mails.feed(raw), *mails.finish()):
                self._allowance.begin()
                yield replace(one, name=f"{entry.name}, {one.name}")
        else:
            yield self._allowance.checked(entry.name, raw)


def _long_sizes(extra: bytes) -> tuple[int, int] | None:
    """Return the sizes of zip64, unpacked and packed."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            return _SIZES.unpack_from(extra, at + 4) if length >= _SIZES.size and at + 20 <= len(extra) else (0, 0)
        at += 4 + length
    return None
