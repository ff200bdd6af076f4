"""Collects outcomes as they come and records them in batches; a slow call does not hold the others up."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence

from prometheus_client import Counter as Metric

from libs.contracts.outcomes import Channel
from libs.telemetry import get_logger, span
from services.delivery.domain.deciding import decide
from services.delivery.domain.outcomes import Deferred, Outcome, Rejected
from services.delivery.domain.work import Message, Result, WorkRow
from services.delivery.handlers.delivery import Line

log = get_logger(__name__)

_outcomes = Metric("depesche_delivery_results", "Results of provider calls", ["channel", "sender", "status", "reason"])
_opened = Metric("depesche_delivery_breaker_opened", "Times that a sender was paused", ["channel", "sender"])


class Recorder:
    """The results of one group. `settle` is called by providers, `run` flushes until `finish`."""

    def __init__(self, line: Line, messages: Sequence[Message]) -> None:
        self._line = line
        self._results: list[Result] = []
        self._finished: list[WorkRow] = []
        self._left = len(messages)
        self._ready = asyncio.Event()

    @property
    def left(self) -> int:
        """Calls whose outcome has not come."""
        return self._left

    def settle(self, message: Message, outcome: Outcome) -> None:
        """One outcome: cheap, and from the event loop."""
        line = self._line
        request = message.row.request
        breaker = line.breakers.of(request.tenant, int(request.mode), message.sender)
        if breaker.note(outcome, time.monotonic()):
            _opened.labels(Channel(message.channel).word, str(message.sender)).inc()
            log.error("breaker_opened", sender=message.sender, mode=request.mode.word)
        if isinstance(outcome, Rejected | Deferred) and outcome.sender_fault:
            log.error(
                "sender_misconfigured",
                sender=message.sender,
                reason=outcome.reason.word,
                notification_id=str(message.notification_id),
            )
        self._results.append(decide(message, outcome, line.pace.retry, line.clock(), line.draw()))
        row = message.row
        row.outstanding -= 1
        if row.outstanding == 0:
            self._finished.append(row)
        self._left -= 1
        if self._left == 0 or len(self._results) >= line.pace.flush_results:
            self._ready.set()

    async def run(self) -> None:
        """Flushes at so many results or after so long, until all outcomes are recorded."""
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
        with span("record", messages=len(results)):
            await self._line.ledger.record(results, finished)
        counts = Counter((r.message.channel, r.message.sender, r.status, r.reason) for r in results)
        for (channel, sender, status, reason), count in counts.items():
            _outcomes.labels(Channel(channel).word, str(sender), status.word, reason.word).inc(count)
