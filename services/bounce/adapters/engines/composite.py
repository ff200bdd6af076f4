"""Two scanners that look like one: of a rule set whose patterns are nearly all compiled already.

The shipped rules take seconds to compile, people's own hardly any time. So what somebody has just written is asked at
once beside them, in two passes over the text, until there is a database over all.
"""

from collections.abc import Sequence

from services.bounce.domain.rules.ruleset import Scan


class CompositeScan:
    """`known` finds the patterns of `base`, `rest` those of `others`; numbers are those of `patterns`."""

    def __init__(self, patterns: Sequence[bytes], base: tuple[Sequence[bytes], Scan]) -> None:
        known, self._known = base
        numbers: dict[bytes, list[int]] = {}
        for number, pattern in enumerate(patterns):
            numbers.setdefault(pattern, []).append(number)
        # a pattern may stand in several rules, and in some of them only here
        self._of_known = [tuple(numbers.get(pattern, ())) for pattern in known]
        there = set(known)
        self.others = tuple(pattern for pattern in numbers if pattern not in there)
        self._of_rest = [tuple(numbers[pattern]) for pattern in self.others]
        self._rest: Scan | None = None

    def beside(self, rest: Scan) -> "CompositeScan":
        """With the scanner of `others`."""
        self._rest = rest
        return self

    def __call__(self, words: bytes) -> list[int]:
        found = {number for at in self._known(words) for number in self._of_known[at]}
        if self._rest is not None:
            found.update(number for at in self._rest(words) for number in self._of_rest[at])
        return list(found)
