"""Waiting for what nobody announces, longer than any slow machine needs."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any


async def eventually(ask: Callable[[], Awaitable[Any]] | Callable[[], Any], seconds: float = 100.0) -> Any:
    """Poll `ask` until its result is true, and return it."""
    deadline = time.monotonic() + seconds
    while True:
        found = ask()
        found = await found if isinstance(found, Awaitable) else found
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {seconds} seconds: {found!r}"
        await asyncio.sleep(0.05)
