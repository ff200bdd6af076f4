"""Owns parsing a mail's structure: headers, parts, decoded text. Never raises, for any input.

Bounce mails are the worst MIME there is: missing boundaries, wrong charsets, truncated reports. So this parser is
small, linear and bounded instead of complete: it reads at most MAX_BYTES, MAX_DEPTH levels and MAX_PARTS parts; the
rest is ignored, not refused.
"""

import binascii
import codecs
import quopri
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.errors import HeaderParseError
from email.header import decode_header
from functools import lru_cache
from itertools import islice

import msgspec

from services.bounce.domain.charsets import text_of

MAX_BYTES = 256 * 1024
MAX_KEPT = 4 * MAX_BYTES  # the bytes after it are the customer's returned mail, with its pictures
MAX_HEAD = 64 * 1024
MAX_DEPTH = 8
MAX_PARTS = 64
MAX_HEADERS = 500
MAX_HEADER_CHARS = 8_000
MAX_TYPE_CHARS = 2_000
MAX_ENCODED_CHARS = 1_000  # the decoder is not linear

_HEADER = re.compile(r"^([^\s:]{1,200})[ \t]*:(.*(?:\n[ \t].*)*)", re.MULTILINE)
_LOOK = 200
_BLANK_LINE = re.compile(rb"\r?\n[ \t]*\r?\n")
_PARAMETER = re.compile(r';\s*([\w*-]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;\s]*)')
_ENCODING = re.compile(r'[\s"]*([\w-]+)')
_GUESSED_BOUNDARY = re.compile(rb"^--([^\s-][^\r\n]{0,69})\r?$", re.MULTILINE)


class Headers:
    """Unfolded headers in order of appearance, with lower-case names."""

    __slots__ = ("_by_name", "items")

    def __init__(self, items: Sequence[tuple[str, str]]) -> None:
        self.items = items
        self._by_name: dict[str, list[str]] = {}
        for name, value in items:
            self._by_name.setdefault(name, []).append(value)

    def get(self, name: str) -> str:
        """Return the first value of `name`, decoded; empty if there is none."""
        values = self._by_name.get(name)
        return decode_words(values[0]) if values else ""

    def all(self, name: str) -> list[str]:
        return [decode_words(value) for value in self._by_name.get(name, ())]


class Part(msgspec.Struct, frozen=True):
    """A leaf of the mail; a returned message (message/rfc822) is a leaf too. `is_decoded`: without its encoding."""

    type: str
    parameters: Mapping[str, str]
    headers: Headers
    body: bytes
    is_decoded: bool = False

    @property
    def content(self) -> bytes:
        """The body without its transfer encoding."""
        return self.body if self.is_decoded else decoded(self.body, self.headers.get("content-transfer-encoding"))

    @property
    def text(self) -> str:
        return to_text(self.content, self.parameters)

    @property
    def is_mail(self) -> bool:
        """Whether it is a file with a mail, by its name."""
        names = (self.parameters.get("name", ""), self.headers.get("content-disposition").rpartition("filename=")[2])
        return any(name.strip('"; ').lower().endswith(".eml") for name in names)


@dataclass(slots=True)
class _Walk:
    parts: list[Part] = field(default_factory=list)


def parse(raw: bytes) -> tuple[Part, list[Part]]:
    """Return the mail itself (its headers, its type) and its leaves, in order."""
    headers, body = split_message(raw[:MAX_BYTES])
    kind, parameters = content_type(headers.get("content-type"))
    root = Part(kind, parameters, headers, body)
    walk = _Walk()
    _collect(root, 0, walk)
    return root, walk.parts


def _collect(part: Part, depth: int, walk: _Walk) -> None:
    if len(walk.parts) >= MAX_PARTS:
        return
    pieces = _pieces(part) if part.type.startswith("multipart/") and depth < MAX_DEPTH else []
    if not pieces:
        walk.parts.append(part)
        return
    for piece in pieces[:MAX_PARTS]:
        headers, body = split_message(piece)
        kind, parameters = content_type(headers.get("content-type"))
        _collect(Part(kind, parameters, headers, body), depth + 1, walk)


def _pieces(part: Part) -> list[bytes]:
    boundary = part.parameters.get("boundary", "").encode("latin-1", "replace").rstrip()
    if not boundary or b"--" + boundary not in part.body:
        guess = _GUESSED_BOUNDARY.search(part.body)
        if guess is None:
            return []
        boundary = guess.group(1).rstrip()
    return [piece for piece in _split(part.body, b"--" + boundary) if piece.strip()]


