"""History's background loops: partitions, and the spill."""

import asyncio

from libs.clock import pause
from libs.errors import Unavailable
from libs.service import LoopFunction
from libs.telemetry import get_logger
from services.history.ports import History

_LOOK_SECONDS = 3_600.0
_DRAIN_SECONDS = 1.0

log = get_logger(__name__)


async def keep_days(deps: History) -> None:
    """Maintain the partitions of every store once; one that is unavailable is retried the next time."""
    for store in deps.days:
        try:
            done = await store.keep(deps.clock(), deps.days_ahead, deps.retention_days)
        except Unavailable as error:
            log.warning("history_days_not_kept", detail=error.detail)
            continue
        if done:
            log.info("history_days_kept", changed=len(done))


async def days(deps: History, stop: asyncio.Event) -> None:
    """Create the coming partitions and drop the old ones, every hour."""
    while not stop.is_set():
        await keep_days(deps)
        await pause(stop, _LOOK_SECONDS)


async def spill(deps: History, stop: asyncio.Event) -> None:
    """Write what was spilled while a store was unavailable, oldest first; check once a second whether it is back."""
    while not stop.is_set():
        if sum([await store.drain() for store in deps.drains]):
            continue
        await pause(stop, _DRAIN_SECONDS)


LOOPS: dict[str, LoopFunction] = {"days": days, "spill": spill}
