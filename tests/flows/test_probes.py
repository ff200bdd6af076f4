"""What a process tells an orchestrator: whether it is alive, and whether it is ready."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest
from structlog.testing import capture_logs

from libs import alone
from libs.errors import Unavailable
from libs.messaging.dapr import Sidecar
from libs.service import Runtime
from services.access.app import create_service as access
from tests.waiting import eventually


@pytest.fixture
async def answering(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Any, httpx.AsyncClient]]:
    monkeypatch.setattr("libs.probes._READY_SECONDS", 60.0)  # a slow machine is not away
    service = access(runtime)
    transport = httpx.ASGITransport(alone.create_app(service, api=True))
    async with service.running(), httpx.AsyncClient(transport=transport, base_url="http://alone") as client:
        yield service, client


async def test_without_its_database_it_lives_and_is_not_ready(
    answering: tuple[Any, httpx.AsyncClient], database: str
) -> None:
    service, client = answering
    for path in ("/health/ready", "/health", "/access/health/ready"):
        assert (await client.get(path)).status_code == 200
    async with service.database.acquire() as connection:
        name = await connection.fetchval("select current_database()")
    other = await asyncpg.connect(database.replace(name, "postgres"))
    try:
        await other.execute(f"alter database {name} allow_connections false")
        await other.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", name)
        assert (await client.get("/health/live")).status_code == 200
        away = await client.get("/health/ready")
        assert (away.status_code, away.json()["title"]) == (503, "Not available right now")
    finally:
        await other.execute(f"alter database {name} allow_connections true")
        await other.close()
    assert (await client.get("/health/ready")).status_code == 200


class FakeSidecar:
    """Answers health checks as Dapr does, as scripted."""

    def __init__(self) -> None:
        self.status = 204

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = (await reader.readuntil(b"\r\n\r\n")).split()[1]
        status = self.status if asked == b"/v1.0/healthz/outbound" else 404
        writer.write(f"HTTP/1.1 {status} -\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()


async def test_beside_a_sidecar_it_is_ready_when_that_takes_calls(
    runtime: Runtime, answering: tuple[Any, httpx.AsyncClient]
) -> None:
    _, client = answering
    fake = FakeSidecar()
    server = await asyncio.start_server(fake.answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    object.__setattr__(runtime, "sidecar", Sidecar(f"http://127.0.0.1:{port}", "out", "in"))
    assert (await client.get("/health/ready")).status_code == 200
    fake.status = 500
    assert (await client.get("/health/ready")).json()["detail"] == "The sidecar is not ready: 500"
    server.close()
    await server.wait_closed()
    gone = await client.get("/health/ready")
    assert (gone.status_code, gone.json()["detail"]) == (503, "The sidecar does not answer: ConnectError")
    assert (await client.get("/health/live")).status_code == 200


async def test_it_does_not_live_on_with_a_loop_that_was_cancelled_from_within(
    answering: tuple[Any, httpx.AsyncClient],
) -> None:
    service, client = answering
    stop, cancel = asyncio.Event(), asyncio.Event()

    async def leaking(_: Any, __: asyncio.Event) -> None:
        await cancel.wait()
        raise asyncio.CancelledError  # as a library's scope may leak one

    async def working(_: Any, told: asyncio.Event) -> None:
        await told.wait()

    object.__setattr__(service, "loops", {"leaking": leaking, "working": working})
    running = asyncio.create_task(service.run_loops(stop, (), {"leaking", "working"}.__contains__))
    await asyncio.sleep(0)
    assert (await client.get("/health/live")).status_code == 200
    cancel.set()

    async def dead() -> httpx.Response | None:
        answer = await client.get("/health/live")
        return answer if answer.status_code == 503 else None

    answer = await eventually(dead, 120)
    assert answer.json()["detail"] == "Only a restart brings these loops back: access leaking"
    stop.set()
    await running


async def test_a_loop_that_was_told_to_stop_is_no_reason_for_a_restart(
    answering: tuple[Any, httpx.AsyncClient],
) -> None:
    service, client = answering
    stop, drained = asyncio.Event(), asyncio.Event()
    begun, ended = asyncio.Event(), asyncio.Event()

    async def quick(_: Any, told: asyncio.Event) -> None:
        begun.set()
        await told.wait()
        ended.set()

    async def slow(_: Any, __: asyncio.Event) -> None:
        await drained.wait()

    object.__setattr__(service, "loops", {"quick": quick, "slow": slow})
    running = asyncio.create_task(service.run_loops(stop, (), {"quick", "slow"}.__contains__))
    await begun.wait()
    stop.set()
    await ended.wait()
    await asyncio.sleep(0.05)  # nothing happens
    assert (await client.get("/health/live")).status_code == 200
    drained.set()
    await running


async def test_a_loop_that_an_outage_ends_goes_on_and_is_no_failed_loop(
    answering: tuple[Any, httpx.AsyncClient],
) -> None:
    service, client = answering
    stop = asyncio.Event()
    turns = 0

    async def waiting(_: Any, told: asyncio.Event) -> None:
        nonlocal turns
        turns += 1
        if turns == 1:
            raise Unavailable("Postgres does not answer")
        told.set()

    object.__setattr__(service, "loops", {"waiting": waiting})
    with capture_logs() as errors:  # warnings are not logged in tests
        await service.run_loops(stop, (), {"waiting"}.__contains__)
    assert (turns, errors) == (2, [])
    assert "waiting" not in (await client.get("/health/live")).text
