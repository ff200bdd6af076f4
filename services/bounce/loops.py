"""Bounce's background loops: listener, mail reader, domains, breakers, rollbacks, replays, retention."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from prometheus_client import Gauge

from libs.clock import pause
from libs.errors import Transient
from libs.service import LoopFunction
from libs.telemetry import get_logger
from services.bounce.domain.webhooks import Webhook
from services.bounce.handlers import Bounce
from services.bounce.handlers.mails import keep_for_all, raw_kept_since, read_kept, refuse_recipient
from services.bounce.handlers.replays import run_next
from services.bounce.handlers.reports import figures_kept_since
from services.bounce.handlers.rolling_back import look_after
from services.bounce.handlers.telling import call_webhook

MAILS_AT_ONCE = 2_000  # a batch's counts are written once: smaller batches write more
_LEASE_SECONDS = 60.0
_CALLS_SECONDS = 120.0  # longer than a webhook's turn can take
_IDLE_SECONDS = 0.5
_RETENTION_SECONDS = 3_600.0
_LONGEST_WAIT_SECONDS = 300.0
_WATCH_SECONDS = 15.0
_REPLAY_SECONDS = 1.0
_REPLAYS_KEPT = timedelta(days=90)
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
    """Accept mails: the bytes are committed before the 250."""

    async def accept(recipient: str, peer: str) -> str | None:
        return await refuse_recipient(deps, recipient, peer)

    async def keep(recipients: Sequence[str], raw: bytes) -> None:
        await keep_for_all(deps, recipients, raw)

    await deps.listener.serve(accept, keep, stop)


async def reader(deps: Bounce, stop: asyncio.Event) -> None:
    """Read waiting mails; while delivery is unavailable they back off."""
    while not stop.is_set():
        lease = await deps.mails.lease(MAILS_AT_ONCE, _LEASE_SECONDS)
        if not lease.mails:
            await pause(stop, _IDLE_SECONDS)
            continue
        try:
            await read_kept(deps, lease.mails)
        except Transient as error:
            log.warning("bounce_waits", count=len(lease.mails), error=error.detail)
            waits = {mail.id: min(_LONGEST_WAIT_SECONDS, 2.0 ** min(mail.attempts + 1, 9)) for mail in lease.mails}
            await deps.mails.postpone(waits)
        await deps.mails.release(lease)


async def webhooks(deps: Bounce, stop: asyncio.Event) -> None:
    """Call other systems' webhooks, many at a time, so that a slow one does not delay others."""
    under_way: set[asyncio.Task[None]] = set()
    async with asyncio.TaskGroup() as group:
        while not stop.is_set():
            room = deps.settings.webhooks_at_once - len(under_way)
            claimed = await _claimed(deps, room) if room else []
            for webhook in claimed:
                task = group.create_task(_called(deps, webhook))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
            if not claimed:
                await pause(stop, _IDLE_SECONDS)


async def _claimed(deps: Bounce, room: int) -> Sequence[Webhook]:
    """Return who is called next; nobody while Postgres is away: an error would cancel the calls under way, and they
    would be repeated."""
    try:
        return await deps.telling.claim(room, deps.clock(), _CALLS_SECONDS)
    except Transient as error:
        log.warning("webhooks_wait", error=error.detail)
        return []


async def _called(deps: Bounce, webhook: Webhook) -> None:
    try:
        await call_webhook(deps, webhook)
    except Transient as error:  # it is called again after its lease
        log.warning("webhook_waits", error=error.detail)


async def retention(deps: Bounce, stop: asyncio.Event) -> None:
    """Delete old data in small batches: bytes of mails, contacts, replays, webhooks' events, figures."""
    while not stop.is_set():
        now = deps.clock()
        if dropped := await deps.mails.drop_raw_before(raw_kept_since(deps)):
            log.info("bounce_mails_dropped", count=dropped)
        facts_since = now - timedelta(days=deps.settings.facts_kept_days)
        if dropped := await deps.facts.drop_before(facts_since) + await deps.mails.drop_before(facts_since):
            log.info("bounces_dropped", count=dropped)
        kept_since = (now - deps.contacts_kept).date()
        while not stop.is_set() and await deps.contacts.forget_before(kept_since, now - deps.pulses_kept):
            log.info("contacts_dropped")
        while not stop.is_set() and await deps.replays.forget_before(now - _REPLAYS_KEPT):
            log.info("replays_dropped")
        told_since = now - timedelta(days=deps.settings.webhook_kept_days)
        while not stop.is_set() and await deps.telling.forget_before(told_since):
            log.info("webhook_events_dropped")
        hour, day = figures_kept_since(deps)
        while not stop.is_set() and await deps.rollups.forget_before(hour, day):
            log.info("rollups_dropped")
        await pause(stop, _RETENTION_SECONDS)


async def domains(deps: Bounce, stop: asyncio.Event) -> None:
    """Query the DNS for domains reported to have no mail, a few at once."""
    while not stop.is_set():
        now = deps.clock()
        due = await deps.domains_said.lease(deps.settings.domain_questions, now, _QUESTION_SECONDS)
        answers = await asyncio.gather(*(deps.dns.ask(domain.name) for domain in due))
        for domain, answer in zip(due, answers, strict=True):
            count = await deps.domains_said.conclude(domain, answer, now)
            log.info("domain_asked", reason=answer.words, count=count)
        if not due:
            await pause(stop, _IDLE_SECONDS * 4)


async def breakers(deps: Bounce, stop: asyncio.Event) -> None:
    """Close the breakers of providers that are calm again, and follow up what they have parked."""
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
        await pause(stop, _WATCH_SECONDS)


async def replays(deps: Bounce, stop: asyncio.Event) -> None:
    """Run requested replays of the policy over stored facts, one after the other."""
    while not stop.is_set():
        if not await run_next(deps, stop):
            await pause(stop, _REPLAY_SECONDS)


async def rollbacks(deps: Bounce, stop: asyncio.Event) -> None:
    """Undo late effects of a rule set that was just rolled back."""
    settled = -1
    while not stop.is_set():
        settled = await look_after(deps, settled)
        await pause(stop, _WATCH_SECONDS)


LOOPS: dict[str, LoopFunction] = {
    "listener": listener,
    "reader": reader,
    "domains": domains,
    "breakers": breakers,
    "rollbacks": rollbacks,
    "webhooks": webhooks,
    "retention": retention,
    "replays": replays,
}