def _split(body: bytes, mark: bytes) -> list[bytes]:
    """Split at lines that equal the mark, or the mark and `--`; into at most MAX_PARTS."""
    pieces: list[bytes] = []
    begin, at, looked = -1, 0 if body.startswith(mark) else body.find(b"\n" + mark) + 1, 0
    while (at or not looked) and len(pieces) < MAX_PARTS and looked < 4 * MAX_PARTS:
        looked += 1
        end = body.find(b"\n", at)
        end = len(body) if end < 0 else end + 1
        if body[at + len(mark) : end].strip() in (b"", b"--"):
            if begin >= 0:
                pieces.append(body[begin:at])
            begin = end
        at = body.find(b"\n" + mark, end - 1) + 1
    return [*pieces, body[begin:]] if begin >= 0 else []


def split_message(raw: bytes) -> tuple[Headers, bytes]:
    """Split headers and body; a text without any header is all body."""
    if raw.startswith((b"\n", b"\r\n")):
        return Headers([]), raw.lstrip(b"\r\n")
    end = _BLANK_LINE.search(raw)
    head, body = (raw[: end.start()], raw[end.end() :]) if end else (raw, b"")
    headers = parse_headers(to_text(head[:MAX_HEAD], {}))
    return (headers, body) if headers.items else (headers, raw)


def parse_headers(text: str) -> Headers:
    """Parse header lines, folded or not; other lines are skipped (mbox's From, stray text)."""
    found = islice(header_lines(text.replace("\r\n", "\n")), MAX_HEADERS)
    return Headers([(name.lower(), unfolded(value[:MAX_HEADER_CHARS])) for name, value in found])


def header_lines(text: str) -> list[tuple[str, str]]:
    """Return names and values, folded as received; the lines end in \\n."""
    return _HEADER.findall(text)


def unfolded(value: str) -> str:
    return " ".join(line.strip() for line in value.split("\n")).strip() if "\n" in value else value.strip()


def content_type(value: str) -> tuple[str, Mapping[str, str]]:
    """Return the type in lower case (text/plain if absent or broken) and its parameters."""
    return _content_type(value[:MAX_TYPE_CHARS])


@lru_cache(maxsize=1_000)
def _content_type(value: str) -> tuple[str, Mapping[str, str]]:
    """Most are the same few."""
    kind = value.partition(";")[0].strip().lower()
    parameters = {match[1].lower(): match[2].strip('"').replace('\\"', '"') for match in _PARAMETER.finditer(value)}
    return (kind if "/" in kind else "text/plain"), parameters


def encoding_of(value: str) -> str:
    """Return the word in a Content-Transfer-Encoding: some write it in quotes, or something after it."""
    found = _ENCODING.match(value)
    return found[1].lower() if found else ""


def decoded(body: bytes, encoding: str) -> bytes:
    """Remove the transfer encoding; a body that does not decode stays as received."""
    match encoding_of(encoding):
        case "base64":
            try:
                return binascii.a2b_base64(re.sub(rb"[^A-Za-z0-9+/]", b"", body) + b"==")
            except binascii.Error:
                return body
        case "quoted-printable":
            return quopri.decodestring(body)
        case _:
            return body


def to_text(body: bytes, parameters: Mapping[str, str]) -> str:
    """Decode text with the named charset, else as what it looks like; never with NUL or lone surrogates."""
    return clean(text_of(body, parameters.get("charset")))


def normal(raw: bytes) -> bytes:
    """Return the mail in an ASCII-compatible encoding, with lines ending in LF or CRLF: some come as UTF-16, some went
    through programs that know only CR, or write CR twice."""
    if not raw.isascii() or b"\x00" in raw[:_LOOK]:
        raw = _narrow(raw)
    if b"\r" in raw:
        if b"\r\r\n" in raw:
            raw = raw.replace(b"\r\r\n", b"\r\n")
        if b"\r\n" not in raw:
            raw = raw.replace(b"\r", b"\n")
    return raw


def _narrow(raw: bytes) -> bytes:
    start = raw[:_LOOK]
    if raw[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return raw.decode("utf-16", "replace").encode("utf-8", "replace")
    if 5 * start.count(0) > 2 * len(start):  # half of the bytes, in text of ASCII letters
        kind = "utf-16-be" if start[::2].count(0) > start[1::2].count(0) else "utf-16-le"
        return raw.decode(kind, "replace").encode("utf-8", "replace")
    return raw.removeprefix(codecs.BOM_UTF8)


def clean(text: str) -> str:
    """Return text that Postgres and JSON accept."""
    if text.isascii() and "\x00" not in text:
        return text
    return text.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")


def decode_words(value: str) -> str:
    """Decode RFC 2047 encoded words; broken ones stay as they are."""
    if "=?" not in value:
        return value
    try:
        pieces = decode_header(value[:MAX_ENCODED_CHARS])
    except (HeaderParseError, binascii.Error, ValueError):
        return value
    return "".join(
        to_text(piece, {"charset": charset or "utf-8"}) if isinstance(piece, bytes) else clean(piece)
        for piece, charset in pieces
    )
