"""Splits incoming bytes into lines and CSV records, without holding the whole file in memory.

Spreadsheets write many variants: a BOM or none, UTF-16, Windows-1252, `;` or tabs, `sep=;`, CRLF, CR alone, line
breaks inside quotes (RFC 4180). All are accepted. Unreadable lines are refused with their number, and the rest is
read.
"""

import codecs
import csv
from collections.abc import Iterator
from dataclasses import dataclass

from libs.errors import Invalid

MAX_LINE_BYTES = 262_144
MAX_RECORD_CHARACTERS = 65_536
DELIMITERS = ",;\t|"


@dataclass(frozen=True, slots=True)
class Line:
    """A line without its end; `problem` says why its text cannot be read."""

    number: int
    text: str
    problem: str | None = None


class Lines:
    """Bytes in, lines out. UTF-8 unless a BOM or `charset` says otherwise; Windows-1252 if it cannot be UTF-8."""

    def __init__(self, charset: str | None = None) -> None:
        self._charset = _codec(charset)
        self._decoder: codecs.IncrementalDecoder | None = None
        self._buffer = b""
        self._end = b""
        self._number = 0
        self.bytes = 0  # how far the file was read
        self._skipping = False
        self._started = False
        self._seen_utf8 = False

    def feed(self, chunk: bytes) -> Iterator[Line]:
        """Yield the lines that are complete now."""
        self.bytes += len(chunk)
        text = self._as_utf8(chunk)  # before +=, which would add to the previous buffer
        self._buffer += text
        if not self._end and not self._find_end():
            return
        lines = self._buffer.split(self._end)
        self._buffer = lines.pop()
        for raw in lines:
            self._number += 1
            if self._skipping or len(raw) > MAX_LINE_BYTES:
                self._skipping = False
                yield self._too_long()
            else:
                yield self._decoded(raw)
        if len(self._buffer) > MAX_LINE_BYTES:
            self._buffer, self._skipping = b"", True

    def finish(self) -> Iterator[Line]:
        """Yield the last line, which may lack its end."""
        if self._started is False:
            self._buffer = self._as_utf8(b"", final=True)
        if not self._end and b"\r" in self._buffer:
            self._end = b"\r"
            yield from self.feed(b"")
        if self._skipping:
            self._number += 1
            yield self._too_long()
        elif self._buffer:
            self._number += 1
            yield self._decoded(self._buffer)
        self._buffer = b""

    def _as_utf8(self, chunk: bytes, *, final: bool = False) -> bytes:
        if not self._started:
            chunk, self._buffer = self._buffer + chunk, b""
            if len(chunk) < 4 and not final:
                return chunk
            self._started = True
            chunk = self._without_mark(chunk)
        if self._decoder is None:
            return chunk
        return self._decoder.decode(chunk).encode("utf-8", "replace")

    def _without_mark(self, chunk: bytes) -> bytes:
        for mark, name in ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")):
            if chunk.startswith(mark):
                self._charset, chunk = name, chunk[2:]
        if self._charset is None and b"\0" in chunk[:4]:  # UTF-16 without a mark, as databases export it
            self._charset = "utf-16-be" if chunk[:1] == b"\0" else "utf-16-le"
        if chunk.startswith(codecs.BOM_UTF8):
            self._charset, chunk = None, chunk[3:]
        if self._charset is not None:
            self._decoder = codecs.getincrementaldecoder(self._charset)("replace")
        return chunk

    def _find_end(self) -> bool:
        feed, carriage = self._buffer.find(b"\n"), self._buffer.find(b"\r")
        if feed >= 0 and (carriage < 0 or carriage >= feed - 1):
            self._end = b"\n"
        elif 0 <= carriage < len(self._buffer) - 1:
            self._end = b"\n" if self._buffer[carriage + 1] == 0x0A else b"\r"
        elif len(self._buffer) > MAX_LINE_BYTES:
            self._end = b"\n"
        return bool(self._end)

    def _decoded(self, raw: bytes) -> Line:
        raw = raw.removesuffix(b"\r") if self._end == b"\n" else raw
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            if self._seen_utf8:
                problem = "The line is not UTF-8, unlike lines before it; save the file in UTF-8."
                return Line(self._number, "", problem)
        else:
            self._seen_utf8 = self._seen_utf8 or not text.isascii()
            return Line(self._number, text)
        try:
            return Line(self._number, raw.decode("cp1252"))
        except UnicodeDecodeError:
            return Line(self._number, raw.decode("latin-1"))

    def _too_long(self) -> Line:
        return Line(self._number, "", f"The line is longer than {MAX_LINE_BYTES:,} bytes; a line end may be missing.")


