"""Figures over HTTP: statistics, reputation, the breaker's history."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Query, Request
from pydantic import AwareDatetime

from libs.errors import Invalid
from libs.paging import After, Limit, Page, page_of, read_cursor
from libs.web import Router
from services.bounce.api import Category, Provider, Reader, deps_of, period, require_category, sensible
from services.bounce.api.figure_shapes import BreakerShown, Counted, FigureRow, HealthRow, Reputation, Statistics
from services.bounce.handlers import Bounce
from services.bounce.handlers.reports import figures_kept_since
from services.bounce.ports import BreakerQuery, FigureQuery

router = Router(prefix="/v1", tags=["bounces"])

_MOST_ROWS = 10_000
_COUNTS = ("facts", "first", "suppressed", "lifted", "parked", "undetermined")

Dimension = Literal["category", "provider", "from_domain", "communication"]
Since = Annotated[AwareDatetime | None, Query(description="Start, rounded down to the hour or day (UTC).")]
Until = Annotated[
    AwareDatetime | None, Query(description="End, exclusive, rounded up to the hour or day (UTC); default: now.")
]


@router.get("/statistics", summary="Bounce statistics")
async def statistics(
    request: Request,
    principal: Reader,
    since: Since = None,
    until: Until = None,
    grain: Annotated[Literal["hour", "day", "none"], Query(description="Buckets of time, in UTC.")] = "day",
    by: Annotated[list[Dimension] | None, Query(description="Dimensions to group by; repeatable.")] = None,
    category: Category = None,
    provider: Provider = None,
    from_domain: Annotated[
        str | None, Query(max_length=255, description="Only mails from this domain.", examples=["shop.example"])
    ] = None,
    communication: Annotated[
        str | None, Query(max_length=100, description="Only this communication.", examples=["order-confirmed"])
    ] = None,
) -> Statistics:
    """Count by hour or day, category, provider, sending domain and communication. Default: the last seven days.

    The figures are updated as facts are stored, so the response time does not depend on how many there are.
    """
    deps = deps_of(request)
    require_category(category)
    begin, end = _span(deps, since, until, "hour" if grain == "hour" else "day")
    names = {"category": category, "provider": provider, "from_domain": from_domain, "communication": communication}
    only = {name: value for name, value in names.items() if value is not None}
    query = FigureQuery(principal.tenant, principal.mode, grain, begin, end, frozenset(by or ()), only, _MOST_ROWS + 1)
    rows = await deps.figures.figures(query)
    if len(rows) > _MOST_ROWS:
        raise Invalid(f"That is more than {_MOST_ROWS:,} rows; ask for less time, or fewer dimensions.", pointer="by")
    totals = {name: sum(row[name] for row in rows) for name in _COUNTS}
    doubted = BreakerQuery(principal.tenant, principal.mode, 100, provider, since=begin)
    return Statistics(
        grain=grain,
        since=begin,
        until=end,
        totals=Counted(**totals, repeated=totals["facts"] - totals["first"]),
        undetermined_share=round(totals["undetermined"] / totals["facts"], 4) if totals["facts"] else 0.0,
        rows=[FigureRow(**row, repeated=row["facts"] - row["first"]) for row in rows],
        breakers=[shown_breaker(row) for row in await deps.figures.breakers(doubted) if row["opened_at"] < end],
    )


@router.get("/reputation", summary="Blocks by sender")
async def reputation(
    request: Request,
    principal: Reader,
    since: Since = None,
    until: Until = None,
    sender: Annotated[int | None, Query(ge=0, le=32_767, description="Only this sender, by its number.")] = None,
    provider: Provider = None,
) -> Reputation:
    """Count blocks, which never affect an address, by sender, IP address or domain, provider and category."""
    deps = deps_of(request)
    span = _span(deps, since, until, "day")
    rows = await deps.figures.health((principal.tenant, principal.mode), span, sender, provider)
    return Reputation(items=[HealthRow(**row) for row in rows])


@router.get("/breakers", summary="When providers were not believed")
async def breakers(
    request: Request, principal: Reader, provider: Provider = None, limit: Limit = 100, cursor: After = None
) -> Page[BreakerShown]:
    """List the breakers' history, newest first."""
    after = read_cursor(cursor, datetime, UUID)
    wanted = BreakerQuery(principal.tenant, principal.mode, limit + 1, provider, after=after)
    rows = await deps_of(request).figures.breakers(wanted)
    return page_of(rows, limit, shown_breaker, lambda row: (row["opened_at"], row["id"]))


def shown_breaker(row: Mapping[str, Any]) -> BreakerShown:
    """Return a breaker's response."""
    state = "closed" if row["closed_at"] else "believed" if row["real"] else "open"
    return BreakerShown(**row, state=state)


def _span(deps: Bounce, since: datetime | None, until: datetime | None, grain: str) -> tuple[datetime, datetime]:
    end = sensible(until or deps.clock(), "until")
    begin, end = period(since or end - timedelta(days=7), until, end, at="")
    by_hour, by_day = figures_kept_since(deps)
    kept = by_hour.date() if grain == "hour" else by_day
    if begin.astimezone(UTC).date() < kept:
        raise Invalid(f"Figures by the {grain} are kept from {kept} on; ask for a later time.", pointer="since")
    first, last = _start(begin, grain), _start(end, grain)
    return first, last if last == end else last + timedelta(**{f"{grain}s": 1})


def _start(at: datetime, grain: str) -> datetime:
    """Return the start of the bucket. Buckets are counted whole, and the response names the time that it covers."""
    hour = at.replace(minute=0, second=0, microsecond=0)
    return hour if grain == "hour" else hour.replace(hour=0)
