"""How long figures and reports of bounces take over ten million facts: generated roll-ups, the service's own queries.

    python -m bench.bounce_statistics [--facts N] [--days N]

Goal: 100 ms for each. Last line: JSON.
"""

import argparse
import asyncio
import json
import os
import statistics
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg

from bench.postgres import fresh_postgres
from libs.contracts.outcomes import Mode
from libs.storage.database import Database
from libs.storage.migrations import migrate
from services.bounce.adapters.postgres import SERVER_SETTINGS, PostgresFigures, PostgresReports
from services.bounce.ports import FigureQuery
from services.bounce.ports.reports import OpinionQuery, Realm, UnreadQuery

MIGRATIONS = Path(__file__).parents[1] / "services" / "bounce" / "migrations"
GOAL_MS = 100.0
Question = Callable[[], Awaitable[Any]]
UNTIL = datetime(2027, 3, 1, tzinfo=UTC)
_TIMES = 21
# enough categories, providers, domains and communications for 600 rows in a busy hour, like a large shop's
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
_NARROW = """
insert into figure
select tenant, mode, grain + 2, bucket, category, provider, '', '', sum(facts), sum(first), sum(suppressed), 0, 0
from figure group by 1, 2, 3, 4, 5, 6
"""
# 300 rules, each deciding and outdone by four others every day; so many unread templates and opinions per day
_HITS = """
insert into rule_hit
select 1, 1, day, 'rule-' || r, least(w, 1), 'rule-' || (r + w) % 300, 10 + r, day, gen_random_uuid()
from generate_series($1::timestamptz::date, $2::timestamptz::date - 1, '1 day') as d (day),
  generate_series(1, 300) as r, generate_series(0, 4) as w where w > 0 or r % 3 > 0
"""
_UNREAD = """
insert into unread
select 1, 1, day, md5((t * (1 + extract(day from day)::int % 3))::text)::uuid, 'provider' || t % 10, 1 + 9000 / t,
  day, gen_random_uuid()
from generate_series($1::timestamptz::date, $2::timestamptz::date - 1, '1 day') as d (day),
  generate_series(1, 2000) as t
"""
_OPINIONS = """
insert into opinion
select 1, 1, day, 'vendor' || v, 'category' || o, 'category' || c, 'rule-' || c * 3, 'provider' || p, 10, day,
  gen_random_uuid()
from generate_series($1::timestamptz::date, $2::timestamptz::date - 1, '1 day') as d (day),
  generate_series(1, 3) as v, generate_series(1, 4) as o, generate_series(1, 10) as c, generate_series(1, 5) as p
"""


async def measure(dsn: str, facts: int, days: int) -> dict[str, float]:
    """Return medians in milliseconds by query."""
    await migrate(dsn, {"bounce": MIGRATIONS})
    await _fill(dsn, facts, days)
    database = Database(dsn, "bounce", max_size=1, server_settings=SERVER_SETTINGS)
    await database.open()
    try:
        questions = _figures(PostgresFigures(database), days) | _reports(PostgresReports(database))
        async with database.acquire() as connection:
            pid = await connection.fetchval("select pg_backend_pid()")
        return {name: await _timed(name, question, pid) for name, question in questions.items()}
    finally:
        await database.close()


async def _fill(dsn: str, facts: int, days: int) -> None:
    connection = await asyncpg.connect(dsn, server_settings={"search_path": "bounce", "timezone": "UTC"})
    since = UNTIL - timedelta(days=days)
    average = facts / (days * 24 * 600)
    await connection.execute(_FILL, since, UNTIL, average * 5)
    await connection.execute(_DAYS)
    await connection.execute(_NARROW)
    for statement in (_HITS, _UNREAD, _OPINIONS):
        await connection.execute(statement, since, UNTIL)
    await connection.execute("vacuum analyze")
    total, rows = await connection.fetchrow("select sum(facts) filter (where grain = 0), count(*) from figure")
    print(f"{total:,} facts over {days} days in {rows:,} rows of roll-ups")
    await connection.close()


def _figures(figures: PostgresFigures, days: int) -> dict[str, Question]:
    whole = timedelta(days=days)
    asked = {
        "all days": ("day", whole, ()),
        "all days by category": ("day", whole, ("category",)),
        "all days by category and provider": ("day", whole, ("category", "provider")),
        "whole time by all": ("none", whole, ("category", "provider", "from_domain", "communication")),
        "a week of hours by category": ("hour", timedelta(days=7), ("category",)),
        "a day of hours by provider": ("hour", timedelta(days=1), ("provider",)),
        "a month of hours by category": ("hour", timedelta(days=30), ("category",)),
        "all days by sending domain": ("day", whole, ("from_domain",)),
        "whole time by communication": ("none", whole, ("communication",)),
    }
    return {
        name: partial(figures.figures, FigureQuery(1, Mode.LIVE, grain, UNTIL - span, UNTIL, frozenset(by), {}, 10_001))
        for name, (grain, span, by) in asked.items()
    }


def _reports(reports: PostgresReports) -> dict[str, Question]:
    realm, names = Realm(1, Mode.LIVE), [f"rule-{number}" for number in range(300)]
    month, week = ((UNTIL - timedelta(days=back)).date() for back in (30, 7))
    return {
        "hits of all rules in 30 days": partial(reports.hits, realm, month),
        "last hits of all rules": partial(reports.last_hits, realm, names),
        "rules outdone in 30 days": partial(reports.outdone, realm, month, 100, None),
        "unread texts of 7 days": partial(reports.unread, UnreadQuery(realm, week, 100)),
        "unread texts of 30 days": partial(reports.unread, UnreadQuery(realm, month, 100)),
        "disagreements of 30 days": partial(reports.opinions, OpinionQuery(realm, month, 100)),
        "agreements of 30 days": partial(reports.agreeing, realm, month),
    }


async def _timed(name: str, question: Question, pid: int) -> float:
    """Return the median of several runs in milliseconds; print the CPU cost too, which does not depend
    on other load."""
    times = []
    server, ours = _server_seconds(pid), time.process_time()
    for _ in range(_TIMES):
        start = time.perf_counter()
        answer = await question()
        times.append((time.perf_counter() - start) * 1_000)
    middle = statistics.median(times)
    cpu = (_server_seconds(pid) - server, time.process_time() - ours)
    postgres, here = (seconds * 1_000 / _TIMES for seconds in cpu)
    print(
        f"{name:36} {middle:7.1f} ms (best {min(times):6.1f}); CPU {postgres:5.1f} ms Postgres, {here:5.1f} ours; "
        f"{len(answer):,} rows"
    )
    return middle


def _server_seconds(pid: int) -> float:
    """Return the CPU seconds used so far by the session's Postgres process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Fill, query, print."""
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
