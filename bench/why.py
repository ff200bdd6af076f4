"""How fast a verdict is at ten million attempts, and the storage cost of a message.

Fills the real schemas of history and delivery with generated rows (nine in ten messages are a campaign's, one in ten
is about an order and has its event's decision; one in twenty is repeated after a timeout), then queries `why` through
the real queries, with stubs for delivery and intake. Last line: JSON.
"""

import argparse
import asyncio
import json
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from bench.postgres import fresh_postgres
from bench.sinks import cpu_seconds
from bench.why_rows import DAYS, fill, sizes
from libs.clock import system_clock
from libs.contracts.delivery import MessageRecorded, Transition
from libs.contracts.envelope import Envelope
from libs.contracts.outcomes import Mode
from libs.ids import AddressHasher, message_id, notification_id, uuid7
from libs.storage.database import Database
from libs.storage.migrations import migrate
from services.history.adapters.postgres import (
    SERVER_SETTINGS,
    PostgresAudit,
    PostgresDays,
    PostgresRecords,
    PostgresTimeline,
    Terms,
)
from services.history.domain.case import Rendered, Trace, Waiting
from services.history.ports import Asker, History
from services.history.queries import Question
from services.history.queries.why import why

GOAL_MS = 50.0
FEWEST = 200_000  # attempts
GOAL_BYTES = 1_024
SERVICES = Path(__file__).parents[1] / "services"


@dataclass(frozen=True)
class Others:
    """Stands in for delivery and intake: responds at once, so that only history is measured."""

    async def explain(self, asker: Asker, notifications: Sequence[UUID]) -> Mapping[UUID, Waiting]:
        return {}

    async def render(self, asker: Asker, messages: Sequence[str]) -> Mapping[str, Rendered]:
        return {id_: Rendered("equal") for id_ in messages}

    async def trace(self, asker: Asker, causes: Sequence[UUID], subjects: Sequence[str]) -> Trace:
        return Trace()

    async def trace_ids(self, asker: Asker, causes: Sequence[UUID]) -> Mapping[UUID, str]:
        return {}


async def ask(deps: History, dsn: str, attempts: int, count: int) -> dict[str, list[float]]:
    """Return the seconds of each verdict, by kind of question."""
    connection = await asyncpg.connect(dsn, server_settings={"search_path": "history"})
    # A sample takes whole pages: it is the same number of them however few rows there are, so that none comes empty.
    share = 10_000_000 / attempts
    rows = await connection.fetch(
        "select t.recipient, r.subject, t.notification_id, t.address_id from transition t tablesample system ($2)"
        " join request r on r.id = t.request_id order by random() limit $1",
        count,
        min(100.0, 0.05 * share),
    )
    orders = await connection.fetch(
        "select recipient, subject, event_id from decision tablesample system ($2) order by random() limit $1",
        count,
        min(100.0, 0.5 * share),
    )
    await connection.close()
    live = (1, Mode.LIVE)
    questions = {
        "recipient": [Question(*live, recipient=row["recipient"]) for row in rows],
        "recipient and communication": [
            Question(*live, recipient=row["recipient"], communication="price-alarm") for row in rows
        ],
        "message": [Question(*live, message=message_id(row["notification_id"], row["address_id"])) for row in rows],
        "order": [Question(*live, order=row["subject"]) for row in orders],
        "order and recipient": [Question(*live, order=row["subject"], recipient=row["recipient"]) for row in orders],
        "event": [Question(*live, event=row["event_id"]) for row in orders],
        "nobody": [Question(*live, recipient=f"customer:x{n}") for n in range(count)],
    }
    taken: dict[str, list[float]] = {}
    for way, asked in questions.items():
        taken[way] = [await _timed(lambda q=question: why(deps, q)) for question in asked]  # type: ignore[misc]
    return taken


async def _timed(call: Callable[[], Awaitable[Any]]) -> float:
    started = time.perf_counter()
    await call()
    return time.perf_counter() - started


async def write(timeline: PostgresTimeline, postmaster: int, chunks: int) -> float:
    """Return Postgres' CPU-µs per message for chunks of 500 transitions, as delivery sends them."""
    hasher = AddressHasher(bytes(32))
    batches = [_chunk(hasher, chunk) for chunk in range(chunks)]
    await timeline.record_messages([batches[0]])
    before = cpu_seconds(postmaster, children=True)
    for batch in batches[1:]:
        await timeline.record_messages([batch])
    return (cpu_seconds(postmaster, children=True) - before) / ((chunks - 1) * 500) * 1e6


