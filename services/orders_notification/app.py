"""The composition root of orders-notification."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from fastapi import FastAPI
from prometheus_client import Gauge

from libs.group_commit import GroupCommitter
from libs.service import Runtime, Service
from libs.settings import load
from libs.storage.database import Database
from services.orders_notification.adapters.catalogues import CachedCatalogues
from services.orders_notification.adapters.neighbours import HttpNeighbours
from services.orders_notification.adapters.postgres.catalogue import PostgresCatalogueVersions
from services.orders_notification.adapters.postgres.communications import PostgresCommunicationStore
from services.orders_notification.adapters.postgres.event_types import PostgresEventTypes
from services.orders_notification.adapters.postgres.events import PostgresEvents
from services.orders_notification.adapters.postgres.listening import PostgresListening
from services.orders_notification.adapters.postgres.reader import PostgresEventReader
from services.orders_notification.adapters.postgres.rejections import PostgresRejections
from services.orders_notification.adapters.postgres.retention import PostgresRetention
from services.orders_notification.adapters.postgres.sources import PostgresSources
from services.orders_notification.adapters.shipped import shipped_sources
from services.orders_notification.adapters.sidecar import HttpSidecar
from services.orders_notification.api import ROUTERS
from services.orders_notification.domain.intake import Submission, Verdict
from services.orders_notification.domain.topics import Grants
from services.orders_notification.handlers import SUBSCRIPTIONS
from services.orders_notification.handlers.intake import accept
from services.orders_notification.handlers.topics import SourceTopics
from services.orders_notification.loops import LOOPS
from services.orders_notification.ports.deps import Limits, OrdersNotification
from services.orders_notification.ports.releases import ActiveReleases
from services.orders_notification.ports.retention import Retention
from services.orders_notification.settings import OrdersNotificationSettings

APP_ID = "orders-notification"
MIGRATIONS = Path(__file__).parent / "migrations"

_waiting = Gauge("depesche_intake_waiting", "Single events that wait for their commit", multiprocess_mode="livesum")


def create_service(
    runtime: Runtime,
    settings: OrdersNotificationSettings | None = None,
    releases: ActiveReleases | None = None,
) -> Service:
    """Build orders-notification over the runtime's Postgres. `releases`: other than those published here."""
    settings = settings or load(OrdersNotificationSettings, runtime.settings_file)
    database = runtime.database("orders_notification", max_size=settings.pool_max_connections)
    deps = _deps(runtime, database, settings, releases)
    return Service(
        name=APP_ID,
        runtime=runtime,
        deps=deps,
        database=database,
        routers=ROUTERS,
        subscriptions=SUBSCRIPTIONS,
        topics=SourceTopics(deps),
        loops=LOOPS,
        resources=(_days_ready(deps.retention),),
        body_limits={
            "/v1/events:": 1 << 20,
            "/v1/events": settings.stream_max_bytes,
            "/v1/sources": settings.batch_max_bytes,
        },
        title="Depesche orders-notification",
    )


def create_app(runtime: Runtime, settings: OrdersNotificationSettings | None = None) -> FastAPI:
    """Build the standalone application, for a container of its own."""
    return create_service(runtime, settings).app


def _deps(
    runtime: Runtime, database: Database, settings: OrdersNotificationSettings, releases: ActiveReleases | None
) -> OrdersNotification:
    event_types = PostgresEventTypes(database)
    communications = PostgresCommunicationStore(database)
    committer: GroupCommitter[Submission, Verdict] = GroupCommitter(
        window_seconds=settings.commit_window_milliseconds / 1000,
        most=settings.commit_most_events,
        room=settings.commit_room_events,
        waiting=_waiting,
    )
    deps = OrdersNotification(
        clock=runtime.clock,
        limits=_limits(settings),
        catalogues=CachedCatalogues(PostgresCatalogueVersions(database), releases or communications, event_types),
        committer=committer,
        events=PostgresEvents(database, runtime.keyring),
        reader=PostgresEventReader(database),
        rejections=PostgresRejections(database, runtime.keyring),
        sources=PostgresSources(database, runtime.keyring),
        event_types=event_types,
        retention=PostgresRetention(database, settings.event_keep_days, settings.event_key_keep_days),
        shipped=shipped_sources(),
        communications=communications,
        neighbours=HttpNeighbours(*(runtime.client(APP_ID, name) for name in ("templates", "access", "delivery"))),
        grants=Grants(settings.topic_grants),
        listening=PostgresListening(database),
        sidecar=HttpSidecar(runtime.sidecar) if runtime.sidecar else None,
        restart_sidecar=settings.topic_restart_sidecar,
    )
    committer.write = partial(accept, deps)
    return deps


def _limits(settings: OrdersNotificationSettings) -> Limits:
    return Limits(
        event_bytes=settings.event_max_bytes,
        batch_bytes=settings.batch_max_bytes,
        batch_events=settings.batch_max_events,
        stream_lines=settings.stream_max_lines,
        stream_chunk=settings.stream_commit_lines,
    )


@asynccontextmanager
async def _days_ready(retention: Retention) -> AsyncIterator[None]:
    """Create today's partition before the first event."""
    await retention.ensure_days()
    yield
