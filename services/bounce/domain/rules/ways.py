"""Owns the number of ways in which an expression can match one text: what a backtracking engine may have to try.

Hyperscan takes the same time for all. With Python's re in its place, `(?:a|b|ab){1,200}c` never returns.
"""

from collections.abc import Sequence
from re import _constants as sre  # type: ignore[attr-defined]
from typing import Any

MOST_WAYS = 10_000
_ALL = frozenset(range(256))
_BEYOND_ASCII = frozenset(range(128, 256))
_DIGITS = frozenset(b"0123456789")
_LETTERS = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_") | _DIGITS
_SPACES = frozenset(b" \t\n\r\f\v")
_CATEGORIES = {
    sre.CATEGORY_DIGIT: _DIGITS,
    sre.CATEGORY_NOT_DIGIT: _ALL - _DIGITS,
    sre.CATEGORY_WORD: _LETTERS,
    sre.CATEGORY_NOT_WORD: _ALL - _LETTERS,
    sre.CATEGORY_SPACE: _SPACES,
    sre.CATEGORY_NOT_SPACE: _ALL - _SPACES,
}
_REPEATS = (sre.MAX_REPEAT, sre.MIN_REPEAT)


def ways(tree: Sequence[Any]) -> int:
    """Count a parsed expression's ways from one position in a text; stops counting above MOST_WAYS."""
    found = 1
    items = list(tree)
    for number, (op, value) in enumerate(items):
        if op in _REPEATS:
            follows = _first(items[number + 1 :])
            least, most, inner = value
            repeated = _chars(*inner[0]) if len(inner) == 1 else None
            # a run that ends where what follows begins has only one length
            if repeated is None or follows is None or repeated & follows:
                found *= _repeated(ways(inner), least, most)
        elif op is sre.BRANCH:
            found *= sum(ways(branch) for branch in value[1])
        elif op is sre.SUBPATTERN:
            found *= ways(value[3])
        if found > MOST_WAYS:
            return MOST_WAYS + 1
    return found


def _repeated(each: int, least: int, most: int) -> int:
    total, of_this_many = 0, each**least if each == 1 or least < 20 else MOST_WAYS + 1
    for _ in range(least, most + 1):
        total += of_this_many
        if total > MOST_WAYS:
            return MOST_WAYS + 1
        of_this_many *= each
    return total


def _first(items: Sequence[Any]) -> frozenset[int] | None:
    """Return the bytes with which the rest can begin; None if that is not obvious."""
    if not items:
        return None
    op, value = items[0]
    if op is sre.SUBPATTERN:
        return _first(list(value[3]))
    return _chars(op, value)


def _chars(op: Any, value: Any) -> frozenset[int] | None:
    """Return the bytes that match; None for more than one character."""
    if op is sre.LITERAL:
        return frozenset({value}) if value < 128 else None
    if op is sre.NOT_LITERAL:
        return _ALL - frozenset({value})
    if op is sre.ANY:
        return _ALL
    if op is sre.IN:
        return _class(value)
    return None


def _class(members: Sequence[Any]) -> frozenset[int]:
    found: frozenset[int] = frozenset()
    for op, value in members:
        if op is sre.LITERAL:
            found |= {value} if value < 128 else _BEYOND_ASCII
        elif op is sre.RANGE:
            found |= frozenset(range(value[0], min(value[1], 255) + 1))
        elif op is sre.CATEGORY:
            found |= _CATEGORIES[value]
    return _ALL - found if members[0][0] is sre.NEGATE else found
