"""How far behind each outbox is, measured independently of the relay, so that a stuck relay is noticed."""

import asyncio
from dataclasses import dataclass
from typing import Any, Final

import asyncpg
from prometheus_client import Gauge

from libs.clock import pause
from libs.errors import Unavailable
from libs.messaging.outbox import LANES
from libs.storage.database import Database
from libs.telemetry import get_logger

LOOK_SECONDS = 5.0
MOST_COUNTED = 10_000  # beyond this the exact number adds nothing, and counting would be expensive

log = get_logger(__name__)

# Only a live process reports: a gauge that nobody updates any more disappears, and `absent()` alarms.
_MODE: Final = "livemostrecent"
_lag = Gauge(
    "depesche_outbox_lag_seconds", "Age of the oldest event not yet published", ["service"], multiprocess_mode=_MODE
)
_waiting = Gauge(
    "depesche_outbox_waiting", "Events not yet published, counted to 10,000", ["service"], multiprocess_mode=_MODE
)
_owed = Gauge(
    "depesche_outbox_owed", "Deliveries that failed and are being retried", ["service"],
    multiprocess_mode=_MODE,
)  # fmt: skip

_LOOK = """
select (select max(extract(epoch from clock_timestamp() - first.created_at)) from unnest($2::int[]) as l (lane),
        lateral (select created_at from outbox o where published_at is null and o.lane = l.lane
                 order by id limit 1) as first)::float8,
       (select count(*) from (select from outbox where published_at is null limit $1) as first),
       (select count(*) from (select from outbox_delivery limit $1) as first)
"""


@dataclass(frozen=True, slots=True)
class OutboxFigures:
    """The gauges of one service's outbox."""

    service: str
    database: Database

    async def run(self, stop: asyncio.Event) -> None:
        """Measure every few seconds until `stop`."""
        while not stop.is_set():
            try:
                await self.look()
            except (Unavailable, asyncpg.PostgresError) as error:
                log.warning("outbox_not_seen", error=type(error).__name__)
            await pause(stop, LOOK_SECONDS)

    async def look(self) -> None:
        """Measure once; this reads a few index rows."""
        async with self.database.acquire() as connection:
            row: Any = await connection.fetchrow(_LOOK, MOST_COUNTED, LANES)
        _lag.labels(self.service).set(max(0.0, row[0] or 0.0))
        _waiting.labels(self.service).set(row[1])
        _owed.labels(self.service).set(row[2])
