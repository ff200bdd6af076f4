"""The composition root of tokens."""

from pathlib import Path

from fastapi import FastAPI

from libs.keyring import Keyring
from libs.links import LINKS
from libs.service import Runtime, Service
from libs.settings import load
from services.tokens.adapters.postgres import SERVER_SETTINGS, PostgresImports, PostgresReader, PostgresStore
from services.tokens.adapters.topics import AccessTopics
from services.tokens.api import ROUTERS
from services.tokens.handlers import SUBSCRIPTIONS
from services.tokens.ports import Tokens
from services.tokens.settings import TokensSettings

MIGRATIONS = Path(__file__).parent / "migrations"


def create_service(runtime: Runtime, settings: TokensSettings | None = None) -> Service:
    """Build tokens over the runtime's Postgres."""
    settings = settings or load(TokensSettings, runtime.settings_file)
    database = runtime.database("tokens", max_size=settings.pool_max_connections, server_settings=SERVER_SETTINGS)
    return Service(
        name="tokens",
        runtime=runtime,
        deps=Tokens(
            store=PostgresStore(database),
            reader=PostgresReader(database),
            imports=PostgresImports(database),
            topics=AccessTopics(runtime.client("tokens", "access")),
            clock=runtime.clock,
            settings=settings,
            hasher=runtime.hasher,
            link_key=_link_key(runtime.keyring),
        ),
        database=database,
        routers=ROUTERS,
        subscriptions=SUBSCRIPTIONS,
        body_limits={"/v1/imports": settings.import_max_bytes},
        title="Depesche tokens",
    )


def create_app(runtime: Runtime, settings: TokensSettings | None = None) -> FastAPI:
    """Build the application alone, for a container of its own."""
    return create_service(runtime, settings).app


def _link_key(keyring: Keyring) -> bytes:
    return keyring.key(LINKS)
