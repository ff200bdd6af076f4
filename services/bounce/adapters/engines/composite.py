"""Several scanners that act as one, for a rule set of which nearly all patterns are compiled already.

Compiling a thousand patterns takes seconds, compiling a few hardly any time. So new rules take effect at once, with one
more pass over the text, until there is one database of all.
"""

from collections.abc import Sequence

from services.bounce.domain.rules.ruleset import Scan

Part = tuple[tuple[bytes, ...], Scan]  # patterns, and the scanner that returns their indices


class CompositeScan:
    """Returns indices into `patterns`, each of which is in one of the parts."""

    def __init__(self, patterns: Sequence[bytes], parts: Sequence[Part]) -> None:
        numbers = {pattern: number for number, pattern in enumerate(patterns)}
        # a part may contain patterns that no rule uses any more
        self.parts = tuple(part for part in parts if any(pattern in numbers for pattern in part[0]))
        self._passes = [(scan, [numbers.get(pattern, -1) for pattern in compiled]) for compiled, scan in self.parts]

    def __call__(self, words: bytes) -> list[int]:
        found = {places[at] for scan, places in self._passes for at in scan(words)}
        found.discard(-1)
        return list(found)
