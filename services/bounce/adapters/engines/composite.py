"""Several scanners that look like one: of a rule set whose patterns are nearly all compiled already.

A thousand patterns take seconds to compile, a few hardly any time. So what somebody has just written is asked at once
beside what was there, in one more pass over the text, until there is a database over all.
"""

from collections.abc import Sequence

from services.bounce.domain.rules.ruleset import Scan

Part = tuple[tuple[bytes, ...], Scan]  # patterns, and what finds their numbers


class CompositeScan:
    """Numbers of `patterns`, each of which is in one of the parts."""

    def __init__(self, patterns: Sequence[bytes], parts: Sequence[Part]) -> None:
        numbers = {pattern: number for number, pattern in enumerate(patterns)}
        # a part may hold some that are in no rule any more
        self.parts = tuple(part for part in parts if any(pattern in numbers for pattern in part[0]))
        self._passes = [(scan, [numbers.get(pattern, -1) for pattern in compiled]) for compiled, scan in self.parts]

    def __call__(self, words: bytes) -> list[int]:
        found = {places[at] for scan, places in self._passes for at in scan(words)}
        found.discard(-1)
        return list(found)
