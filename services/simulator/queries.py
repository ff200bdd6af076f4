"""Reads of the control API: figures, repeats, what arrived."""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from services.simulator.domain.arrivals import Wanted, shown
from services.simulator.domain.exchange import CHANNELS, Exchange

_SUMMED = ("calls", "accepted", "distinct", "repeated", "refused", "lost", "validated", "unanswered")


def counters(exchange: Exchange) -> dict[str, Any]:
    """Return the counters of each channel and their sum."""
    channels = {name: tally.figures() for name, tally in exchange.tallies.items()}
    return {
        "channels": channels,
        "total": {name: sum(figures[name] for figures in channels.values()) for name in _SUMMED},
        "callbacks": asdict(exchange.callbacks),
        "bounces": asdict(exchange.bounces),
        "owed": len(exchange.agenda),
        "kept": len(exchange.arrivals),
    }


def repeats(exchange: Exchange, channel: str | None = None) -> list[dict[str, Any]]:
    """Return each message that was accepted more than once: when, and as which attempt."""
    return [
        {
            "channel": name,
            "message": tag,
            "accepted": [
                {"at": datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(), "attempt": attempt}
                for milliseconds, attempt in times
            ],
        }
        for name in CHANNELS
        if channel in (None, name)
        for tag, times in exchange.tallies[name].repeats.items()
    ]


def arrived(exchange: Exchange, wanted: Wanted, before: int | None, limit: int) -> dict[str, Any]:
    """Return one page of what arrived, newest first."""
    found: Iterator[Any] = exchange.arrivals.search(wanted, before)
    page = list(islice(found, limit + 1))
    more = len(page) > limit
    return {
        "items": [shown(arrival) for arrival in page[:limit]],
        "next_cursor": str(page[limit - 1].number) if more else None,
    }


def scripts(exchange: Exchange) -> list[dict[str, Any]]:
    """Return the active faults of whole channels."""
    now = exchange.clock()
    return [
        {
            "channel": script.channel,
            "fault": script.fault.value,
            "seconds_left": None if script.until is None else round(max(script.until - now, 0.0), 3),
            "calls_left": script.remaining,
            "share": script.share,
        }
        for script in exchange.faults.scripts
    ]
