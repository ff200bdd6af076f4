"""Delivery's loops: senders per lane, recovery of dead workers' chunks, the ledger's days, figures."""

import asyncio
from collections.abc import Mapping

from prometheus_client import Counter

from libs.clock import pause
from libs.contracts.outcomes import Lane, Status
from libs.service import LoopFunction
from libs.telemetry import get_logger, mark_outcome, span
from services.delivery.handlers.delivery import Delivery
from services.delivery.loops.figures import watch
from services.delivery.loops.sender import LaneSender
from services.delivery.loops.verifier import Verifier

log = get_logger(__name__)

_RECOVER_ROWS = 200
_DAYS_AHEAD = 3
_DAILY_SECONDS = 3_600.0

_recovered = Counter("depesche_delivery_recovered_rows", "Rows of dead workers recovered")


async def send_transactional(deps: Delivery, stop: asyncio.Event) -> None:
    """Send transactional messages, never waiting behind bulk: own leases, own connections."""
    await LaneSender(deps.line, Lane.TRANSACTIONAL).run(stop)


async def send_bulk(deps: Delivery, stop: asyncio.Event) -> None:
    """Send campaigns and everything else that may wait."""
    await LaneSender(deps.line, Lane.BULK).run(stop)


async def verify(deps: Delivery, stop: asyncio.Event) -> None:
    """Query providers about attempts with an unknown outcome."""
    await Verifier(deps.line).run(stop)


async def recover(deps: Delivery, stop: asyncio.Event) -> None:
    """Recover leases that ran out: their worker died, or stalled so long that it counts as dead."""
    while not stop.is_set():
        found = await deps.line.ledger.recover(_RECOVER_ROWS)
        if found.unknown:
            with span("recover", rows=found.rows, messages=found.unknown) as current:
                mark_outcome(current, Status.UNKNOWN.word, failed=True)
        if found.rows:
            _recovered.inc(found.rows)
            log.warning("chunks_recovered", rows=found.rows, unknown=found.unknown)
            for lane in deps.line.pace.lanes:
                deps.line.wake(lane)
        if found.split or found.given_up:
            log.error("chunks_kill_workers", split=found.split, given_up=found.given_up)
        if found.rows < _RECOVER_ROWS:
            await pause(stop, deps.line.pace.recovery)


async def keep_days(deps: Delivery, stop: asyncio.Event) -> None:
    """Create the coming days' partitions, and drop old ones. More than one missing at once is an alarm: this loop has
    not run for a day, and today's would have been next."""
    first = True
    while not stop.is_set():
        if missing := await deps.partitions.make_ahead(_DAYS_AHEAD):
            alarm = log.info if first or missing == 1 else log.error
            alarm("days_made", days=missing)
        first = False
        await deps.partitions.retire()
        await pause(stop, _DAILY_SECONDS)


LOOPS: Mapping[str, LoopFunction] = {
    "send-transactional": send_transactional,
    "send-bulk": send_bulk,
    "verify": verify,
    "recover": recover,
    "days": keep_days,
    "watch": watch,
}
