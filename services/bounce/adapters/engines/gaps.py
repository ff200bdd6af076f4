"""Patterns with gaps, for an engine that compiles each of them for milliseconds: it knows some hundreds of them whole,
and of the others one piece, whose find makes us look for the rest.

Five thousand phrases with a gap are 80 MB and most of a minute to Hyperscan; their pieces are plain words, and hardly
anything. A text that holds the piece of one holds that of few others, so that looking costs little.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from services.bounce.domain.rules.patterns import GAP

INSIDE = 500  # more than come with the product: those are asked about every text, and the engine finds them fastest
_GAP = f" {GAP} ".encode()
_ESCAPED = rb"\\[^a-zA-Z0-9]"
# what may stand between gaps so that each piece is an expression of its own; everything else stays whole
_PIECE = re.compile(
    rb"\^?(?:" + _ESCAPED + rb"|[^\\()\[\]{}|*+?.^$]|\(\?:(?:" + _ESCAPED + rb"|[^\\()])*\)|\[a-z0-9\]\{0,20\})+",
    re.DOTALL,
)
_LITERAL = re.compile(rb"(?:" + _ESCAPED + rb"|[^\\()\[\]{}|*+?.^$])+", re.DOTALL)


class Rest(NamedTuple):
    """What makes a pattern whose piece was found: words that must be there too, then the whole of it."""

    number: int
    words: tuple[bytes, ...]
    pattern: bytes


class Plan(NamedTuple):
    """`expressions` with their `numbers`: of patterns, and beyond these of pieces. `rests`: by number of the piece."""

    expressions: list[bytes]
    numbers: list[int]
    rests: Mapping[int, Sequence[Rest]]


def planned(patterns: Sequence[bytes]) -> Plan:
    """What an engine is to compile: a piece alone of every pattern with gaps after the first INSIDE ones."""
    numbers = {pattern: number for number, pattern in enumerate(patterns)}
    plan = Plan([], [], {})
    rests: dict[int, list[Rest]] = {}
    inside = 0
    for number, pattern in enumerate(patterns):
        pieces = pieces_of(pattern)
        if len(pieces) == 1 or inside < INSIDE:
            inside += len(pieces) > 1
            plan.expressions.append(pattern)
            plan.numbers.append(number)
            continue
        literal = [piece for piece in pieces if _LITERAL.fullmatch(piece)]
        telling = max(literal or pieces, key=len)
        at = numbers.get(telling)
        if at is None:
            at = numbers[telling] = len(numbers)
            plan.expressions.append(telling)
            plan.numbers.append(at)
        words = tuple(re.sub(rb"\\(.)", rb"\1", one, flags=re.DOTALL) for one in literal if one is not telling)
        rests.setdefault(at, []).append(Rest(number, words, pattern))
    return plan._replace(rests=rests)


def pieces_of(pattern: bytes) -> list[bytes]:
    """A pattern without its gaps; itself alone where it has none, or is not a row of pieces."""
    parts = pattern.split(_GAP)
    if len(parts) == 1 or not all(_PIECE.fullmatch(part) for part in parts):
        return [pattern]
    last = len(parts) - 1
    return [b" " * (n > 0) + part + b" " * (n < last) for n, part in enumerate(parts)]


class Rests:
    """Looks for the rest of the patterns whose piece was found."""

    def __init__(self, plan: Plan, patterns: int) -> None:
        self._rests = plan.rests
        self._patterns = patterns
        self._searches: dict[int, Callable[[bytes], Any]] = {}  # made when they are needed, which most never are

    def settle(self, words: bytes, found: Sequence[int]) -> list[int]:
        """Numbers of patterns, from numbers of patterns and pieces."""
        whole = [number for number in found if number < self._patterns]
        for number in found:
            for rest in self._rests.get(number, ()):
                if all(word in words for word in rest.words) and self._search(rest)(words):
                    whole.append(rest.number)
        return whole

    def _search(self, rest: Rest) -> Callable[[bytes], Any]:
        search = self._searches.get(rest.number)
        if search is None:
            search = self._searches[rest.number] = re.compile(rest.pattern).search
        return search
