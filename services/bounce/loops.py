"""What runs by itself in bounce: the SMTP listener, the reader of waiting mails, the retention."""

import asyncio

from libs.errors import Transient
from libs.service import LoopFunction
from libs.telemetry import get_logger
from services.bounce.handlers import Bounce
from services.bounce.handlers.mails import keep_mail, raw_kept_since, read_kept, refuse_recipient

_BATCH = 100
_LEASE_SECONDS = 60.0
_IDLE_SECONDS = 0.5
_RETENTION_SECONDS = 3_600.0
_LONGEST_WAIT_SECONDS = 300.0

log = get_logger(__name__)


async def listener(deps: Bounce, stop: asyncio.Event) -> None:
    """Takes mails in: the bytes are committed before the 250."""

    async def accept(recipient: str, peer: str) -> str | None:
        return await refuse_recipient(deps, recipient, peer)

    async def keep(recipient: str, raw: bytes) -> None:
        await keep_mail(deps, recipient, raw)

    await deps.listener.serve(accept, keep, stop)


async def reader(deps: Bounce, stop: asyncio.Event) -> None:
    """Reads mails that wait; while delivery is away they wait longer and longer."""
    while not stop.is_set():
        mails = await deps.mails.lease(_BATCH, _LEASE_SECONDS)
        try:
            await read_kept(deps, mails)
        except Transient as error:
            log.warning("bounce_waits", count=len(mails), error=error.detail)
            for mail in mails:
                await deps.mails.postpone(mail.id, min(_LONGEST_WAIT_SECONDS, 2.0 ** min(mail.attempts, 9)))
        if not mails:
            await _pause(stop, _IDLE_SECONDS)


async def retention(deps: Bounce, stop: asyncio.Event) -> None:
    """Drops the bytes of old mails."""
    while not stop.is_set():
        dropped = await deps.mails.drop_raw_before(raw_kept_since(deps))
        if dropped:
            log.info("bounce_mails_dropped", count=dropped)
        await _pause(stop, _RETENTION_SECONDS)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return


LOOPS: dict[str, LoopFunction] = {"listener": listener, "reader": reader, "retention": retention}
