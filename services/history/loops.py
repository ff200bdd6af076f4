"""What runs by itself in history: the days."""

import asyncio

from libs.service import LoopFunction
from libs.telemetry import get_logger
from services.history.ports import History

_LOOK_SECONDS = 3_600.0

log = get_logger(__name__)


async def days(deps: History, stop: asyncio.Event) -> None:
    """Makes the coming days and drops the old ones, every hour."""
    while not stop.is_set():
        done = await deps.days.keep(deps.clock(), deps.days_ahead, deps.retention_days)
        if done:
            log.info("history_days_kept", changed=len(done))
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                await stop.wait()
        except TimeoutError:
            continue


LOOPS: dict[str, LoopFunction] = {"days": days}
