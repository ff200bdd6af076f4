"""Time as a parameter: business policy gets its clock injected. Also the pause of a loop that can be stopped."""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]


def system_clock() -> datetime:
    """Return the current time, aware, in UTC."""
    return datetime.now(UTC)


class FixedClock:
    """A clock that stands still until it is moved, for tests and for replaying decisions at another time."""

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
