"""While a store is unavailable its callers fail at once, so that the relay, which waits for each, is not held up."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from libs.errors import Unavailable

_PAUSE_SECONDS = 2.0
_LONGEST_SECONDS = 10.0


@dataclass(slots=True)
class Outage:
    """One timeout is enough: after it, no caller waits for two seconds, then four, at most ten."""

    store: str
    _until: float = 0.0
    _failures: int = 0

    @property
    def lately(self) -> bool:
        """Whether the store failed to answer when it was last used."""
        return self._failures > 0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Raise Unavailable at once during the pause; an Unavailable from inside starts one."""
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
        """The store answers again."""
        self._until, self._failures = 0.0, 0
