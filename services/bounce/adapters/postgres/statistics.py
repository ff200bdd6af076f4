"""Figures for people, from roll-ups alone: no query here scans the facts."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from libs.contracts.outcomes import Mode
from libs.storage.database import Database
from services.bounce.domain.figures import Grain
from services.bounce.domain.parking import ParkState
from services.bounce.ports import BreakerQuery, FigureQuery

_NAMES = ("category", "provider", "from_domain", "communication")
_NARROW = {"category", "provider"}
_SUMS = """
  sum(facts)::bigint as facts, sum(first)::bigint as first, sum(suppressed)::bigint as suppressed,
  sum(lifted)::bigint as lifted, sum(parked)::bigint as parked,
  coalesce(sum(facts) filter (where category = 'undetermined'), 0)::bigint as undetermined
from figure
where tenant = $1 and mode = $2 and grain = $3 and bucket >= $4 and bucket < $5
"""
_HEALTH = """
select sender, about, provider, category, sum(count)::bigint as count, max(last_at) as last_at,
  (array_agg(last_bounce order by last_at desc))[1] as last_bounce
from health where tenant = $1 and mode = $2 and day >= $3 and day < $4
  and ($5::smallint is null or sender = $5) and ($6::text is null or provider = $6)
group by 1, 2, 3, 4 order by 5 desc, 1, 2, 3, 4 limit $7
"""
_STATES = ", ".join(f"count(p.id) filter (where p.state = {int(state)}) as {state.word}" for state in ParkState)
_BREAKERS = f"""
select b.*, {_STATES} from (
  select * from breaker where mode = $2 and ($3::text is null or provider = $3) and ($4::uuid is null or id = $4)
    and ($5::timestamptz is null or (opened_at, id) < ($5, $6::uuid))
    and ($8::timestamptz is null or coalesce(closed_at, 'infinity') > $8)
  order by opened_at desc, id desc limit $7) as b
left join parked p on p.breaker_id = b.id and p.tenant = $1
group by b.id, b.mode, b.provider, b.doubtful_from, b.opened_at, b.closed_at, b.refused, b.expected, b.real
order by b.opened_at desc, b.id desc
"""  # noqa: S608 - our own statement


@dataclass(frozen=True, slots=True)
class PostgresFigures:
    database: Database

    async def figures(self, wanted: FigureQuery) -> list[Mapping[str, Any]]:
        """Return sums by the requested dimensions, in time order, the most frequent first."""
        only = {name: wanted.only[name] for name in _NAMES if name in wanted.only}
        question = _question(wanted.by, only, buckets=wanted.grain != "none")
        where = (wanted.tenant, int(wanted.mode), int(_grain(wanted)), wanted.since, wanted.until)
        async with self.database.acquire() as connection:
            return list(await connection.fetch(question, *where, wanted.limit, *only.values()))

    async def health(
        self, realm: tuple[int, Mode], span: tuple[datetime, datetime], sender: int | None, provider: str | None
    ) -> list[Mapping[str, Any]]:
        """Return blocks by sender, IP address or domain, provider and category, the most frequent first."""
        since, until = span
        async with self.database.acquire() as connection:
            rows = await connection.fetch(
                _HEALTH, realm[0], int(realm[1]), since.date(), until.date(), sender, provider, 500
            )
        return list(rows)

    async def breakers(self, wanted: BreakerQuery) -> list[Mapping[str, Any]]:
        """Return when providers were doubted, newest first, with the outcome of the tenant's parked addresses."""
        opened_at, after = wanted.after or (None, None)
        names = (wanted.tenant, int(wanted.mode), wanted.provider, wanted.id, opened_at, after)
        async with self.database.acquire() as connection:
            return list(await connection.fetch(_BREAKERS, *names, wanted.limit, wanted.since))


def _grain(wanted: FigureQuery) -> Grain:
    grain = Grain.HOUR if wanted.grain == "hour" else Grain.DAY
    return grain.narrow if wanted.by | wanted.only.keys() <= _NARROW else grain


def _question(by: Collection[str], only: Collection[str], *, buckets: bool) -> str:
    """Build a query that groups only by the requested dimensions: five columns cost ten times as much as two. It also
    has only the conditions in use: at the sixth execution Postgres makes a generic plan, which would test on each row
    whether a condition applies."""
    keys = ["bucket"] * buckets + [name for name in _NAMES if name in by]
    shown = ["bucket" if buckets else "null::timestamptz as bucket"]
    shown += [name if name in by else f"null::text as {name}" for name in _NAMES]
    grouped = f"group by {', '.join(keys)}" if keys else "having sum(facts) is not null"
    asked = "".join([f" and {name} = ${number}" for number, name in enumerate(only, 7)])
    return f"select {', '.join(shown)}, {_SUMS} {asked} {grouped} order by bucket, facts desc, 2, 3, 4, 5 limit $6"
