"""What runs by itself in bounce: the SMTP listener, the reader of waiting mails, domains, breakers, the retention."""

import asyncio

from prometheus_client import Gauge

from libs.errors import Transient
from libs.service import LoopFunction
from libs.telemetry import get_logger
from services.bounce.handlers import Bounce
from services.bounce.handlers.mails import keep_mail, raw_kept_since, read_kept, refuse_recipient

_BATCH = 500
_LEASE_SECONDS = 60.0
_IDLE_SECONDS = 0.5
_RETENTION_SECONDS = 3_600.0
_LONGEST_WAIT_SECONDS = 300.0
_WATCH_SECONDS = 15.0
_QUESTION_SECONDS = 120.0
_FOLLOW_UP_TURNS = 40  # every ten minutes

log = get_logger(__name__)

_breaker = Gauge(
    "depesche_bounce_breaker",
    "1 while a provider's `no such user` is not believed",
    ["provider"],
    multiprocess_mode="livemostrecent",
)


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
        now = deps.clock()
        dropped = await deps.mails.drop_raw_before(raw_kept_since(deps))
        if dropped:
            log.info("bounce_mails_dropped", count=dropped)
        kept_since = (now - deps.contacts_kept).date()
        while not stop.is_set() and await deps.contacts.forget_before(kept_since, now - deps.pulses_kept):
            log.info("contacts_dropped")
        await _pause(stop, _RETENTION_SECONDS)


async def domains(deps: Bounce, stop: asyncio.Event) -> None:
    """Asks the DNS for domains that were said to have no mail, a few at once."""
    while not stop.is_set():
        now = deps.clock()
        due = await deps.domains_said.lease(deps.questions, now, _QUESTION_SECONDS)
        answers = await asyncio.gather(*(deps.dns.ask(domain.name) for domain in due))
        for domain, answer in zip(due, answers, strict=True):
            count = await deps.domains_said.conclude(domain, answer, now)
            log.info("domain_asked", reason=answer.words, count=count)
        if not due:
            await _pause(stop, _IDLE_SECONDS * 4)


async def breakers(deps: Bounce, stop: asyncio.Event) -> None:
    """Closes the breakers of providers that are calm again, and follows up what they have parked."""
    shown: set[str] = set()
    turn = 0
    while not stop.is_set():
        doubted = set(await deps.breakers.watch(deps.clock()))
        for provider in shown | doubted:
            _breaker.labels(provider).set(provider in doubted)
        shown |= doubted
        if turn % _FOLLOW_UP_TURNS == 0 and (dropped := await deps.breakers.follow_up(deps.clock())):
            log.info("parked_dropped", count=dropped)
        turn += 1
        await _pause(stop, _WATCH_SECONDS)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return


LOOPS: dict[str, LoopFunction] = {
    "listener": listener,
    "reader": reader,
    "domains": domains,
    "breakers": breakers,
    "retention": retention,
}
