"""The breaker of each provider: its counts per minute, when it was open, and what it parked."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.contracts.outcomes import Mode
from libs.ids import uuid7
from libs.storage.arrays import columns
from services.bounce.domain.breaker import MINUTE, Band, Seen, Usual, doubtful_from, expected, is_out, refused_in_window

Provider = tuple[int, str]  # mode, name

EVERYBODY = ""  # counts mails sent: their provider is unknown until it answers

_PULSE = """
insert into pulse as p (mode, provider, minute, count)
select * from unnest($1::smallint[], $2::text[], $3::timestamptz[], $4::int[])
on conflict (mode, provider, minute) do update set count = p.count + excluded.count
"""
_MINUTES = """
select provider, minute, count from pulse
where mode = $1 and provider = any($2::text[]) and minute > $3 and minute <= $4
"""
# facts seen while a breaker was open are not usual, unless an operator confirmed them
_USUAL = """
select p.provider, sum(p.count)::bigint from pulse p
where p.mode = $1 and p.provider = any($2::text[]) and p.minute > $3 and p.minute <= $4
  and not exists (select from breaker b where b.mode = p.mode and b.provider = $5 and not b.real
    and p.minute >= b.doubtful_from and p.minute < coalesce(b.closed_at, 'infinity'))
group by p.provider
"""
_SPANS = """
select id, mode, provider, doubtful_from, closed_at from breaker
where (mode, provider) in (select * from unnest($1::smallint[], $2::text[]))
  and (closed_at is null or closed_at > $3) and not real
"""
_OPEN = """
insert into breaker (id, mode, provider, doubtful_from, opened_at, refused, expected)
values ($1, $2, $3, $4, $5, $6, $7)
on conflict (mode, provider) where closed_at is null do nothing returning id
"""
_DOUBT = """
update bounce set doubtful = true where mode = $1 and provider = $2 and at >= $3
  and category in ('unknown-user', 'inactive', 'moved') and not doubtful
"""


@dataclass(frozen=True, slots=True)
class Span:
    """A time in which a provider was doubted; `until` None: it still is."""

    id: UUID
    begin: datetime
    until: datetime | None

    def holds(self, at: datetime) -> bool:
        return self.begin <= at and (self.until is None or at < self.until)


@dataclass(frozen=True, slots=True)
class Tripped:
    """A breaker that has just opened."""

    id: UUID
    mode: Mode
    provider: str
    doubtful_from: datetime
    refused: int
    expected: float


async def count_pulses(connection: Any, counts: Mapping[tuple[int, str, datetime], int]) -> None:
    """Add to the counts per minute; rows are locked in key order."""
    if counts:
        rows = [(*key, count) for key, count in sorted(counts.items())]
        await connection.execute(_PULSE, *columns(rows))


def minute_of(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)


async def look(connection: Any, refused: Mapping[Provider, Sequence[datetime]], band: Band) -> list[Tripped]:
    """Count providers' refusals and open the breakers of those outside their band."""
    pulses = Counter((mode, provider, minute_of(at)) for (mode, provider), moments in refused.items() for at in moments)
    await count_pulses(connection, pulses)
    tripped = []
    for provider, moments in sorted(refused.items()):
        found = await _judge(connection, provider, max(moments), band)
        if found is not None:
            tripped.append(found)
    return tripped


async def _judge(connection: Any, provider: Provider, at: datetime, band: Band) -> Tripped | None:
    mode, name = provider
    near = Seen(await _minutes(connection, mode, name, (at - band.window, at)), {})
    refused = refused_in_window(near, at, band)
    if refused < band.minimum:
        return None
    seen, usual = await figures_of(connection, provider, at, band)
    expectation = expected(usual, seen, at, band)
    if not is_out(refused, expectation, band):
        return None
    begin = doubtful_from(seen, usual, at, band)
    id_ = await connection.fetchval(_OPEN, uuid7(), mode, name, begin, at, refused, expectation)
    if id_ is None:
        return None  # already open
    await connection.execute(_DOUBT, mode, name, begin)
    return Tripped(id_, Mode(mode), name, begin, refused, expectation)


async def figures_of(connection: Any, provider: Provider, at: datetime, band: Band) -> tuple[Seen, Usual]:
    """Return the last hours per minute, and the usual rate before the window that ends at `at`."""
    mode, name = provider
    span = (at - band.back_at_most - band.answers_within - band.window * 2, at)
    seen = Seen(await _minutes(connection, mode, name, span), await _minutes(connection, mode, EVERYBODY, span))
    before = at - band.window
    rows = await connection.fetch(_USUAL, mode, [name, EVERYBODY], before - band.usual_over, before, name)
    sums = {row[0]: int(row[1]) for row in rows}
    return seen, Usual(sums.get(name, 0), sums.get(EVERYBODY, 0))


async def _minutes(connection: Any, mode: int, provider: str, span: tuple[datetime, datetime]) -> dict[datetime, int]:
    begin, end = span
    rows = await connection.fetch(_MINUTES, mode, [provider], begin - MINUTE, end)
    return {row["minute"]: row["count"] for row in rows}


async def doubts(connection: Any, providers: Collection[Provider], since: datetime) -> dict[Provider, list[Span]]:
    """Return the times in which each provider was doubted since a moment."""
    ordered = sorted(set(providers))
    spans: dict[Provider, list[Span]] = {provider: [] for provider in ordered}
    if ordered:
        arrays = columns(ordered)
        for id_, mode, name, begin, until in await connection.fetch(_SPANS, *arrays, since):
            spans[mode, name].append(Span(id_, begin, until))
    return spans
