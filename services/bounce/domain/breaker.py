"""Owns when a provider is doubted: its "no such user" replies leave the usual band by far.

On 14 and 15 December 2020 Gmail answered 550 5.1.1 to good addresses for hours. Counts are per minute, by the time of
the provider's reply, not of its arrival here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

MINUTE = timedelta(minutes=1)
_FLOOR = 0.05  # of the minimum: fewer refusals in a window say nothing about their share
Minutes = Mapping[datetime, int]  # by the start of the minute (UTC)


@dataclass(frozen=True, slots=True)
class Band:
    """The breaker's limits; services/bounce/settings.py explains each."""

    factor: float = 5.0
    minimum: int = 200
    window: timedelta = timedelta(minutes=10)
    usual_over: timedelta = timedelta(days=7)
    answers_within: timedelta = timedelta(minutes=60)
    quiet: timedelta = timedelta(minutes=30)
    back_at_most: timedelta = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class Usual:
    """Sums over `usual_over` before the window, excluding times when a breaker was open."""

    refused: int  # unknown-user at this provider
    sent: int  # mails handed over, at all providers


@dataclass(frozen=True, slots=True)
class Seen:
    """The last hours per minute: refused at this provider, sent to all."""

    refused: Minutes
    sent: Minutes


def expected(usual: Usual, seen: Seen, at: datetime, band: Band) -> float:
    """Return how many refusals the window that ends at `at` would usually contain.

    A provider's share of all mails sent is steadier than a rate: a campaign makes ten times the bounces of a quiet
    night. Bounces follow the mails, so the busiest window within `answers_within` counts. If no sending was seen at all
    (bounces of mails that others sent), only the rate remains.
    """
    if not usual.sent:
        return usual.refused * (band.window / band.usual_over)
    starts = (at - band.window * n for n in range(max(1, round(band.answers_within / band.window))))
    busiest = max(_sum(seen.sent, start, band) for start in starts)
    return usual.refused / usual.sent * busiest


def is_out(refused: int, expectation: float, band: Band) -> bool:
    """Whether so many refusals in a window are implausible."""
    return refused >= band.minimum and refused > band.factor * expectation


def is_calm(seen: Seen, usual: Usual, at: datetime, band: Band) -> bool:
    """Whether the window that ends at `at` is within the band, or nearly empty.

    Not the opposite of `is_out`: at night an outage may have few mails to refuse, and is still an outage.
    """
    refused = _sum(seen.refused, at, band)
    return refused < band.minimum * _FLOOR or refused <= band.factor * expected(usual, seen, at, band)


def may_close(seen: Seen, usual: Usual, at: datetime, band: Band) -> bool:
    """Whether every window of the last `quiet` was calm."""
    return all(is_calm(seen, usual, at - MINUTE * n, band) for n in range(round(band.quiet / MINUTE) + 1))


def refused_in_window(seen: Seen, at: datetime, band: Band) -> int:
    """Return the refusals in the window that ends with the minute of `at`."""
    return _sum(seen.refused, at, band)


def doubtful_from(seen: Seen, usual: Usual, at: datetime, band: Band) -> datetime:
    """Return since when the provider is not believed, if the breaker trips at `at`.

    It goes back as long as the windows were out of the band except for their number, plus one window: an outage does
    not begin with 200 refusals in its first minute.
    """
    begin = _minute(at) - band.window + MINUTE
    while begin > at - band.back_at_most and not is_calm(seen, usual, begin - MINUTE, band):
        begin -= MINUTE
    return begin - band.window


def _sum(minutes: Minutes, end: datetime, band: Band) -> int:
    last = _minute(end)
    return sum(minutes.get(last - MINUTE * n, 0) for n in range(round(band.window / MINUTE)))


def _minute(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)
