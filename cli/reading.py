"""Reads events from a file or standard input as raw bytes: JSON, arrays (CloudEvents batches), NDJSON.

Nothing is parsed and rewritten on the way: numbers keep their digits, and the suite, not the CLI, rejects what is
broken, with its line. Input is read in pieces, because a file may be larger than memory.
"""

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from cli.errors import UsageError

MAX_EVENT_BYTES = 16 << 20
_PIECE = 1 << 18
_BOM = b"\xef\xbb\xbf"
_MARKS = re.compile(rb'["{}\[\]]')
_QUOTE = re.compile(rb'["\\]')
_PACKED = {  # rejected here: as text, these would be thousands of refused lines
    b"\x1f\x8b": ("gzip", "gunzip -c"),
    b"BZh": ("bzip2", "bunzip2 -c"),
    b"\x28\xb5\x2f\xfd": ("zstd", "zstdcat"),
    b"\xfd7zXZ": ("xz", "xzcat"),
    b"PK\x03\x04": ("zip", "unzip -p"),
}
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_BETWEEN = b" \t\r\n,[]"


@dataclass(frozen=True, slots=True)
class Line:
    """One event as in the input; `number` is its line in NDJSON, its place in an array."""

    number: int
    raw: bytes


def lines_of(stream: BinaryIO, *, name: str = "") -> Iterator[Line]:
    """Yield the events of a stream. NDJSON by file name or if its first line is complete; else JSON values."""
    pieces = _Pieces(stream)
    head = pieces.peek()
    if not head.strip():
        raise UsageError("There are no events in the input.", hint="Give a file with JSON, or pipe one in.")
    for marks, (what, tool) in _PACKED.items():
        if head.startswith(marks):
            raise UsageError(
                f"The input is compressed with {what}.", hint=f"Decompress it: {tool} FILE | depesche events send -"
            )
    if head.startswith(_UTF16):
        raise UsageError(
            "The input is UTF-16, as PowerShell writes it.",
            hint="Save it in UTF-8: iconv -f UTF-16 -t UTF-8 FILE | depesche events send -",
        )
    if name.lower().endswith((".ndjson", ".jsonl")) or _looks_like_lines(head):
        return _ndjson(pieces)
    return _values(pieces)


def _looks_like_lines(head: bytes) -> bool:
    found = [line for line in head.split(b"\n") if line.strip()][:2]
    # two lines are checked, because the very first may be a broken one
    return not head.lstrip().startswith(b"[") and any(_whole(line) for line in found)


def _whole(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


class _Pieces:
    """A stream in pieces that can peek at the first."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._head: bytes | None = None

    def peek(self) -> bytes:
        if self._head is None:
            self._head = self._stream.read(_PIECE).removeprefix(_BOM)
        return self._head

    def __iter__(self) -> Iterator[bytes]:
        piece = self.peek()
        while piece:
            yield piece
            piece = self._stream.read(_PIECE)


def _ndjson(pieces: Iterable[bytes]) -> Iterator[Line]:
    number = 0
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            number += 1
            if line.strip():
                yield Line(number, line.strip())
        _check_size(rest, number + 1)
    if rest.strip():
        yield Line(number + 1, rest.strip())


def _values(pieces: Iterable[bytes]) -> Iterator[Line]:
    splitter = _Splitter()
    number = 0
    for piece in pieces:
        for value in splitter.feed(piece):
            number += 1
            yield Line(number, value)
    if rest := splitter.rest():
        yield Line(number + 1, rest)  # cut off in the middle: the suite says what is wrong with it


class _Splitter:
    """Cuts objects out of an array or a sequence, without parsing them.

    Text between objects that is not a separator is yielded too: the suite must reject it; we must not drop it."""

    def __init__(self) -> None:
        self._buffer = b""
        self._at = 0  # everything up to here was scanned
        self._begin = 0  # start of what was not yielded yet
        self._depth = 0
        self._quoted = False

    def feed(self, piece: bytes) -> Iterator[bytes]:
        self._buffer += piece
        while (mark := self._next()) is not None:
            if value := self._taken(mark):
                yield value
        self._buffer = self._buffer[self._begin :]
        self._at -= self._begin
        self._begin = 0
        _check_size(self._buffer, None)

    def rest(self) -> bytes:
        """Return what is left at the end: a value that was cut off."""
        return _one_line(self._buffer if self._depth else self._buffer.strip(_BETWEEN))

    def _next(self) -> int | None:
        """Return the position of the next brace outside strings."""
        while True:
            match = (_QUOTE if self._quoted else _MARKS).search(self._buffer, self._at)
            if match is None:
                self._at = len(self._buffer)
                return None
            at = match.start()
            if self._buffer[at : at + 1] == b"\\":
                if at + 1 >= len(self._buffer):
                    self._at = at  # the escaped character is in the next piece
                    return None
                self._at = at + 2
                continue
            self._at = at + 1
            if self._buffer[at : at + 1] == b'"':
                self._quoted = not self._quoted
                continue
            return at

    def _taken(self, at: int) -> bytes:
        mark = self._buffer[at : at + 1]
        if not self._depth:
            if mark != b"{":
                return b""  # the brackets of the array itself
            between, self._begin, self._depth = self._buffer[self._begin : at], at, 1
            return _one_line(between.strip(_BETWEEN))
        self._depth += 1 if mark in b"{[" else -1
        if self._depth:
            return b""
        value, self._begin = self._buffer[self._begin : at + 1], at + 1
        return _one_line(value)


def _one_line(raw: bytes) -> bytes:
    # line ends outside strings are white space in JSON, and none may occur inside one
    return raw.replace(b"\r", b" ").replace(b"\n", b" ").strip()


def _check_size(raw: bytes, number: int | None) -> None:
    if len(raw) > MAX_EVENT_BYTES:
        where = f"line {number}" if number else "one event"
        raise UsageError(
            f"The input has {where} of more than {MAX_EVENT_BYTES >> 20} MB.",
            hint="That is not an event: check that the file has one JSON object per line, or an array of them.",
        )
