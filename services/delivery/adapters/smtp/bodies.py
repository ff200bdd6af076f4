"""The body of a mail: multipart/alternative with a text and an HTML part (RFC 2046).

Most mails of a template differ in only a few values. For those, the literals are encoded once, boundaries included,
and each mail is one join. Anything less regular is encoded as a whole.
"""

import base64
import binascii
import re
import secrets

from libs.rendering.contents import EmailContent, Woven

_LONGEST_LINE = 998  # RFC 5322 §2.1.1
_BASE64_LINE = 57  # 76 characters encoded
_CHARACTER_BYTES = 4  # at most, in UTF-8
_REMEMBERED = 64
_BREAKING = re.compile("[\r\n\0]")  # not allowed within a line


class Bodies:
    """Builds bodies. Everything that does not depend on the single mail is built once."""

    def __init__(self) -> None:
        self._boundary = f"=_{secrets.token_hex(12)}"
        # by the literals of text and HTML, and whether the values in each are ASCII
        self._frames: dict[tuple[tuple[str, ...], tuple[str, ...], bool, bool], _Frame] = {}
        # by identity; holds the content so that its id is not reused
        self._encoded: dict[tuple[int, bool], tuple[EmailContent, bytes]] = {}

    def of(self, content: EmailContent, eight_bit: bool) -> bytes:
        """Return the body; `eight_bit` if the server offers 8BITMIME (RFC 6152)."""
        text, html = content.words, content.page
        body = None
        if isinstance(text, Woven) and isinstance(html, Woven):
            body = self._framed(text, html, eight_bit)
        return self._as_a_whole(content, eight_bit) if body is None else body

    def _framed(self, text: Woven, html: Woven, eight_bit: bool) -> bytes | None:
        """Build the body from literals and values; None if it must be encoded as a whole."""
        words, page = "".join(text.values), "".join(html.values)
        key = (text.literals, html.literals, words.isascii(), page.isascii())
        frame = self._frames.get(key)
        if frame is None:
            if len(self._frames) >= _REMEMBERED:
                self._frames.clear()
            frame = self._frames[key] = self._frame(*key)
        if not (eight_bit or frame.is_ascii):
            return None
        return frame.filled(text.values + html.values, words + page)

    def _frame(self, text: tuple[str, ...], html: tuple[str, ...], ascii_words: bool, ascii_page: bool) -> "_Frame":
        ascii_words = ascii_words and "".join(text).isascii()
        ascii_page = ascii_page and "".join(html).isascii()
        around = self._around(_as_it_is(ascii_words), _as_it_is(ascii_page))
        return _Frame(text, html, around, ascii_words and ascii_page)

    def _as_a_whole(self, content: EmailContent, eight_bit: bool) -> bytes:
        key = (id(content), eight_bit)
        known = self._encoded.get(key)
        if known is not None and known[0] is content:
            return known[1]
        (text, words), (html, page) = encode_text(content.text, eight_bit), encode_text(content.html, eight_bit)
        before, between, behind = self._around(text, html)
        body = b"".join((before, words, between, page, behind))
        if len(self._encoded) >= _REMEMBERED:
            self._encoded.clear()
        self._encoded[key] = (content, body)
        return body

    def _around(self, text: str, html: str) -> tuple[bytes, bytes, bytes]:
        """Return what goes before, between and after the parts, by their transfer encodings."""
        mark = self._boundary
        before = f'Content-Type: multipart/alternative; boundary="{mark}"\r\n\r\n--{mark}\r\n{_head("plain", text)}'
        between = f"\r\n--{mark}\r\n{_head('html', html)}"
        return before.encode(), between.encode(), f"\r\n--{mark}--\r\n".encode()


class _Frame:
    """The body shared by the mails of a template, with gaps for their values."""

    __slots__ = ("_longest", "_pieces", "is_ascii")

    def __init__(
        self, text: tuple[str, ...], html: tuple[str, ...], around: tuple[bytes, bytes, bytes], is_ascii: bool
    ) -> None:
        self.is_ascii = is_ascii
        before, between, behind = around
        words, page = [_with_crlf(literal) for literal in text], [_with_crlf(literal) for literal in html]
        words[0] = before + words[0]
        page[-1] += behind
        words[-1] += between + page[0]
        pieces = words + page[1:]
        self._pieces = [part for piece in pieces for part in (piece.decode(), "")]
        whole = "".join(text) + "\n" + "".join(html)
        self._longest = max(len(line.encode("utf-8", "replace")) for line in whole.split("\n"))
        if "\r" in whole or "\0" in whole:
            self._longest = _LONGEST_LINE + 1

    def filled(self, values: list[str], together: str) -> bytes | None:
        """Return the body with these values (`together`: joined); None if one could break a line or
        make it too long."""
        if not together.isprintable() and _BREAKING.search(together):
            return None
        size = len(together) if together.isascii() else len(together) * _CHARACTER_BYTES
        if self._longest + size > _LONGEST_LINE:
            return None
        pieces = self._pieces.copy()
        pieces[1:-1:2] = values
        return "".join(pieces).encode("utf-8", "replace")


def encode_text(text: str, eight_bit: bool) -> tuple[str, bytes]:
    """Return the transfer encoding and the bytes, lines ending in CRLF.

    Unencoded if the server's extensions and the line lengths allow it; quoted-printable if most of it is ASCII;
    base64 if quoted-printable would triple it."""
    raw = _with_crlf(text)
    ascii_only = text.isascii()
    if not _has_long_line(raw) and (ascii_only or eight_bit) and b"\0" not in raw:
        return _as_it_is(ascii_only), raw
    if not ascii_only and (len(raw) - len(text)) * 4 > len(text):
        pieces = (raw[at : at + _BASE64_LINE] for at in range(0, len(raw), _BASE64_LINE))
        return "base64", b"\r\n".join(base64.b64encode(piece) for piece in pieces)
    # without a CRLF in the text, b2a_qp breaks lines by a bare LF, which does not end a line in SMTP
    lines = binascii.b2a_qp(raw, istext=True).replace(b"\r\n", b"\n")
    return "quoted-printable", lines.replace(b"\n", b"\r\n")


def _as_it_is(is_ascii: bool) -> str:
    return "7bit" if is_ascii else "8bit"


def _with_crlf(text: str) -> bytes:
    raw = text.encode("utf-8", "replace")
    if b"\r" in raw:
        raw = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return raw.replace(b"\n", b"\r\n")  # on bytes this takes a third of the time


def _head(subtype: str, encoding: str) -> str:
    kind = f'Content-Type: text/{subtype}; charset="utf-8"'
    return f"{kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"


def _has_long_line(raw: bytes) -> bool:
    """Whether a line is too long for a mail; checks a few line ends, not all of them."""
    start, end = 0, len(raw)
    while end - start > _LONGEST_LINE:
        found = raw.rfind(b"\r\n", start, start + _LONGEST_LINE + 2)
        if found < 0:
            return True
        start = found + 2
    return False
