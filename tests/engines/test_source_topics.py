"""Sources that consume a topic through a real sidecar, on Redis and on Kafka, from producers unaware of Dapr."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from cli.engines.daprd import Daprd
from cli.engines.daprd import Sidecar as Beside
from cli.engines.engine import free_port
from cli.engines.kafka import Kafka
from cli.engines.redis import Redis
from libs import alone, exact_json
from libs.messaging.dapr import Sidecar
from libs.service import Runtime
from libs.service_client import Transport
from tests.engines.conftest import running
from tests.engines.producers import produce
from tests.engines.test_dapr_bus import answering
from tests.engines.test_daprd_round_trip import API_TOKEN, APP_TOKEN, write_component
from tests.flows.intake import Intake, intake, release
from tests.waiting import eventually

BIG = 820982911946154508  # a float would make it …432


@pytest.fixture(params=["redis", "kafka"])
def broker(request: pytest.FixtureRequest) -> Redis | Kafka:
    return request.getfixturevalue(request.param)


@dataclass
class Shop:
    """A worker of orders-notification beside its sidecar, a foreign topic, and its producer."""

    intake: Intake
    daprd: Daprd
    broker: Redis | Kafka
    topic: str

    async def hears(self, **definition: Any) -> None:
        """The source, once its topic is subscribed to."""
        given = {"topic": {"component": "bus", "name": self.topic}} | definition
        answer = await self.intake.put("/v1/sources/erp", given)
        assert answer.status_code == 201, answer.text

        async def heard() -> bool:
            shown = (await self.intake.get("/v1/sources/erp")).json()
            return bool(shown["hearing"]["state"] == "heard")

        await eventually(heard)

    async def publish(self, *messages: Any, **headers: str) -> None:
        raw = [one if isinstance(one, bytes) else exact_json.dumps(one) for one in messages]
        await produce(self.broker, self.topic, raw, headers)

    async def publish_by_sidecar(self, body: Any, content_type: str, **metadata: str) -> None:
        async with httpx.AsyncClient(headers={"dapr-api-token": API_TOKEN}, trust_env=False) as client:
            answer = await client.post(
                f"{self.daprd.url}/v1.0/publish/bus/{self.topic}",
                params={f"metadata.{name}": value for name, value in metadata.items()},
                content=exact_json.dumps(body),
                headers={"content-type": content_type},
            )
            assert answer.status_code == 204, answer.text

    async def bodies(self) -> dict[str, bytes]:
        rows = await self.intake.rows("select event_id, body from orders_notification.event")
        return {row["event_id"]: row["body"] for row in rows}

    async def comes(self, *ids: str) -> None:
        async def there() -> bool:
            return set(ids) <= (await self.bodies()).keys()

        await eventually(there)

    async def open_rejections(self) -> list[dict[str, Any]]:
        return list((await self.intake.get("/v1/rejections?state=open")).json()["items"])


async def kept_running(daprd: Daprd, stop: asyncio.Event) -> None:
    """Act like a kubelet: restart the sidecar when it has ended."""
    while not stop.is_set():
        process = daprd.process
        if process is not None and not process.alive:
            await asyncio.to_thread(daprd.start)
        await asyncio.sleep(0.2)


@pytest.fixture
async def shop(
    runtime: Runtime,
    transports: dict[str, Transport],
    broker: Redis | Kafka,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Shop]:
    monkeypatch.setattr("services.orders_notification.loops._LOOK_SECONDS", 0.5)
    monkeypatch.setattr("services.orders_notification.handlers.topics._RESTART_SPREAD_SECONDS", 0.1)
    port = free_port()
    beside = replace(runtime, sidecar=Sidecar(f"http://127.0.0.1:{port}", API_TOKEN, APP_TOKEN))
    async with intake(beside, transports, topic_restart_sidecar=True) as world:
        world.published.releases[:] = [release("order.placed", recipient=None)]
        app = alone.create_app(world.service, api=False, events=True)
        async with answering(app) as app_port:
            (tmp_path / "resiliency.yaml").write_text(FOR_EVER)
            sidecar = Beside(
                app_id=f"orders-{uuid4().hex[:8]}",
                app_port=app_port,
                resources=[write_component(tmp_path, broker)],
                api_token=API_TOKEN,
                app_token=APP_TOKEN,
            )
            context = running(Daprd(tmp_path, sidecar, port=port))
            daprd = await asyncio.to_thread(context.__enter__)
            stop = asyncio.Event()
            working = asyncio.create_task(world.service.run_loops(stop, (), lambda name: name == "topics"))
            keeping = asyncio.create_task(kept_running(daprd, stop))
            try:
                yield Shop(world, daprd, broker, f"erp-{uuid4().hex[:8]}")
            finally:
                stop.set()
                await asyncio.gather(working, keeping)
                await asyncio.to_thread(context.__exit__, None, None, None)


async def test_plain_json_arrives_exactly_and_a_poison_message_can_be_redriven(shop: Shop) -> None:
    mapping = {"type": '"order.placed"', "id": "body.number", "recipient": "string(body.customer)"}
    await shop.hears(mapping=mapping)
    order = f'{{"number": {BIG}, "customer": 7, "total": 19.90}}'.encode()
    await shop.publish(order, b"no JSON", b'{"nr": 5, "customer": 7}', order, {"number": 2, "customer": 7})
    await shop.comes(str(BIG), "2")
    assert (await shop.bodies())[str(BIG)] == f'{{"number":{BIG},"customer":7,"total":19.90}}'.encode()
    assert len(await shop.bodies()) == 2

    async def kept() -> Any:
        found = await shop.open_rejections()
        return found if len(found) == 2 else None

    found = await eventually(kept)
    assert {one["body"] for one in found} == {"no JSON", '{"nr": 5, "customer": 7}'}
    mended = {"topic": {"component": "bus", "name": shop.topic}}
    mended |= {"mapping": mapping | {"id": "has(body.nr) ? body.nr : body.number"}}
    assert (await shop.intake.put("/v1/sources/erp", mended, if_match='"1"')).status_code == 200
    replayed = (await shop.intake.post("/v1/rejections:replay", {"source": "erp"})).json()
    assert (replayed["replayed"], replayed["rejected"]) == (1, 1)
    assert set(await shop.bodies()) == {str(BIG), "2", "5"}
    assert await shop.intake.rows("select from orders_notification.dead_letter") == []


async def test_cloudevents_arrive_from_a_sidecar_and_in_kafkas_own_binding(shop: Shop) -> None:
    await shop.hears()
    whole = {
        "specversion": "1.0", "id": "whole", "source": "/erp", "type": "order.placed", "recipient": "customer:1",
        "datacontenttype": "application/json", "data": {"number": BIG},
    }  # fmt: skip
    await shop.publish_by_sidecar(whole, "application/cloudevents+json")
    told = {"cloudevent.id": "wrapped", "cloudevent.type": "order.placed", "cloudevent.source": "erp"}
    await shop.publish_by_sidecar({"number": BIG}, "application/json", **told)
    await shop.publish({**whole, "id": "structured"})
    await shop.comes("whole", "wrapped", "structured")
    assert set((await shop.bodies()).values()) == {f'{{"number":{BIG}}}'.encode()}
    if isinstance(shop.broker, Kafka):
        about = {"ce_specversion": "1.0", "ce_id": "binary", "ce_source": "/erp", "ce_type": "order.placed"}
        await shop.publish({"number": BIG}, **about)
        await shop.comes("binary")
        (row,) = await shop.intake.rows("select * from orders_notification.event where event_id = 'binary'")
        assert row["source"] == "/erp"
    assert await shop.open_rejections() == []


FOR_EVER = """\
apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata:
  name: for-ever
spec:
  policies:
    retries:
      for-ever:
        policy: constant
        duration: 500ms
        maxRetries: -1
  targets:
    components:
      bus:
        inbound:
          retry: for-ever
"""
