"""The composition root of access."""

import os
from pathlib import Path

from fastapi import FastAPI

from libs import credentials
from libs.service import Runtime, Service
from libs.settings import load
from libs.storage.database import Database
from services.access.adapters.credentials import FolderCredentials
from services.access.adapters.postgres import APP_ID, PostgresStore
from services.access.api import ROUTERS
from services.access.handlers import SUBSCRIPTIONS, Access
from services.access.handlers import ensure_first as make_first
from services.access.settings import AccessSettings

MIGRATIONS = Path(__file__).parent / "migrations"


def create_service(runtime: Runtime, settings: AccessSettings | None = None) -> Service:
    """Build access over the runtime's Postgres."""
    settings = settings or load(AccessSettings, runtime.settings_file)
    database = runtime.database("access", max_size=settings.pool_max_connections)
    return Service(
        name=APP_ID,
        runtime=runtime,
        deps=_access(runtime, database, settings),
        database=database,
        routers=ROUTERS,
        subscriptions=SUBSCRIPTIONS,
        title="Depesche access",
    )


def create_app(runtime: Runtime, settings: AccessSettings | None = None) -> FastAPI:
    """Build the application alone, for a container of its own."""
    return create_service(runtime, settings).app


async def ensure_first(runtime: Runtime, *, url: str | None = None) -> Path:
    """Create tenant 1 and an administrator's keys, and write them to the data folder's credentials file; `up` calls
    this at each start, after the migrations. `url`: the suite's URL for the command line, by default the public
    one. Returns the file's path."""
    database = runtime.database("access", max_size=1)
    await database.open()
    try:
        path = runtime.data_dir / credentials.FILE_NAME
        deps = _access(runtime, database, load(AccessSettings, runtime.settings_file))
        await make_first(deps, FolderCredentials(path, url or runtime.public_url))
    finally:
        await database.close()
    return path


def _access(runtime: Runtime, database: Database, settings: AccessSettings) -> Access:
    return Access(PostgresStore(database), runtime.clock, os.urandom, settings.rotation_grace_hours)
