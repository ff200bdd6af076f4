"""The bus over real sidecars, on Redis and on Kafka, keeps the bus's promises; two services' processes communicate."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import pytest
import uvicorn
from fastapi import FastAPI

from cli.engines.daprd import Daprd
from cli.engines.daprd import Sidecar as Beside
from cli.engines.engine import free_port
from cli.engines.kafka import Kafka
from cli.engines.redis import Redis
from libs.contracts.bounce import SuppressionChanged
from libs.keyring import keyring_of
from libs.messaging.dapr import DaprRelay, Sidecar
from libs.messaging.outbox import Outgoing, append
from libs.messaging.routes import Intake, router_of
from tests.conformance.bus_promises import BusPromises, Line, Listener, opened
from tests.conftest import ROOT
from tests.engines.conftest import running
from tests.engines.producers import produce
from tests.engines.test_daprd_round_trip import API_TOKEN, APP_TOKEN, write_component
from tests.waiting import eventually

TOPIC = "tenant.changed.v1"


@pytest.fixture(params=["redis", "kafka"])
def broker(request: pytest.FixtureRequest) -> Redis | Kafka:
    return request.getfixturevalue(request.param)


@asynccontextmanager
async def answering(application: FastAPI) -> AsyncIterator[int]:
    """The application on a free port, in this event loop."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(application, host="127.0.0.1", port=port, log_config=None, ws="none"))
    serving = asyncio.create_task(server.serve())
    await eventually(lambda: server.started)
    yield port
    server.should_exit = True
    await serving


@asynccontextmanager
async def sidecar(folder: Path, port: int, broker: Redis | Kafka) -> AsyncIterator[Sidecar]:
    """Start the sidecar in a thread: it queries the application for its subscriptions before it is healthy."""
    beside = Beside(
        app_id=f"delivery-{uuid4().hex[:8]}",
        app_port=port,
        resources=[write_component(folder, broker)],
        api_token=API_TOKEN,
        app_token=APP_TOKEN,
    )
    context = running(Daprd(folder, beside))
    daprd = await asyncio.to_thread(context.__enter__)
    try:
        yield Sidecar(daprd.url, API_TOKEN, APP_TOKEN)
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)


class TestDaprBus(BusPromises):
    @pytest.fixture
    async def line(self, database: str, broker: Redis | Kafka, tmp_path: Path) -> AsyncIterator[Line]:
        async with opened(database, "access") as access, opened(database, "delivery") as delivery:
            listener, stop, app = Listener(), asyncio.Event(), FastAPI()
            subscribers = [listener.subscriber()]
            given = Sidecar("", API_TOKEN, APP_TOKEN)
            app.include_router(router_of(Intake("delivery", delivery, subscribers), given))
            async with answering(app) as port, sidecar(tmp_path, port, broker) as found:
                self.url = found.url
                relays = [DaprRelay(access, (), sidecar=found), DaprRelay(delivery, subscribers, sidecar=found)]
                running_ = [asyncio.create_task(relay.run(stop)) for relay in relays]
                yield Line(access, delivery, listener)
                stop.set()
                await asyncio.gather(*running_)

    async def test_an_event_that_is_not_json_becomes_a_dead_letter(self, line: Line, broker: Redis | Kafka) -> None:
        foreign = uuid4().hex
        await produce(broker, TOPIC, [foreign.encode()], {})
        told = msgspec.json.encode(foreign)
        await eventually(lambda: line.ask(f"select from dead_letter where payload = '\\x{told.hex()}'"))
        await line.publish(1)
        await eventually(lambda: 1 in line.listener.numbers)
        assert len(await line.ask(f"select from dead_letter where payload = '\\x{told.hex()}'")) == 1

    async def test_a_foreign_message_becomes_a_dead_letter(self, line: Line) -> None:
        marker = f"foreign-{uuid4().hex}"
        async with httpx.AsyncClient(headers={"dapr-api-token": API_TOKEN}, trust_env=False) as client:
            for words in ({"metadata.cloudevent.source": marker},):
                answer = await client.post(
                    f"{self.url}/v1.0/publish/bus/{TOPIC}", params=words, json={"no": "contract"}
                )
                assert answer.status_code == 204
        look = f"select reason, tenant from dead_letter where source = '{marker}'"
        (letter,) = await eventually(lambda: line.ask(look))
        assert letter["reason"].startswith("unreadable")
        await line.publish(1)
        await eventually(lambda: 1 in line.listener.numbers)
        assert len(await line.ask(look)) == 1

    async def test_a_message_that_is_no_event_becomes_a_dead_letter(self, line: Line) -> None:
        """The sidecar cannot read it, gives up, and delivers it through the dead-letter topic."""
        marker = f"no JSON {uuid4().hex}"
        async with httpx.AsyncClient(headers={"dapr-api-token": API_TOKEN}, trust_env=False) as client:
            raw = {"metadata.rawPayload": "true"}
            answer = await client.post(
                f"{self.url}/v1.0/publish/bus/{TOPIC}", params=raw, content=marker,
                headers={"content-type": "application/octet-stream"},
            )  # fmt: skip
            assert answer.status_code == 204
        look = f"select reason from dead_letter where convert_from(payload, 'utf8') like '%{marker}%'"
        (letter,) = await eventually(lambda: line.ask(look))
        assert letter["reason"].startswith("unreadable")
        await line.publish(1)
        await eventually(lambda: 1 in line.listener.numbers)
        assert len(await line.ask(look)) == 1


