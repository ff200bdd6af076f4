"""Time as a parameter: business policy reads an injected clock. And how a loop rests until it is told to stop."""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]


def system_clock() -> datetime:
    """Now, aware, in UTC."""
    return datetime.now(UTC)


class FixedClock:
    """A clock that stands until it is moved: tests, and decisions replayed at another time."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, by: timedelta) -> None:
        self.now += by


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Sleep, but return as soon as `stop` is set."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()
