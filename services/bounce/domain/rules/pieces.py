"""Owns parsing a pattern into pieces: letters, classes, gaps, alternatives, each with its repeats.

Python's own parser merges the common prefixes of alternatives; here they stay as written.
"""

import re
from typing import NamedTuple, Union

PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789")
_SPACE = frozenset(b" \t\n\r\f\v")
_DIGITS = frozenset(b"0123456789")
_ENDLESS = 1_000
_TOKEN = re.compile(
    rb"\\(?P<named>[dws])|\\(?P<escaped>[^a-zA-Z0-9])|(?P<class>\[[^\]\\\[]+\])|(?P<any>\.)|(?P<group>\(\?:)|(?P<close>\))"
    rb"|(?P<or>\|)|(?P<edge>[\^$])|(?P<char>[^\\\[\](){}.*+?^$|])",
    re.DOTALL,
)
_REPEAT = re.compile(rb"\{(\d{1,3})(?:(,)(\d{0,3}))?\}|([?*+])")
_RANGE = re.compile(rb"(.)-(.)|(.)", re.DOTALL)


class Unreadable(Exception):
    """A pattern contains something that is not understood here."""


class Letter(NamedTuple):
    char: bytes

    @property
    def is_plain(self) -> bool:
        return self.char[0] in PLAIN

    @property
    def is_edge(self) -> bool:
        """Whether it is a word boundary: a space, or an end of the text (where there is a space)."""
        return self.char in (b" ", b"^", b"$")


class Chars(NamedTuple):
    """A class of characters, of letters and digits or of those between words."""

    members: frozenset[int]

    @property
    def is_every(self) -> bool:
        return self.members >= PLAIN

    @property
    def is_edge(self) -> bool:
        return not self.members & PLAIN

    @property
    def has_digits(self) -> bool:
        return bool(self.members & _DIGITS)


class AnyChar(NamedTuple):
    """Any character."""


Piece = tuple[Union[Letter, Chars, AnyChar, "Alternatives"], int, int]
Alternatives = tuple[tuple[Piece, ...], ...]


def read(pattern: bytes) -> Alternatives:
    """Return the alternatives of a pattern, each a sequence of pieces. Raises Unreadable."""
    found, at = _alternatives(pattern, 0)
    if at != len(pattern):
        raise Unreadable
    return found


def _alternatives(pattern: bytes, at: int) -> tuple[Alternatives, int]:
    done: list[tuple[Piece, ...]] = []
    pieces: list[Piece] = []
    while at < len(pattern):
        token = _TOKEN.match(pattern, at)
        if token is None:
            raise Unreadable
        if token["close"]:
            break
        at = token.end()
        if token["or"]:
            done.append(tuple(pieces))
            pieces = []
            continue
        item: Letter | Chars | AnyChar | Alternatives
        if token["group"]:
            item, at = _alternatives(pattern, at)
            if pattern[at : at + 1] != b")":
                raise Unreadable
            at += 1
        else:
            item = _item(token)
        least, most, at = _repeat(pattern, at)
        pieces.append((item, least, most))
    return (*done, tuple(pieces)), at


def _item(token: re.Match[bytes]) -> Letter | Chars | AnyChar:
    if token["any"]:
        return AnyChar()
    if token["named"]:
        return Chars({b"d": _DIGITS, b"s": _SPACE, b"w": PLAIN | {0x5F}}[token["named"]])
    if token["class"]:
        return _class(token["class"][1:-1])
    return Letter(token["escaped"] or token["edge"] or token["char"])


def _class(inside: bytes) -> Chars | AnyChar:
    members: set[int] = set()
    for low, high, one in _RANGE.findall(inside.removeprefix(b"^")):
        members |= set(range(low[0], high[0] + 1)) if low else {one[0]}
    if inside.startswith(b"^"):
        members = set(range(256)) - members
    if members >= PLAIN and members & _SPACE:
        return AnyChar()
    if members & PLAIN and members & _SPACE:
        raise Unreadable
    return Chars(frozenset(members))


def _repeat(pattern: bytes, at: int) -> tuple[int, int, int]:
    found = _REPEAT.match(pattern, at)
    if found is None:
        return 1, 1, at
    least, comma, most, sign = found.groups()
    at = found.end()
    if pattern[at : at + 1] == b"?":
        at += 1  # lazy: matches the same texts
    if sign:
        return int(sign == b"+"), 1 if sign == b"?" else _ENDLESS, at
    return int(least), int(most or _ENDLESS) if comma else int(least), at