@contextmanager
def process(service: str, port: int, given: dict[str, str]) -> Iterator[None]:
    words = [sys.executable, "-m", "services", "run", service, "--role", "worker", "--port", str(port)]
    started = subprocess.Popen(words, cwd=ROOT, env=os.environ | given)
    try:
        yield
    finally:
        started.terminate()
        assert started.wait(120) == 0


def suppression() -> Outgoing:
    event = SuppressionChanged(
        suppression_id=uuid4(),
        address_hash=uuid4().bytes * 2,
        scope="all",
        reason="suppressed_bounce",
        active=True,
        version=1,
        at=datetime.now(UTC),
    )
    return Outgoing(event, key=event.address_hash.hex(), tenant=1, mode=1)


async def test_two_services_communicate_through_their_sidecars(database: str, redis: Redis, tmp_path: Path) -> None:
    """An address that bounce suppresses is suppressed in delivery, each service in its own process beside its
    sidecar."""
    keyring_of(tmp_path)
    with ExitStack() as stack:
        for name in ("delivery", "bounce"):
            port, daprd_port = free_port(), free_port()
            resources = tmp_path / name
            resources.mkdir()
            given = {
                "DEPESCHE_DSN": database,
                "DEPESCHE_DATA_DIR": str(tmp_path),
                "DEPESCHE_BUS": "dapr",
                "DAPR_HTTP_PORT": str(daprd_port),
                "DAPR_API_TOKEN": API_TOKEN,
                "APP_API_TOKEN": APP_TOKEN,
            }
            stack.enter_context(process(name, port, given))
            beside = Beside(app_id=f"{name}-{uuid4().hex[:8]}", app_port=port,
                            resources=[write_component(resources, redis)], api_token=API_TOKEN,
                            app_token=APP_TOKEN)  # fmt: skip
            stack.enter_context(running(Daprd(resources, beside, port=daprd_port)))
        async with opened(database, "bounce") as bounce, opened(database, "delivery") as delivery:
            async with bounce.transaction() as connection:
                await append(connection, [suppression()])

            async def barred() -> list[Any]:
                async with delivery.acquire() as connection:
                    return list(await connection.fetch("select * from suppression"))

            assert len(await eventually(barred)) == 1
            async with bounce.acquire() as connection:
                assert await connection.fetchval("select count(*) from outbox") == 0
