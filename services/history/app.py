"""The composition root of history."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import FastAPI

from libs.service import Check, Runtime, Service
from libs.settings import load
from libs.storage.database import Database
from services.history.adapters.postgres import (
    SERVER_SETTINGS,
    PostgresAudit,
    PostgresDays,
    PostgresRecords,
    PostgresSpill,
    PostgresTimeline,
    Terms,
)
from services.history.adapters.services import DeliveryOverHttp, IntakeOverHttp
from services.history.api import audit, router
from services.history.handlers import SUBSCRIPTIONS
from services.history.loops import LOOPS, keep_days
from services.history.ports import History
from services.history.settings import HistorySettings

if TYPE_CHECKING:
    from services.history.adapters.mongo import MongoTimeline
    from services.history.adapters.opensearch import OpenSearchAudit

MIGRATIONS = Path(__file__).parent / "migrations"


def create_service(runtime: Runtime, settings: HistorySettings | None = None) -> Service:
    """Build history over the runtime's Postgres, which holds both stores unless settings name MongoDB or OpenSearch."""
    settings = settings or load(HistorySettings, runtime.settings_file)
    database = runtime.database("history", max_size=settings.pool_max_connections, server_settings=SERVER_SETTINGS)
    terms = Terms(database)
    rows = PostgresTimeline(database, terms)
    mongo, opensearch = _mongo(settings), _opensearch(settings, database)
    deps = History(
        timeline=mongo or rows,
        audit=opensearch
        or PostgresAudit(
            database, terms, PostgresRecords(database, settings.search_seconds), messages=rows if mongo else None
        ),
        delivery=DeliveryOverHttp(runtime.client("history", "delivery"), settings.ask_seconds),
        intake=IntakeOverHttp(runtime.client("history", "orders-notification"), settings.ask_seconds),
        days=(PostgresDays(database), *([opensearch] if opensearch else ())),
        drains=(opensearch,) if opensearch else (),
        hasher=runtime.hasher,
        clock=runtime.clock,
        retention_days=settings.retention_days,
        days_ahead=settings.days_ahead,
        trace_url=runtime.trace_url,
    )
    return Service(
        name="history",
        runtime=runtime,
        deps=deps,
        database=database,
        routers=(router, audit.router),
        subscriptions=SUBSCRIPTIONS,
        loops=LOOPS,
        checks={name: store.check for name, store in (("mongodb", mongo), ("opensearch", opensearch)) if store},
        resources=(_days_ready(deps), *(aclosing(store) for store in (mongo, opensearch) if store)),
        title="Depesche history",
    )


@asynccontextmanager
async def checks_of(settings: HistorySettings) -> AsyncIterator[dict[str, Check]]:
    """Check that each store besides Postgres that settings name is available and set up as required."""
    stores = {"mongodb": _mongo(settings), "opensearch": _opensearch(settings, None)}
    named = {name: store for name, store in stores.items() if store}
    try:
        yield {name: store.check for name, store in named.items()}
    finally:
        for store in named.values():
            await store.aclose()


def _mongo(settings: HistorySettings) -> "MongoTimeline | None":
    url = settings.mongo_url.get_secret_value()
    if not url:
        return None
    # imported only where used: the two clients cost most of a second of every process's start
    from services.history.adapters.mongo import MongoTimeline

    return MongoTimeline(url, retention_days=settings.retention_days, timeout_seconds=settings.mongo_timeout_seconds)


def _opensearch(settings: HistorySettings, database: Database | None) -> "OpenSearchAudit | None":
    url = settings.opensearch_url.get_secret_value()
    if not url:
        return None
    from opensearchpy import AsyncOpenSearch

    from services.history.adapters.opensearch import OpenSearchAudit

    client = AsyncOpenSearch([url], timeout=settings.opensearch_timeout_seconds, max_retries=0)
    spill = PostgresSpill(database, settings.opensearch_spill_mib << 20) if database else None
    return OpenSearchAudit(
        client, prefix=settings.opensearch_prefix, search_seconds=settings.search_seconds, spill=spill
    )


def create_app(runtime: Runtime, settings: HistorySettings | None = None) -> FastAPI:
    """Build the standalone application, for a container of its own."""
    return create_service(runtime, settings).app


@asynccontextmanager
async def _days_ready(deps: History) -> AsyncIterator[None]:
    """Create the coming partitions before the first event: attaching one during a write makes the write fail."""
    await keep_days(deps)
    yield
