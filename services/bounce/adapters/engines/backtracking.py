"""Python's re as the engine: pattern by pattern, for platforms without Hyperscan. Same numbers, many times slower."""

import re
from collections.abc import Sequence


class ReScan:
    """Bounded by what patterns may be: no repeat without an end, nothing that looks around."""

    def __init__(self, patterns: Sequence[bytes]) -> None:
        self._searches = [re.compile(pattern).search for pattern in patterns]

    def __call__(self, words: bytes) -> list[int]:
        return [number for number, search in enumerate(self._searches) if search(words)]
