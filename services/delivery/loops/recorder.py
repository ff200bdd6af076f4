"""Collects outcomes as they arrive and records them in batches, so that a slow call does not delay the others."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence

from prometheus_client import Counter as Metric

from libs.contracts.outcomes import Status
from libs.errors import Unavailable
from libs.telemetry import get_logger, mark_outcome, span
from services.delivery.domain.breaker import tells_of_sender
from services.delivery.domain.deciding import decide
from services.delivery.domain.outbound import Sender
from services.delivery.domain.outcomes import Deferred, Outcome, Rejected
from services.delivery.domain.work import Message, Result, WorkRow, channel_of
from services.delivery.handlers.delivery import Line

log = get_logger(__name__)

POSTGRES_AWAY_SECONDS = 0.5

_outcomes = Metric("depesche_delivery_results", "Results of provider calls", ["channel", "sender", "status", "reason"])
_opened = Metric("depesche_delivery_breaker_opened", "Times that a sender was paused", ["channel", "sender"])

# the status of a batch that somebody will ask about first
_TELLING = (
    Status.UNKNOWN, Status.FAILED, Status.SUPPRESSED, Status.SKIPPED, Status.PENDING, Status.SENDING, Status.SENT,
)  # fmt: skip

Settled = Callable[[Message, Outcome], None]


class Recorder:
    """The results of one group. `of` returns the callback for providers; `run` flushes until all
    results have arrived."""

    def __init__(self, line: Line, messages: Sequence[Message]) -> None:
        self._line = line
        self._results: list[Result] = []
        self._finished: list[WorkRow] = []
        self._left = len(messages)
        self._ready = asyncio.Event()

    @property
    def left(self) -> int:
        """Number of calls without an outcome."""
        return self._left

    def of(self, sender: Sender) -> Settled:
        """Return the callback for this sender's outcomes: cheap, and called from the event loop."""
        line = self._line
        breaker = line.breakers.of(sender.tenant, int(sender.mode), sender.number)

        def settle(message: Message, outcome: Outcome) -> None:
            if tells_of_sender(sender.channel, outcome) and breaker.note(outcome, time.monotonic()):
                _opened.labels(sender.channel.word, str(sender.number)).inc()
                log.error("breaker_opened", sender=sender.number, mode=sender.mode.word)
            if isinstance(outcome, Rejected | Deferred) and outcome.sender_fault:
                log.error(
                    "sender_misconfigured",
                    sender=sender.number,
                    reason=outcome.reason.word,
                    notification_id=str(message.notification_id),
                )
            self._took(decide(message, outcome, line.pace.retry, line.clock(), line.draw()))

        return settle

    def _took(self, result: Result) -> None:
        self._results.append(result)
        row = result.message.row
        row.queued.outstanding -= 1
        if row.queued.outstanding == 0:
            self._finished.append(row)
        self._left -= 1
        if self._left == 0 or len(self._results) >= self._line.pace.flush_results:
            self._ready.set()

    async def run(self) -> None:
        """Flush after a number of results or a time, until all outcomes are recorded."""
        while True:
            try:
                async with asyncio.timeout(self._line.pace.flush):
                    await self._ready.wait()
            except TimeoutError:
                pass
            self._ready.clear()
            done = self._left == 0
            await self._flush()
            if done:
                return

    async def _flush(self) -> None:
        results, self._results = self._results, []
        finished, self._finished = self._finished, []
        if not results and not finished:
            return
        with span("record", messages=len(results)) as current:
            if results:
                worst = min({result.status for result in results}, key=_TELLING.index)
                mark_outcome(current, worst.word, failed=worst in (Status.UNKNOWN, Status.FAILED))
            await self._record(results, finished)
        counts = Counter((channel_of(r.message), r.message.sender, r.status, r.reason) for r in results)
        for (channel, sender, status, reason), count in counts.items():
            _outcomes.labels(channel, str(sender), status.word, reason.word).inc(count)

    async def _record(self, results: Sequence[Result], finished: Sequence[WorkRow]) -> None:
        """Record results, waiting for Postgres if needed, because nobody else has them; after a whole lease, recovery
        marks them unknown. Recording twice changes nothing."""
        until = time.monotonic() + self._line.pace.lease
        while True:
            try:
                return await self._line.ledger.record(results, finished)
            except Unavailable as error:
                if time.monotonic() > until:
                    raise
                log.warning("record_waits", detail=error.detail, count=len(results))
            await asyncio.sleep(POSTGRES_AWAY_SECONDS)
