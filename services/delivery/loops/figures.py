"""Metrics for dashboards, and an alarm if something exists that must never exist."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final

from prometheus_client import Gauge

from libs.clock import pause
from libs.contracts.outcomes import Mode
from libs.errors import Unavailable
from libs.telemetry import get_logger
from services.delivery.domain.breaker import State
from services.delivery.domain.work import QUEUE_LANES
from services.delivery.handlers.delivery import Delivery

log = get_logger(__name__)

_LOOK_SECONDS = 15.0
_UNKNOWN_TURNS = 2
_EMPTY_TURNS = 20

# Every worker sees the same queue: the latest value from a live one counts. Breakers are per worker.
_SHARED: Final = "livemostrecent"
_OWN: Final = "livemax"
_SENDER = ["tenant", "mode", "sender"]

_backlog = Gauge("depesche_delivery_backlog", "Recipients waiting", ["lane"], multiprocess_mode=_SHARED)
_held = Gauge("depesche_delivery_held_chunks", "Chunks that a hold stops", ["lane"], multiprocess_mode=_SHARED)
_oldest = Gauge(
    "depesche_delivery_oldest_due_seconds", "Age of the oldest due work without a hold", ["lane"],
    multiprocess_mode=_SHARED,
)  # fmt: skip
_unknown = Gauge(
    "depesche_delivery_unknown", "Messages whose sending is unknown", _SENDER,
    multiprocess_mode=_SHARED,
)  # fmt: skip
_empty = Gauge("depesche_delivery_always_empty", "Counts that must always be 0", ["what"], multiprocess_mode=_SHARED)
_breaker = Gauge(
    "depesche_delivery_breaker", "State of the sender's breaker: 0 closed, 1 half-open, 2 open", _SENDER,
    multiprocess_mode=_OWN,
)  # fmt: skip
_STATES = {State.CLOSED: 0, State.HALF_OPEN: 1, State.OPEN: 2}

_Senders = Mapping[tuple[int, int, int], int]


async def watch(deps: Delivery, stop: asyncio.Event) -> None:
    """Measure every 15 seconds; expensive figures less often."""
    turn = 0
    seen: set[tuple[int, int, int]] = set()
    while not stop.is_set():
        try:
            await _look(deps)
            if turn % _UNKNOWN_TURNS == 0:
                show_unknown(await deps.reads.unknown_by_sender(), seen)
            if turn % _EMPTY_TURNS == 0:
                await _look_for_what_must_not_be(deps, turn // _EMPTY_TURNS)
        except Unavailable as error:
            log.warning("figures_unavailable", detail=error.detail)
        turn += 1
        await pause(stop, _LOOK_SECONDS)


async def _look(deps: Delivery) -> None:
    for key, state in deps.line.breakers.states(time.monotonic()).items():
        _breaker.labels(*_labels(key)).set(_STATES[state])
    found = await deps.reads.backlog()
    for lane, word in QUEUE_LANES.items():
        _, recipients, held, oldest = found.get(lane, (0, 0, 0, 0.0))
        _backlog.labels(word).set(recipients)
        _held.labels(word).set(held)
        _oldest.labels(word).set(max(0.0, oldest))


def show_unknown(found: _Senders, seen: set[tuple[int, int, int]]) -> None:
    """Set the gauge; a sender that had some before and has none now is set to 0."""
    seen |= set(found)
    for key in seen:
        _unknown.labels(*_labels(key)).set(found.get(key, 0))


async def _look_for_what_must_not_be(deps: Delivery, turn: int) -> None:
    for what, count in (await deps.partitions.always_empty(turn)).items():
        _empty.labels(what).set(count)
        if count:
            log.error("never_empty", what=what, count=count)


def _labels(key: tuple[int, int, int]) -> tuple[Any, ...]:
    tenant, mode, sender = key
    return tenant, Mode(mode).word, sender
