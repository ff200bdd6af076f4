"""The sender: lease → prepare → claim → call → record, one lane at a time, several groups in flight.

While groups are being called, the next one is leased and prepared. A provider that raises does not affect other
senders. A failing group does not affect the others: its leases run out, and recovery sorts out what happened. A group
that Postgres kept from its claim is given back. On stop it leases nothing more and finishes what it has leased.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from libs.contracts.outcomes import Lane, Status
from libs.contracts.reasons import Reason
from libs.errors import Unavailable
from libs.ids import message_id
from libs.telemetry import annotate, batch_span, get_logger, one_of, span
from services.delivery.domain.outbound import Outbound, Sender
from services.delivery.domain.outcomes import Ambiguous, Outcome
from services.delivery.domain.work import Claimed, GiveBack, Group, Message, Prepared, WorkRow
from services.delivery.handlers.delivery import Line
from services.delivery.loops.prepare import prepare
from services.delivery.loops.recorder import POSTGRES_AWAY_SECONDS, Recorder, Settled
from services.delivery.loops.routes import route

_SLOW = 0.5  # of a sender's timeout: a longer call is marked slow

log = get_logger(__name__)


class LaneSender:
    """Sends what is due in one lane until it is stopped."""

    def __init__(self, line: Line, lane: Lane) -> None:
        self._line = line
        self._lane = lane
        self._pace = line.pace.lanes[lane]
        self._groups: set[asyncio.Task[None]] = set()
        self._outstanding = 0
        self._room = asyncio.Event()
        self._rows = 1  # rows to lease at once: follows the number of recipients per row

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop`; then finish the groups in flight, also if leasing fails."""
        try:
            await self._lease_until(stop)
            await self._groups_ended()
        except Exception:
            await self._groups_ended()  # calls in flight need no further lease
            raise
        finally:
            for group in self._groups:
                group.cancel()

    async def _lease_until(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self._wait_for_room(stop)
            if not stop.is_set() and not await self._try_group():
                await self._wait_for_work(stop)

    async def _groups_ended(self) -> None:
        if self._groups:
            await asyncio.wait(self._groups)

    async def run_once(self) -> bool:
        """Process one group from lease to record; return whether there was one. For tests and tools."""
        if not await self._next_group():
            return False
        await self._groups_ended()
        return True

    async def _try_group(self) -> bool:
        try:
            return await self._next_group()
        except Unavailable as error:
            log.warning("sender_waits", lane=self._lane.word, detail=error.detail)
            await asyncio.sleep(POSTGRES_AWAY_SECONDS)
            return False

    async def _next_group(self) -> bool:
        group = await self._lease()
        if group is None:
            return False
        ready = asyncio.Event()
        task = asyncio.create_task(self._group(group, ready), name=f"group {self._lane.word}")
        self._groups.add(task)
        task.add_done_callback(self._ended)
        task.add_done_callback(lambda _: ready.set())
        await ready.wait()
        return True

    async def _group(self, group: Group, ready: asyncio.Event) -> None:
        requests = [row.request for row in group.rows]
        with batch_span(
            "chunk",
            [request.traceparent for request in requests],
            lane=group.lane.word,
            rows=len(requests),
            cause_id=one_of([request.cause_id for request in requests]),
            request_id=one_of([request.id for request in requests]),
        ):
            try:
                await self._send(group, ready)
            except Unavailable:
                await self._return(group)
                raise

    async def _send(self, group: Group, ready: asyncio.Event) -> None:
        prepared = await self._prepare(group)
        # everything it needs is unavailable: do not rush through the whole queue
        if prepared.away == len(group.rows):
            await asyncio.sleep(self._line.pace.poll)
        ready.set()  # the next group may be leased while this one is called
        if len(prepared.back) < len(group.rows):
            await self._deliver(prepared)

    async def _return(self, group: Group) -> None:
        """Give back what was not claimed, as soon as Postgres answers: a lease that runs out counts as a crash of its
        worker, and after six of them a message has failed. Rows whose claim was committed stay leased."""
        due_at = self._line.clock() + timedelta(seconds=self._line.pace.patience.base_seconds)
        rows = {row.queued.id: row for row in group.rows}
        backs = [GiveBack(row, due_at, Reason.NONE) for row in rows.values()]
        while time.monotonic() < group.leased_at + self._line.pace.lease:
            with suppress(Unavailable):
                return await self._line.ledger.give_back(backs)
            await asyncio.sleep(POSTGRES_AWAY_SECONDS)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._groups.discard(task)
        self._room.set()
        if task.cancelled() or (error := task.exception()) is None:
            return
        error = _unwrapped(error)
        if isinstance(error, Unavailable):  # its rows were given back, or return when the lease runs out
            log.warning("group_waits", lane=self._lane.word, detail=error.detail)
        else:
            log.error("group_failed", lane=self._lane.word, exc_info=error)

    async def _lease(self) -> Group | None:
        leased_at = time.monotonic()
        sizes = (self._rows, self._pace.recipients)
        rows = await self._line.ledger.lease(self._lane, sizes, self._line.pace.lease)
        if not rows:
            self._rows = min(self._pace.recipients, self._rows * 2)
            return None
        recipients = sum(len(row.ordinals) for row in rows)
        queued = len({row.queued.id for row in rows})
        if recipients >= self._pace.recipients:
            self._rows = max(1, self._pace.recipients * queued // recipients)
        else:
            self._rows = min(self._pace.recipients, queued * 4)
        return Group(self._lane, rows, leased_at)

    async def _prepare(self, group: Group) -> Prepared:
        with span("prepare"):
            prepared = await prepare(self._line, group)
            await route(self._line, prepared, time.monotonic())
            if prepared.back:
                await self._line.ledger.give_back(prepared.back)
        return prepared

    # ---- claim, call, record

    async def _deliver(self, prepared: Prepared) -> None:
        deadline = prepared.group.leased_at + self._line.pace.lease - self._line.pace.margin
        if time.monotonic() > deadline:
            log.warning("lease_ran_out", lane=self._lane.word)
            return
        claimed = await self._claim(prepared)
        if not claimed.messages:
            return
        recorder = Recorder(self._line, claimed.messages)
        self._outstanding += len(claimed.messages)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(recorder.run())
                for sender, messages in _by_sender(claimed.messages):
                    tasks.create_task(self._call(sender, messages, deadline, recorder))
        finally:
            self._outstanding -= recorder.left
            self._room.set()

    async def _claim(self, prepared: Prepared) -> Claimed:
        with span("claim") as current:
            claimed = await self._line.ledger.claim(prepared)
            annotate(current, messages=len(claimed.messages), **_notification(claimed.messages))
            return claimed

    async def _call(self, sender: Sender, messages: list[Message], deadline: float, recorder: Recorder) -> None:
        provider = self._line.providers[self._lane][sender.channel]
        now = self._line.clock()
        rows = {message.row.id: message.row for message in messages}
        seconds = {id_: _left(row, now) for id_, row in rows.items()}
        outbound = [_outbound(message, seconds[message.row.id]) for message in messages]
        waiting = dict(enumerate(messages))
        settle = partial(self._settled, recorder.of(sender), waiting)
        with span(
            f"call {sender.channel.word}", sender=sender.number, messages=len(messages), **_notification(messages)
        ) as current:
            began = time.monotonic()
            try:
                await provider.send(sender, outbound, deadline - sender.account.timeout_seconds, settle)
            except Exception as error:
                log.error("provider_failed", channel=sender.channel.word, sender=sender.number, exc_info=error)
                for index in list(waiting):  # each may have been handed over
                    settle(index, Ambiguous(Reason.WORKER_CRASHED, f"{type(error).__name__}: {error}"))
            if time.monotonic() - began > _SLOW * sender.account.timeout_seconds:
                annotate(current, **{"depesche.slow": True})

    def _settled(self, settle: Settled, waiting: dict[int, Message], index: int, outcome: Outcome) -> None:
        settle(waiting[index], outcome)
        del waiting[index]
        self._outstanding -= 1
        if self._outstanding < self._pace.outstanding:
            self._room.set()

    # ---- waiting

    async def _wait_for_room(self, stop: asyncio.Event) -> None:
        while self._outstanding >= self._pace.outstanding or len(self._groups) >= self._pace.groups:
            self._room.clear()
            await _first(self._room, stop, None)
            if stop.is_set():
                return

    async def _wait_for_work(self, stop: asyncio.Event) -> None:
        wake = self._line.wake.event(self._lane)
        await _first(wake, stop, self._line.pace.poll)
        wake.clear()


def _unwrapped(error: BaseException) -> BaseException:
    """Return the one error in a task group's: the recorder's, when Postgres is away for longer than a lease."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _notification(messages: Sequence[Message]) -> dict[str, Any]:
    """Return the ids for a span about one message."""
    return {"notification_id": messages[0].notification_id} if len(messages) == 1 else {}


def _by_sender(messages: list[Message]) -> list[tuple[Sender, list[Message]]]:
    groups: dict[int, list[Message]] = defaultdict(list)
    for message in messages:
        assert message.via is not None
        assert message.status is Status.SENDING
        groups[id(message.via)].append(message)  # routing gave all messages of a sender the same object
    return [(group[0].via, group) for group in groups.values() if group[0].via is not None]


def _left(row: WorkRow, now: datetime) -> int:
    """Return the seconds until it expires."""
    return max(0, int((row.request.expires_at - now).total_seconds()))


def _outbound(message: Message, ttl_seconds: int) -> Outbound:
    assert message.content is not None
    return Outbound(
        tag=message_id(message.notification_id, message.address_id),
        notification_id=message.notification_id,
        address_id=message.address_id,
        attempt=message.row.attempt,
        kind=message.kind,
        address=message.address,
        content=message.content,
        ttl_seconds=ttl_seconds,
        unsubscribe_url=message.unsubscribe_url,
        recipient_name=message.name,
    )


async def _first(event: asyncio.Event, stop: asyncio.Event, seconds: float | None) -> None:
    """Wait until one of both is set, or `seconds` have passed."""
    waits = [asyncio.create_task(event.wait()), asyncio.create_task(stop.wait())]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
