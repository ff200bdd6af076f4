"""An application that is gone, or cannot store anything, for longer than all retries loses nothing.

With production's own resiliency; on Kafka the sidecar probes it as in production, and nothing circulates:
docs/adr/0122.
"""

import asyncio
import base64
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import uvicorn
from fastapi import FastAPI, Request, Response

from cli.engines.daprd import Daprd, Sidecar
from cli.engines.engine import free_port
from cli.engines.kafka import Kafka
from cli.engines.redis import Redis
from tests.conftest import ROOT
from tests.engines.conftest import running
from tests.engines.producers import messages_on
from tests.engines.subscriber import PUBSUB
from tests.engines.test_daprd_round_trip import API_TOKEN, APP_TOKEN, publish, write_component
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(400)

COUNT = 300
# all retries end after 12 s where nobody listens; these outages are three times as long
AWAY_SECONDS = 36.0


@dataclass
class Application:
    """Subscribes as our services do: bytes, in bulk, with a dead-letter topic that it also consumes."""

    name: str
    port: int
    can_keep: bool = True
    taken: set[int] = field(default_factory=set)
    asked_to_take: int = 0

    @property
    def topic(self) -> str:
        return f"{self.name}.events"

    @property
    def dead(self) -> str:
        return f"{self.name}.dead"

    def application(self) -> FastAPI:
        app = FastAPI()
        app.get("/dapr/subscribe")(self._subscriptions)
        app.get("/health/ready")(self._ready)
        app.post("/take")(self._take)
        return app

    async def _subscriptions(self) -> list[dict[str, Any]]:
        bulk = {"enabled": True, "maxMessagesCount": 100, "maxAwaitDurationMs": 20}
        common = {"pubsubname": PUBSUB, "routes": {"default": "/take"}, "bulkSubscribe": bulk}
        common |= {"metadata": {"rawPayload": "true"}, "deadLetterTopic": self.dead}
        return [common | {"topic": topic} for topic in (self.topic, self.dead)]

    async def _ready(self) -> Response:
        return Response(status_code=200 if self.can_keep else 503)

    async def _take(self, request: Request) -> Response:
        found = (await request.json())["entries"]
        self.asked_to_take += 1
        if self.can_keep:
            self.taken |= {json.loads(base64.b64decode(entry["event"]))["data"]["number"] for entry in found}
        answer = "SUCCESS" if self.can_keep else "RETRY"
        statuses = [{"entryId": entry["entryId"], "status": answer} for entry in found]
        return Response(json.dumps({"statuses": statuses}), media_type="application/json")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        config = uvicorn.Config(self.application(), host="127.0.0.1", port=self.port, log_config=None, ws="none")
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        await eventually(lambda: server.started)
        yield
        server.should_exit = True
        await serving


@dataclass
class World:
    broker: Redis | Kafka
    application: Application
    publishing: Daprd

    @property
    def asks(self) -> bool:
        """Whether the application's sidecar probes it for readiness to take events: not on Redis."""
        return isinstance(self.broker, Kafka)


@pytest.fixture(params=["redis", "kafka"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    broker: Redis | Kafka = request.getfixturevalue(request.param)
    application = Application(f"app-{uuid4().hex[:8]}", free_port())
    write_component(tmp_path, broker, processing="15s")
    shutil.copy(ROOT / "dapr" / "resiliency.yaml", tmp_path)
    async with AsyncExitStack() as stack:
        async with application.running():
            sidecars = []
            for port in (application.port, None):
                beside = Sidecar(
                    app_id=f"{application.name}-{port or 'publisher'}", app_port=port,
                    asked=port is not None and isinstance(broker, Kafka),
                    resources=[tmp_path], api_token=API_TOKEN, app_token=APP_TOKEN,
                )  # fmt: skip
                sidecars.append(await asyncio.to_thread(stack.enter_context, running(Daprd(tmp_path, beside))))
            assert await publish(sidecars[1], application.topic, 100) == 204
            await eventually(lambda: len(application.taken) == 100)
        application.taken.clear()
        yield World(broker, application, sidecars[1])


async def test_a_subscriber_gone_longer_than_all_retries_gets_everything_on_return(world: World) -> None:
    application = world.application  # it has just gone, and its sidecar has not noticed yet
    assert await publish(world.publishing, application.topic, COUNT // 2) == 204
    await asyncio.sleep(AWAY_SECONDS)
    assert await publish(world.publishing, application.topic, COUNT) == 204
    circled = await messages_on(world.broker, application.dead)
    async with application.running():
        await eventually(lambda: application.taken == set(range(COUNT)))
    assert circled == 0 or not world.asks


async def test_a_subscriber_without_storage_gets_everything_after_the_outage(world: World) -> None:
    """Its Postgres is down: it fails its health probe, and answers RETRY to events that arrive all the same."""
    application = world.application
    application.can_keep = False
    async with application.running():
        assert await publish(world.publishing, application.topic, COUNT) == 204
        await asyncio.sleep(AWAY_SECONDS)
        asked = application.asked_to_take
        await asyncio.sleep(6)
        if world.asks:
            assert application.asked_to_take == asked  # no more events arrive
            assert await messages_on(world.broker, application.dead) == 0
        application.can_keep = True
        await eventually(lambda: application.taken == set(range(COUNT)))
