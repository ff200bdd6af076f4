"""Patterns with gaps, each of which takes the engine milliseconds to compile: it gets a few hundred of them whole, and
of the others one piece each, whose match triggers a search for the rest.

Five thousand phrases with a gap cost Hyperscan 80 MB and most of a minute; their pieces are plain words and cost hardly
anything. A text that contains the piece of one pattern contains few others, so the searches are cheap.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from services.bounce.domain.rules.patterns import GAP

INSIDE = 500  # more than the product ships: shipped patterns are tried on every text, and the engine is fastest
_GAP = f" {GAP} ".encode()
_ESCAPED = rb"\\[^a-zA-Z0-9]"
# allowed between gaps so that each piece is an expression of its own; any other pattern stays whole
_PIECE = re.compile(
    rb"\^?(?:" + _ESCAPED + rb"|[^\\()\[\]{}|*+?.^$]|\(\?:(?:" + _ESCAPED + rb"|[^\\()])*\)|\[a-z0-9\]\{0,20\})+",
    re.DOTALL,
)
_LITERAL = re.compile(rb"(?:" + _ESCAPED + rb"|[^\\()\[\]{}|*+?.^$])+", re.DOTALL)


class Rest(NamedTuple):
    """The rest of a pattern whose piece matched: words that must occur too, then the whole pattern."""

    number: int
    words: tuple[bytes, ...]
    pattern: bytes


class Plan(NamedTuple):
    """`expressions` with their `numbers`: of patterns first, then of pieces. `rests`: by number of the piece."""

    expressions: list[bytes]
    numbers: list[int]
    rests: Mapping[int, Sequence[Rest]]


def planned(patterns: Sequence[bytes]) -> Plan:
    """Plan what an engine compiles: of every pattern with gaps after the first INSIDE ones, only a piece."""
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
    """Split a pattern at its gaps; return it whole if it has none, or is not a sequence of pieces."""
    parts = pattern.split(_GAP)
    if len(parts) == 1 or not all(_PIECE.fullmatch(part) for part in parts):
        return [pattern]
    last = len(parts) - 1
    return [b" " * (n > 0) + part + b" " * (n < last) for n, part in enumerate(parts)]


class Rests:
    """Searches for the rest of patterns whose piece matched."""

    def __init__(self, plan: Plan, patterns: int) -> None:
        self._rests = plan.rests
        self._patterns = patterns
        self._searches: dict[int, Callable[[bytes], Any]] = {}  # compiled on demand, which most never are

    def settle(self, words: bytes, found: Sequence[int]) -> list[int]:
        """Return the numbers of patterns, from numbers of patterns and pieces."""
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
