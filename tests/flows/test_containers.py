"""What a program in a container needs and `depesche up` does by itself: migrations, first keys, the simulator."""

import asyncio
import os
import ssl
import tomllib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import httpx
import pytest

from cli.exits import Exit
from libs.errors import Unavailable
from libs.keyring import keyring_of
from libs.service import Runtime
from libs.service_client import AsgiTransport, Transport
from libs.storage.embedded import EmbeddedServer
from libs.suite import SuiteSettings, find_simulator
from services.access.app import create_service as access
from services.simulator.app import Simulator, running
from tests.flows.simulated import settings
from tests.shell import Shell


@pytest.fixture
def empty(postgres: EmbeddedServer) -> Iterator[str]:
    """Yield a database without migrations."""

    async def ran(statement: str) -> None:
        connection = await asyncpg.connect(postgres.dsn)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(ran("create database unmigrated"))
    yield postgres.dsn_of("unmigrated")
    asyncio.run(ran("drop database unmigrated with (force)"))


def test_a_program_waits_for_the_migrations_of_its_version_and_runs_none(empty: str) -> None:
    shell = Shell({"DEPESCHE_DSN": empty})
    late = shell.run("migrate", "--wait-seconds", "0", exit_code=Exit.UNREACHABLE)
    assert "delivery/0001_ledger" in late.stderr
    assert len(shell.json("migrate", "--dry-run")["migrations"]) > 10
    shell.run("migrate")
    shell.run("migrate", "--wait-seconds", "0")


def test_it_waits_for_postgres_too() -> None:
    shell = Shell({"DEPESCHE_DSN": "postgresql://nobody@127.0.0.1:9/none"})
    away = shell.run("migrate", "--wait-seconds", "0", exit_code=Exit.UNREACHABLE)
    assert "Postgres does not answer" in away.stderr


async def test_the_first_keys_are_printed_and_open_everything(
    runtime: Runtime, database: str, tmp_path: Path, transports: dict[str, Transport]
) -> None:
    keyring_of(tmp_path)
    given = {
        "DEPESCHE_DSN": database,
        "DEPESCHE_DATA_DIR": str(tmp_path),
        "DEPESCHE_PUBLIC_URL": "https://shop.example",
    }
    printed = tomllib.loads((await asyncio.to_thread(Shell(given).run, "first-keys")).stdout)
    assert os.listdir(tmp_path) == ["secret"]  # the folder may be read-only
    assert printed["url"] == "https://shop.example"
    service = access(runtime)
    transports["access"] = AsgiTransport(lambda: service.app)
    async with (
        service.running(),
        httpx.AsyncClient(transport=httpx.ASGITransport(service.app), base_url="http://access") as client,
    ):
        for mode in ("live", "test"):
            bearer = {"authorization": f"Bearer {printed[mode]}"}
            assert (await client.get("/v1/keys", headers=bearer)).status_code == 200


@pytest.fixture
async def elsewhere(tmp_path: Path) -> AsyncIterator[Simulator]:
    """A simulator that others reach by its container's name."""
    async with running(tmp_path / "simulator", settings(host="127.0.0.1", public_host="localhost")) as started:
        yield started


async def test_a_simulator_in_another_container_says_where_it_listens_and_who_signs_for_it(
    elsewhere: Simulator, tmp_path: Path
) -> None:
    named = SuiteSettings(data_dir=tmp_path, simulator_url=f"{elsewhere.endpoints.control_url}/")
    found = await asyncio.to_thread(find_simulator, named)
    assert found is not None
    assert (found.smtp_host, found.smtp_port) == ("localhost", elsewhere.endpoints.smtp_port)
    assert found.fcm_url.startswith("https://localhost:")
    context = ssl.create_default_context(cafile=found.fcm_ca)
    async with httpx.AsyncClient(http2=True, verify=context, timeout=60, trust_env=False) as client:
        assert (await client.get(found.fcm_url)).status_code == 404
    os.unlink(found.fcm_ca)


async def test_a_simulator_that_is_not_there_is_said_and_not_left_out(tmp_path: Path) -> None:
    away = SuiteSettings(data_dir=tmp_path, simulator_url="http://127.0.0.1:9/control")
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9"):
        await asyncio.to_thread(find_simulator, away)
    assert find_simulator(away.model_copy(update={"simulator": False})) is None
