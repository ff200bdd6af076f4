"""The composition root of templates."""

from pathlib import Path

from fastapi import FastAPI

from libs.service import Runtime, Service
from libs.settings import load
from services.templates.adapters.postgres import APP_ID, PostgresStore
from services.templates.api import ROUTERS
from services.templates.handlers import SUBSCRIPTIONS, Templates
from services.templates.settings import TemplatesSettings

MIGRATIONS = Path(__file__).parent / "migrations"


def create_service(runtime: Runtime, settings: TemplatesSettings | None = None) -> Service:
    """Build templates over the runtime's Postgres."""
    settings = settings or load(TemplatesSettings, runtime.settings_file)
    database = runtime.database("templates", max_size=settings.pool_max_connections)
    return Service(
        name=APP_ID,
        runtime=runtime,
        deps=Templates(PostgresStore(database), runtime.clock),
        database=database,
        routers=ROUTERS,
        subscriptions=SUBSCRIPTIONS,
        body_limits={"/v1/templates": settings.body_max_bytes},
        title="Depesche templates",
    )


def create_app(runtime: Runtime, settings: TemplatesSettings | None = None) -> FastAPI:
    """Build the standalone application, for a container of its own."""
    return create_service(runtime, settings).app