def _codec(charset: str | None) -> str | None:
    if charset is None:
        return None
    try:
        name = codecs.lookup(charset.strip().strip("\"'")).name
        "".encode(name)
    except (LookupError, ValueError) as error:
        raise Invalid("This charset is unknown; send UTF-8.", pointer="content-type") from error
    return None if name in ("utf-8", "ascii", "utf-8-sig") else name


@dataclass(frozen=True, slots=True)
class Record:
    """The cells of a CSV record, and the line that it starts on; `problem` says why it cannot be read."""

    line: int
    cells: tuple[str, ...]
    problem: str | None = None


class CsvRecords:
    """Lines in, records out; the first record is the header and determines the delimiter."""

    def __init__(self, delimiter: str | None = None) -> None:
        self._delimiter = delimiter
        self._open: list[str] = []
        self._open_line = 0
        self._inside = False

    def feed(self, line: Line) -> Record | None:
        """Return the record that this line ends, if it does."""
        if line.problem is not None:
            self._open, self._inside = [], False
            return Record(line.number, (), line.problem)
        if self._delimiter is None:
            if line.text.lower().startswith("sep=") and len(line.text) == 5:
                self._delimiter = line.text[4]
                return None
            if not line.text.strip():
                return None
            self._delimiter = delimiter_of(line.text)
        if not self._open:
            if not line.text.strip(self._delimiter + " \t"):
                return None
            self._open_line = line.number
        self._open.append(line.text)
        self._inside = _ends_inside(line.text, self._delimiter, self._inside)
        if not self._inside:
            return self._close(line.number)
        if sum(map(len, self._open)) > MAX_RECORD_CHARACTERS:
            return self._unclosed(line.number)
        return None

    def finish(self) -> Record | None:
        """Return the record that the end of the file leaves open."""
        return self._unclosed(self._open_line + len(self._open) - 1) if self._open else None

    def _close(self, last: int) -> Record:
        text = "\n".join(self._open)
        self._open = []
        if len(text) > MAX_RECORD_CHARACTERS:
            return Record(self._open_line, (), f"The row is longer than {MAX_RECORD_CHARACTERS:,} characters.")
        try:
            return Record(self._open_line, tuple(next(csv.reader([text], delimiter=self._delimiter or ","))))
        except (csv.Error, StopIteration) as error:
            return Record(self._open_line, (), f"This is not valid CSV ({error}).")

    def _unclosed(self, last: int) -> Record:
        self._open, self._inside = [], False
        return Record(
            self._open_line,
            (),
            f"A quote opened on line {self._open_line} is not closed; lines up to {last} were not read.",
        )


def delimiter_of(header: str) -> str:
    """Return the delimiter that occurs most often in the header, outside quotes."""
    outside = "".join(header.split('"')[::2])
    return max(DELIMITERS, key=outside.count)


def _ends_inside(text: str, delimiter: str, inside: bool) -> bool:
    if '"' not in text:
        return inside
    start = not inside
    skip = False
    for at, character in enumerate(text):
        if skip:
            skip = False
        elif character == '"' and inside:
            if text[at + 1 : at + 2] == '"':
                skip = True
            else:
                inside = False
        elif character == '"' and start:
            inside = True
        start = not inside and character == delimiter
    return inside
