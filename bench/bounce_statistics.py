"""How long the figures of bounces take over ten million facts: generated roll-ups, the service's own questions.

    python -m bench.bounce_statistics [--facts N] [--days N]

Goal: 100 ms for each. Last line: JSON.
"""

import argparse
import asyncio
import json
import statistics
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg

from bench.postgres import fresh_postgres
from libs.contracts.outcomes import Mode
from libs.storage.database import Database
from libs.storage.migrations import migrate
from services.bounce.adapters.postgres import PostgresFigures
from services.bounce.ports import FigureQuery

MIGRATIONS = Path(__file__).parents[1] / "services" / "bounce" / "migrations"
GOAL_MS = 100.0
UNTIL = datetime(2027, 3, 1, tzinfo=UTC)
_TIMES = 9
# so many categories, providers, domains and communications that a busy hour has 600 rows, as a large shop's would
_FILL = """
insert into figure
select 1, 1, 0, hour, 'category' || c, 'provider' || p, 'shop' || d || '.example', 'communication' || m,
       n, n / 2, n / 3, 0, 0
from generate_series($1::timestamptz, $2::timestamptz - interval '1 hour', interval '1 hour') as hour,
  generate_series(1, 10) as c, generate_series(1, 10) as p, generate_series(1, 2) as d, generate_series(1, 3) as m,
  lateral (select greatest(1, round($3 * 2 / (c + p)))::bigint) as x (n)
"""
_DAYS = """
insert into figure
select tenant, mode, 1, date_trunc('day', bucket), category, provider, from_domain, communication,
       sum(facts), sum(first), sum(suppressed), 0, 0
from figure group by 1, 2, 4, 5, 6, 7, 8
"""


async def measure(dsn: str, facts: int, days: int) -> dict[str, float]:
    """Medians in milliseconds by question."""
    await migrate(dsn, {"bounce": MIGRATIONS})
    connection = await asyncpg.connect(dsn, server_settings={"search_path": "bounce", "timezone": "UTC"})
    since = UNTIL - timedelta(days=days)
    average = facts / (days * 24 * 600)
    await connection.execute(_FILL, since, UNTIL, average * 5)
    await connection.execute(_DAYS)
    await connection.execute("vacuum analyze figure")
    total, rows = await connection.fetchrow("select sum(facts) filter (where grain = 0), count(*) from figure")
    print(f"{total:,} facts over {days} days in {rows:,} rows of roll-ups")
    await connection.close()
    database = Database(dsn, "bounce", max_size=2)
    await database.open()
    figures = PostgresFigures(database)
    found = {}
    for name, (grain, span, by) in {
        "all days": ("day", timedelta(days=days), ()),
        "all days by category": ("day", timedelta(days=days), ("category",)),
        "all days by category and provider": ("day", timedelta(days=days), ("category", "provider")),
        "whole time by all": ("none", timedelta(days=days), ("category", "provider", "from_domain", "communication")),
        "a week of hours by category": ("hour", timedelta(days=7), ("category",)),
        "a day of hours by provider": ("hour", timedelta(days=1), ("provider",)),
    }.items():
        wanted = FigureQuery(1, Mode.LIVE, grain, UNTIL - span, UNTIL, frozenset(by), {}, 10_001)
        times = []
        for _ in range(_TIMES):
            start = time.perf_counter()
            answer = await figures.figures(wanted)
            times.append((time.perf_counter() - start) * 1_000)
        found[name] = statistics.median(times)
        print(f"{name:36} {found[name]:7.1f} ms (best {min(times):.1f}), {len(answer):,} rows")
    await database.close()
    return found


def main() -> None:
    """Fills, asks, prints."""
    parser = argparse.ArgumentParser(prog="python -m bench.bounce_statistics", description=__doc__)
    parser.add_argument("--facts", type=int, default=10_000_000)
    parser.add_argument("--days", type=int, default=90)
    options = parser.parse_args()
    with fresh_postgres() as fresh:
        found = asyncio.run(measure(fresh.dsn, options.facts, options.days))
    worst = max(found.values())
    print(json.dumps({"bench": "bounce_statistics", "worst_ms": round(worst, 1), "goal_ms": GOAL_MS}))


if __name__ == "__main__":
    main()
