"""The real engines, each started once for all its tests.

The tests of an engine that is not built are skipped with the reason; under DEPESCHE_ENGINES_REQUIRED=1 they fail.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import asyncpg
import pytest

from cli.engines.cache import NotBuilt
from cli.engines.engine import Engine
from cli.engines.ferretdb import FerretDB
from cli.engines.jaeger import Jaeger
from cli.engines.kafka import Kafka
from cli.engines.needs import ToolMissing
from cli.engines.opensearch import OpenSearch
from cli.engines.redis import Redis
from libs.storage import embedded
from tests.engines.topology_hour import PATIENCE, Hour, open_town
from tests.engines.topology_world import Town, town_of

E = TypeVar("E", bound=Engine)


@contextmanager
def running(engine: E) -> Iterator[E]:
    """Start the engine and stop it at the end; skip the test if it is unavailable."""
    engine.start_seconds = 200.0  # type: ignore[misc]
    try:
        engine.start()
    except (NotBuilt, ToolMissing) as missing:
        if os.environ.get("DEPESCHE_ENGINES_REQUIRED") == "1":
            pytest.fail(missing.detail)
        pytest.skip(missing.detail)
    try:
        yield engine
    finally:
        engine.stop()


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The engines' data and logs."""
    return tmp_path_factory.mktemp("engines")


@pytest.fixture(scope="session")
def redis(run_folder: Path) -> Iterator[Redis]:
    with running(Redis(run_folder)) as engine:
        yield engine


@pytest.fixture(scope="session")
def kafka(run_folder: Path) -> Iterator[Kafka]:
    with running(Kafka(run_folder)) as engine:
        yield engine


@pytest.fixture(scope="session")
def opensearch(run_folder: Path) -> Iterator[OpenSearch]:
    with running(OpenSearch(run_folder)) as engine:
        yield engine


@pytest.fixture(scope="session")
def jaeger(run_folder: Path) -> Iterator[Jaeger]:
    with running(Jaeger(run_folder)) as engine:
        yield engine


@pytest.fixture(scope="session")
def kafka_town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """Production's topology over Kafka with the example shop, shared by all tests of faults."""
    with town_of(tmp_path_factory.mktemp("faults"), "kafka") as town:
        asyncio.run(open_town(town))
        yield town


@pytest.fixture
async def hour(kafka_town: Town) -> AsyncIterator[Hour]:
    """A new hour, once every program has recovered from the previous test."""
    async with kafka_town.suite() as suite:
        new = Hour(kafka_town, suite, datetime.now(UTC), {})
        new.before = await suite.eventually(new.messages, PATIENCE)
        yield new


@pytest.fixture(scope="session")
def documents_dsn(postgres: embedded.EmbeddedServer) -> str:
    """A database of its own for FerretDB."""

    async def create() -> None:
        connection = await asyncpg.connect(postgres.dsn)
        await connection.execute("create database documents")
        await connection.close()

    asyncio.run(create())
    return postgres.dsn_of("documents")


@pytest.fixture(scope="session")
def ferretdb(run_folder: Path, documents_dsn: str) -> Iterator[FerretDB]:
    with running(FerretDB(run_folder, postgres=documents_dsn)) as engine:
        yield engine