def _chunk(hasher: AddressHasher, chunk: int) -> Envelope:
    cause, now = uuid7(), datetime.now(UTC)
    transitions = tuple(
        Transition(
            notification_id=notification_id(cause, "price-alarm", key),
            address_id=n,
            recipient=key,
            attempt=1,
            was="sending",
            is_="sent",
            reason="none",
            at=now,
            channel="push",
            sender=1,
            locale="de",
            provider_ref=f"0:{uuid4().hex[:16]}%{uuid4().hex[:16]}",
            address_hash=hasher("device", key),
        )
        for n in range(500)
        if (key := f"customer:{chunk * 500 + n}")
    )
    event = MessageRecorded(
        request_id=uuid4(), cause_id=cause, release_id=uuid4(), communication="price-alarm", transitions=transitions
    )
    return Envelope(
        id=uuid7(), type=event.TYPE, source="delivery", time=now, tenant=1, mode=Mode.LIVE, key="k", data=event
    )


def assembled(database: Database) -> History:
    """Build history over the filled database."""
    terms = Terms(database)
    return History(
        timeline=PostgresTimeline(database, terms),
        audit=PostgresAudit(database, terms, PostgresRecords(database, 10.0)),
        delivery=Others(),
        intake=Others(),
        drains=(),
        days=(PostgresDays(database),),
        hasher=AddressHasher(bytes(32)),
        clock=system_clock,
        retention_days=400,
        days_ahead=3,
    )


async def measure(dsn: str, attempts: int, questions: int, postmaster: int) -> dict[str, Any]:
    await migrate(dsn, {name: SERVICES / name / "migrations" for name in ("history", "delivery")})
    database = Database(dsn, "history", server_settings=SERVER_SETTINGS, statement_timeout_seconds=600)
    await database.open()
    deps = assembled(database)
    await PostgresDays(database).keep(datetime.now(UTC) - timedelta(days=DAYS), DAYS + 3, 400)
    connection = await asyncpg.connect(dsn, server_settings={"search_path": "delivery"})
    await connection.execute("select make_partition((now() at time zone 'utc')::date - n) from generate_series(1, 2) n")
    await connection.close()
    started = time.perf_counter()
    messages = await fill(dsn, attempts)
    print(f"filled in {time.perf_counter() - started:.0f} s")
    kept = await sizes(dsn, messages)
    taken = await ask(deps, dsn, attempts, questions)
    written = await write(deps.timeline, postmaster, 200)  # type: ignore[arg-type]
    await database.close()
    return report(attempts, kept, taken, written)


def report(attempts: int, kept: dict[str, float], taken: dict[str, list[float]], written: float) -> dict[str, Any]:
    ways = {way: _percentiles(seconds) for way, seconds in taken.items()}
    for way, figures in ways.items():
        print(f"{way:<28} p50 {figures['p50_ms']:>7.2f} ms   p95 {figures['p95_ms']:>7.2f} ms")
    everything = _percentiles([second for seconds in taken.values() for second in seconds])
    told: dict[str, Any] = {
        "attempts": attempts,
        **everything,
        "goal_ms": GOAL_MS,
        "ways": ways,
        "bytes_per_message": kept,
        "goal_bytes": GOAL_BYTES,
        "record_postgres_us": round(written, 2),
        "reached": everything["p95_ms"] <= GOAL_MS and kept["mixed"] <= GOAL_BYTES,
    }
    weights = ", ".join(f"{name} {figure}" for name, figure in kept.items())
    print(f"bytes per message with its ledger row: {weights}")
    return told


def _percentiles(seconds: Sequence[float]) -> dict[str, float]:
    cuts = statistics.quantiles(seconds, n=100)
    return {"p50_ms": round(cuts[49] * 1000, 2), "p95_ms": round(cuts[94] * 1000, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attempts", type=int, default=10_000_000, help="attempts to fill the history with")
    parser.add_argument("--questions", type=int, default=200, help="questions of each kind")
    options = parser.parse_args()
    if options.attempts < FEWEST or options.questions < 2:
        parser.error(f"It takes {FEWEST:,} attempts and 2 questions to find something to ask of each kind.")
    random.seed(1)
    with fresh_postgres() as fresh:
        figures = asyncio.run(measure(fresh.dsn, options.attempts, options.questions, fresh.server))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
