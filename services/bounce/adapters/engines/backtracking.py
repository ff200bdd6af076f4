"""Python's re as the engine: pattern by pattern, for platforms without Hyperscan. Same results, many times slower."""

import re
from collections.abc import Sequence


class ReScan:
    """Linear because of the limits on patterns: no unbounded repeats, no lookarounds."""

    def __init__(self, patterns: Sequence[bytes]) -> None:
        self._searches = [re.compile(pattern).search for pattern in patterns]

    def __call__(self, words: bytes) -> list[int]:
        return [number for number, search in enumerate(self._searches) if search(words)]
