"""Fixtures that every test may use: one real PostgreSQL per test process, a fresh database per test.

`runtime` is what a composition root is given; other services are reached through `transports`, which tests
fill with real applications or fakes of the network.
"""

import asyncio
import functools
import gc
import itertools
import os
import resource
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import asyncpg
import hypothesis
import pytest
import uvloop
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from libs.keyring import Keyring
from libs.service import Runtime
from libs.service_client import ServiceClient, Transport
from libs.storage import embedded
from libs.storage.migrations import migrate
from libs.storage.roles import make_roles
from libs.telemetry import configure_logs
from libs.telemetry.tracing import record_with
from services.__main__ import migration_folders, service_roles
from services.simulator.adapters import certificates

ROOT = Path(__file__).parent.parent
_numbers = itertools.count()
_left: list[str] = []  # databases of tests that have ended

# no time limits in tests: a busy machine is not a bug, and speed is measured in bench/; the same examples in every run,
# so that a change is not refused for what it has not touched
hypothesis.settings.register_profile(
    "depesche", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("depesche")

# as many descriptors as a plain shell gives: a leak is found here, and not only where there are few
_most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, _most[0]), _most[1]))

# a key of 2,048 bits takes a quarter of a second, and many simulators start here
certificates.new_key = functools.cache(certificates.new_key)

# a busy machine is not an outage: services that call one another without a time of their own have a minute, not 5 s
SHIPPED_CALL_SECONDS, ServiceClient.default_seconds = ServiceClient.default_seconds, 60.0

# plain lines: structlog's own default renders each traceback with all its locals, which takes seconds
configure_logs(service="tests", level="error")


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The event loop that every program runs on."""
    return {"uvloop": uvloop.new_event_loop}


def pytest_collection_finish() -> None:
    """What was imported and collected lives to the end: garbage collections need not visit it again. With the usual
    threshold of 700 objects they take an eighth of the CPU."""
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


def by_role(dsn: str, schema: str = "{schema}") -> str:
    """The test server's DSN with a service's own role, so that what it does in a test is what the role may do."""
    return dsn.replace("//postgres:", f"//depesche_{schema}:", 1)


@pytest.fixture(scope="session")
def postgres() -> Iterator[embedded.EmbeddedServer]:
    """A real server of this test process, with a migrated template database."""
    folder = Path(tempfile.mkdtemp(prefix="depesche-test-", dir=_in_memory()))
    folder.chmod(0o755)  # as root the server runs as another user, who must be able to enter
    server = embedded.start(folder)

    async def prepare() -> None:
        connection = await asyncpg.connect(server.dsn)
        await connection.execute("create database migrated")
        for setting in ("synchronous_commit", "fsync", "full_page_writes", "autovacuum"):
            await connection.execute(f"alter system set {setting} = off")  # tests measure promises, not disks
        await connection.execute("select pg_reload_conf()")
        await migrate(server.dsn_of("migrated"), migration_folders())
        await make_roles(
            server.dsn_of("migrated"), service_roles(), dict.fromkeys(migration_folders(), "as every service")
        )
        await _let_the_system_copy(connection)
        await connection.close()

    asyncio.run(prepare())
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


def _in_memory() -> Path | None:
    """Where a thousand databases are copied in less than half the time, if there is room; None: where files go."""
    shared = Path("/dev/shm")
    return shared if shared.is_dir() and shutil.disk_usage(shared).free > 4 << 30 else None


async def _let_the_system_copy(connection: asyncpg.Connection) -> None:
    """Copy a database's nine hundred files inside the kernel, in half the time, where it can do so."""
    try:
        await connection.execute("set file_copy_method = clone")
        await connection.execute("create database cloned template migrated strategy file_copy")
        await connection.execute("drop database cloned")
        await connection.execute("alter system set file_copy_method = clone")
        await connection.execute("select pg_reload_conf()")
    except asyncpg.PostgresError:
        return  # an older server, or a file system that cannot


@pytest.fixture
async def database(postgres: embedded.EmbeddedServer) -> AsyncIterator[str]:
    """DSN of a fresh database with every service's schema."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    connection = await asyncpg.connect(postgres.dsn)
    try:
        # not at once: a drop waits a tenth of a second for whoever is just leaving
        while _left:
            await connection.execute(f"drop database {_left.pop()} with (force)")
        await connection.execute(f"create database {name} template migrated strategy file_copy")
        yield postgres.dsn_of(name)
        _left.append(name)
    finally:
        await connection.close()


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """What an exporter would be given."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    record_with(provider.get_tracer("test"))
    yield exporter
    record_with(None)


@pytest.fixture
def transports() -> dict[str, Transport]:
    """Other services by app id; a test puts in what its story needs."""
    return {}


@pytest.fixture
def make_runtime(tmp_path: Path, transports: dict[str, Transport]) -> Callable[[str], Runtime]:
    """Runtimes over a DSN, for tests that need several."""

    def make(dsn: str) -> Runtime:
        return Runtime(
            dsn=by_role(dsn),
            keyring=Keyring(b"a root secret for tests, 32 bytes and more"),
            transports=lambda name: transports[name],
            data_dir=tmp_path,
        )

    return make


@pytest.fixture
def runtime(database: str, make_runtime: Callable[[str], Runtime]) -> Runtime:
    """A runtime over a fresh database."""
    return make_runtime(database)
