"""An event loop whose time stands still while the process does.

A busy machine may stop a test process for seconds. By the real clock, a timeout of 0.3 s is then over, although the
server that was to answer runs in the same process and was stopped too. By this clock, each turn of the loop lasts
20 ms at most, so that whoever has something to do gets several turns before a timeout.
"""

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable
from contextvars import Context
from typing import Any

import uvloop

_BEAT_SECONDS = 0.01
_LONGEST_TURN_SECONDS = 2 * _BEAT_SECONDS

_real = time.monotonic


class SteadyClock:
    """A monotonic clock in seconds. Between two calls of `beat` it advances by 20 ms at most."""

    def __init__(self) -> None:
        self._beat_at = self._shown = _real()

    def __call__(self) -> float:
        return self._shown + min(_real() - self._beat_at, _LONGEST_TURN_SECONDS)

    def beat(self) -> float:
        self._shown, self._beat_at = self(), _real()
        return self._shown


monotonic = SteadyClock()


class SteadyLoop(uvloop.Loop):  # type: ignore[misc]
    """uvloop with timers that follow `monotonic`. Timers of less than 10 ms are its own."""

    def __init__(self) -> None:
        super().__init__()
        self._due: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = itertools.count()
        super().call_later(_BEAT_SECONDS, self._beat)

    def time(self) -> float:
        return monotonic()

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Any:
        if delay < _BEAT_SECONDS:
            return super().call_later(delay, callback, *args, context=context)
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None) -> Any:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._due, (when, next(self._numbers), handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """A cancelled timer stays in the heap until it is due."""

    def _beat(self) -> None:
        now = monotonic.beat()
        super().call_later(_BEAT_SECONDS, self._beat)
        while self._due and self._due[0][0] <= now:
            _, _, handle = heapq.heappop(self._due)
            if not handle.cancelled():
                handle._run()
