"""While a store is away its callers are told at once, so that the relay, which waits for each, is not held up."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from libs.errors import Unavailable

_PAUSE_SECONDS = 2.0


@dataclass(slots=True)
class Outage:
    """One time-out is enough: for two seconds after it nobody else waits for one."""

    store: str
    _until: float = 0.0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Raises Unavailable at once during the pause; an Unavailable from inside begins one."""
        if asyncio.get_running_loop().time() < self._until:
            raise Unavailable(f"{self.store} did not answer a moment ago.", retry_after=_PAUSE_SECONDS)
        try:
            yield
        except Unavailable:
            self._until = asyncio.get_running_loop().time() + _PAUSE_SECONDS
            raise
