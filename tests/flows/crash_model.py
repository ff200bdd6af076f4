"""The crash model: workers that die and stall at every step, and everything else that a bad day brings."""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from libs.contracts.outcomes import Channel, Lane, ReceiptKind, Status
from libs.contracts.reasons import Reason
from libs.errors import Unavailable
from libs.rendering import content_digest
from services.delivery.domain.backoff import Backoff
from services.delivery.domain.breaker import BreakerPolicy
from services.delivery.domain.callbacks import ReceiptNews
from services.delivery.domain.deciding import RetryPolicy
from services.delivery.domain.outbound import Outbound, Sender
from services.delivery.domain.outcomes import NOT_CALLED, Ambiguous, Deferred, Outcome, Rejected, Sent
from services.delivery.domain.pace import LanePace, Pace
from services.delivery.domain.verifying import Taken, VerifyPolicy
from services.delivery.handlers.delivery import Line
from services.delivery.loops.sender import LaneSender
from services.delivery.loops.verifier import Verifier
from services.delivery.ports import Settle
from tests.flows.crash_chaos import LEASE, Chaos, ShakyLedger, Truth
from tests.flows.crash_verifying import LISTED, ShakyEnquiry
from tests.flows.delivery_world import World, now

CALLBACK_SECONDS = 0.03  # receipts within this time are submitted together

PACE = Pace(
    lease=LEASE,
    poll=0.01,
    flush=0.01,
    flush_results=7,
    margin=0.05,
    lanes={lane: LanePace(recipients=20, outstanding=60, groups=4) for lane in Lane},
    retry=RetryPolicy(
        Backoff(0.02, 0.1),
        max_attempts=60,
        max_resends=8,
        verify=VerifyPolicy(Backoff(0.05, 0.2), certain_seconds=LISTED, give_up_seconds=2.0, apart_seconds=0.02),
    ),
    patience=Backoff(0.02, 0.1),
    breaker=BreakerPolicy(threshold=10_000),
)

# At any moment, in one snapshot: the counters match the rows, and waiting recipients have work.
WRONG_ACCOUNTS = """
select r.id, r.recipients, r.extra, r.pending, r.sent, r.failed, r.skipped, r.suppressed, r.unknown, m.*
from request r left join lateral (
  select count(*) filter (where status in (0, 1)) as open, count(*) filter (where status = 2) as sent_rows,
    count(*) filter (where status = 3) as failed_rows, count(*) filter (where status = 4) as skipped_rows,
    count(*) filter (where status = 5) as suppressed_rows, count(*) filter (where status = 6) as unknown_rows
  from message where request_id = r.id) as m on true
where (r.sent, r.failed, r.suppressed, r.unknown) <> (sent_rows, failed_rows, suppressed_rows, unknown_rows)
   or r.pending < open or r.skipped < skipped_rows
"""
LOST = """
select r.id from request r where r.pending > 0
  and not exists (select from work w where w.request_id = r.id or r.id = any (w.together))
"""
STUCK = "select id from work where held and not exists (select from hold where active)"


# possible fates of an attempt that the provider, when queried, says it does not have
NOT_SENT = {Status.PENDING, Status.SKIPPED, Status.SUPPRESSED, Status.FAILED}
ALLOWED = {  # what really happened at an attempt → what the ledger may say about it
    "accepted": {Status.SENT, Status.UNKNOWN},
    "rejected": {Status.FAILED, Status.UNKNOWN},
    "deferred": {Status.PENDING, Status.SKIPPED, Status.SUPPRESSED, Status.UNKNOWN},
    "lost": {Status.UNKNOWN},
}


_WORDS: dict[type, str] = {Rejected: "rejected", Deferred: "deferred", Ambiguous: "lost"}


def news_of(message: Outbound, kind: ReceiptKind, number: int) -> ReceiptNews:
    """Return one of an attempt's receipts."""
    return ReceiptNews(
        provider="model",
        event_id=f"{message.tag}:{message.attempt}:{number}",
        notification_id=message.notification_id,
        address_id=message.address_id,
        attempt=message.attempt,
        kind=kind,
        at=now(),
        reason=Reason.PROVIDER_GAVE_UP if kind is ReceiptKind.FAILED else Reason.NONE,
    )


