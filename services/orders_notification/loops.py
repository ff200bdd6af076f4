"""Background loops: partitions are created ahead, old data is dropped, topics are watched."""

import asyncio

from libs.clock import pause
from libs.service import LoopFunction
from libs.telemetry import get_logger
from services.orders_notification.handlers.topics import TopicWatch
from services.orders_notification.ports.deps import OrdersNotification

_EVERY_SECONDS = 3_600.0
_LOOK_SECONDS = 5.0

log = get_logger(__name__)


async def partitions(deps: OrdersNotification, stop: asyncio.Event) -> None:
    """Create the coming days' partitions of `event`, drop expired days, keys and rejections, and seal old ones."""
    while not stop.is_set():
        await deps.rejections.seal_clear()
        dropped = await deps.retention.maintain()
        if dropped:
            log.info("event_days_dropped", days=dropped)
        await pause(stop, _EVERY_SECONDS)


async def topics(deps: OrdersNotification, stop: asyncio.Event) -> None:
    """Report which of the sources' topics the sidecar beside this worker consumes."""
    if deps.sidecar is None:
        await stop.wait()
        return
    watch = TopicWatch(deps)
    while not stop.is_set():
        await watch.look()
        await pause(stop, _LOOK_SECONDS)


LOOPS: dict[str, LoopFunction] = {"partitions": partitions, "topics": topics}
