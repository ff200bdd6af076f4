"""While a store is away its callers are told at once, so that the relay, which waits for each, is not held up."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from libs.errors import Unavailable

_PAUSE_SECONDS = 2.0
_LONGEST_SECONDS = 10.0


@dataclass(slots=True)
class Outage:
    """One time-out is enough: for two seconds after it nobody else waits for one, then four, at most ten."""

    store: str
    _until: float = 0.0
    _failures: int = 0

    @property
    def lately(self) -> bool:
        """Whether the last that was heard of it is that it does not answer."""
        return self._failures > 0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Raises Unavailable at once during the pause; an Unavailable from inside begins one."""
        if asyncio.get_running_loop().time() < self._until:
            raise Unavailable(f"{self.store} did not answer a moment ago.", retry_after=_PAUSE_SECONDS)
        try:
            yield
        except Unavailable:
            pause = min(_LONGEST_SECONDS, _PAUSE_SECONDS * 2 ** min(self._failures, 8))
            self._until = asyncio.get_running_loop().time() + pause
            self._failures += 1
            raise
        self.over()

    def over(self) -> None:
        """It answers again."""
        self._until, self._failures = 0.0, 0