class ShakyProvider:
    """Answers as providers do, records the truth, and sends receipts before or after our own record."""

    def __init__(self, chaos: Chaos, receipts: Callable[[ReceiptNews, float], None]) -> None:
        self.channel = Channel.PUSH
        self._chaos, self._receipts, self._rng = chaos, receipts, chaos.rng

    async def send(self, sender: Sender, messages: Sequence[Outbound], deadline: float, settle: Settle) -> None:
        slow = self._rng.random() < 0.4
        for index, message in enumerate(messages):
            if slow and index % 4 == 0:  # long enough for a worker that comes back to meet its successor in mid-call
                await asyncio.sleep(self._rng.uniform(0.02, 0.25))
            if asyncio.get_running_loop().time() > deadline or self._rng.random() < 0.02:
                settle(index, NOT_CALLED)
                continue
            outcome, accepted = self._answer()
            truth = self._chaos.truth
            truth.calls[message.tag, message.attempt] += 1
            truth.addresses.add(message.address)
            truth.outcomes[message.tag, message.attempt] = "accepted" if accepted else _WORDS[type(outcome)]
            if accepted:
                truth.accepted[message.tag] += 1
                truth.taken.append(message)
                ref = f"{message.tag}:{message.attempt}"
                truth.listed[message.address].append(Taken(ref, content_digest(message.content), now()))
                self._maybe_receipt(message)
            await self._chaos.point()
            settle(index, outcome)

    def _answer(self) -> tuple[Outcome, bool]:
        draw = self._rng.random()
        if draw < 0.62:
            return Sent("ref"), True
        if draw < 0.72:
            return Deferred(Reason.THROTTLED, "429", retry_after=self._rng.uniform(0, 0.05)), False
        if draw < 0.86:
            return Rejected(Reason.DEVICE_UNREGISTERED, "UNREGISTERED", code=404, retire=True), False
        if draw < 0.93:
            return Ambiguous(Reason.TIMED_OUT, "no answer"), True
        return Ambiguous(Reason.CONNECTION_LOST, "reset"), False

    def _maybe_receipt(self, message: Outbound) -> None:
        if (draw := self._rng.random()) > 0.5:
            return
        failed, delivered = ReceiptKind.FAILED, ReceiptKind.DELIVERED
        said = [failed, delivered, failed] if draw < 0.12 else [failed] if draw < 0.15 else [delivered]
        key = (message.tag, message.attempt)
        (self._chaos.truth.gave_up if failed in said else self._chaos.truth.delivered).add(key)
        delay = self._rng.choice((0.0, 0.01, 0.3, LEASE * 2))
        for place, kind in enumerate(said):
            for _ in range(self._rng.choice((1, 1, 2))):
                # a provider that contradicts itself ends a plan step, revives it, and ends it again
                self._receipts(news_of(message, kind, place), delay + place * CALLBACK_SECONDS * 1.5)

    async def close(self) -> None:
        return None


class Workers:
    """Four worker processes that are restarted whenever they die."""

    def __init__(self, world: World, rng: random.Random, truth: Truth) -> None:
        self.world, self.rng, self.truth = world, rng, truth
        self.rates = [0.014, 0.004, 0.02]
        self.stop = asyncio.Event()
        self.receipts: set[asyncio.Task[None]] = set()
        self.box: list[ReceiptNews] = []
        self._alive: set[asyncio.Task[None]] = set()

    def receive(self, news: ReceiptNews, delay: float) -> None:
        """Receive receipts of many requests together in one batch, like callbacks."""

        async def later() -> None:
            await asyncio.sleep(delay)
            self.box.append(news)
            await asyncio.sleep(CALLBACK_SECONDS)
            batch, self.box = self.box, []
            if batch:
                await self.world.ledger.receive(batch)

        task = asyncio.create_task(later())
        self.receipts.add(task)
        task.add_done_callback(self.receipts.discard)

    def take_back(self, share: float) -> list[Outbound]:
        """Return a share of the accepted messages without a report, in random order, for the provider to give up."""
        truth = self.truth
        silent = [m for m in truth.taken if (m.tag, m.attempt) not in truth.delivered | truth.gave_up]
        chosen = self.rng.sample(silent, int(len(silent) * share))
        truth.gave_up.update((message.tag, message.attempt) for message in chosen)
        return chosen

    def calm(self) -> None:
        """Nothing goes wrong any more. All workers die a last time, and their successors have leases that a slow
        machine cannot outlast: with short ones it would begin the same work again and again."""
        self.rates[:] = [0.0, 0.0, 0.0]
        self.world.pace = replace(self.world.pace, lease=300.0)
        for life in self._alive:
            life.cancel()

    async def keep_running(self) -> None:
        """Run one worker and its successors, until stopped."""
        while not self.stop.is_set():
            chaos = Chaos(random.Random(self.rng.random()), self.truth, self.rates)
            chaos.victim = asyncio.create_task(self._life(chaos))
            self._alive.add(chaos.victim)
            chaos.victim.add_done_callback(self._alive.discard)
            with suppress(asyncio.CancelledError, Unavailable):
                await chaos.victim

    async def _life(self, chaos: Chaos) -> None:
        line = self.world.line(ShakyLedger(self.world.ledger, chaos), seed=int(chaos.rng.random() * 1e9))
        providers = {channel: ShakyProvider(chaos, self.receive) for channel in Channel}
        for lane in Lane:
            line.providers[lane] = providers  # type: ignore[index]
        line.enquiries[Channel.SMS] = ShakyEnquiry(chaos.rng, chaos.truth.listed, chaos.point)  # type: ignore[index]
        async with asyncio.TaskGroup() as group:
            for lane in Lane:
                group.create_task(LaneSender(line, lane).run(self.stop))
            group.create_task(self._recover(line.ledger))
            group.create_task(self._verify(line))

    async def _verify(self, line: Line) -> None:
        while not self.stop.is_set():
            with suppress(Unavailable):
                await Verifier(line).run_once()
            await asyncio.sleep(0.02)

    async def _recover(self, ledger: Any) -> None:
        while not self.stop.is_set():
            with suppress(Unavailable):
                await ledger.recover(50)
            await asyncio.sleep(LEASE / 4)
