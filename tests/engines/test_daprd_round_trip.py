"""A sidecar takes batches and delivers them, over Redis and over Kafka, and both sides authenticate."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from cli.engines.daprd import Daprd, Sidecar
from cli.engines.kafka import Kafka
from cli.engines.redis import Redis
from tests.engines.conftest import running
from tests.engines.subscriber import PUBSUB, Subscriber, entries
from tests.shell import serving
from tests.waiting import eventually

COMPONENT = """\
apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: {name}
spec:
  type: pubsub.{type}
  version: v1
  metadata:
"""
API_TOKEN = "what callers of the sidecar send"
APP_TOKEN = "what the sidecar sends to us"


def write_component(folder: Path, broker: Redis | Kafka, *, processing: str = "2s") -> Path:
    """The resources folder of a sidecar on this broker, with the settings that bulk subscribe needs. `processing`:
    how long Redis waits for a reply."""
    kind, settings = ("kafka", {"brokers": broker.address, "authType": "none", "initialOffset": "oldest"})
    if isinstance(broker, Redis):
        kind, settings = "redis", {"redisHost": broker.address, "concurrency": "200", "processingTimeout": processing,
                                   "redeliverInterval": "1s"}  # fmt: skip
    lines = [f'  - name: {key}\n    value: "{value}"\n' for key, value in settings.items()]
    (folder / "bus.yaml").write_text(COMPONENT.format(name=PUBSUB, type=kind) + "".join(lines))
    return folder


@pytest.fixture(params=["redis", "kafka"])
def broker(request: pytest.FixtureRequest) -> Redis | Kafka:
    return request.getfixturevalue(request.param)


@pytest.fixture
def subscriber() -> Subscriber:
    return Subscriber(topic=f"parcels-{uuid4().hex[:8]}", token=APP_TOKEN)


@contextmanager
def beside(subscriber: Subscriber, broker: Redis | Kafka, folder: Path) -> Iterator[Daprd]:
    """A sidecar with tokens in both directions, beside the subscriber."""
    with serving(subscriber.application()) as url:
        sidecar = Sidecar(
            app_id=f"app-{subscriber.topic}",
            app_port=int(url.rpartition(":")[2]),
            resources=[write_component(folder, broker)],
            api_token=API_TOKEN,
            app_token=APP_TOKEN,
        )
        with running(Daprd(folder, sidecar)) as daprd:
            yield daprd


async def publish(daprd: Daprd, topic: str, count: int, token: str = API_TOKEN) -> int:
    async with httpx.AsyncClient(base_url=daprd.url, headers={"dapr-api-token": token}, timeout=15) as client:
        batch = entries([{"number": number} for number in range(count)])
        answer = await client.post(f"/v1.0/publish/bulk/{PUBSUB}/{topic}", json=batch)
        return answer.status_code


def numbers(subscriber: Subscriber) -> set[int]:
    return {event["data"]["number"] for event in subscriber.events}


async def test_a_batch_is_delivered_in_batches(broker: Redis | Kafka, subscriber: Subscriber, tmp_path: Path) -> None:
    with beside(subscriber, broker, tmp_path) as daprd:
        assert await publish(daprd, subscriber.topic, 250) == 204
        await eventually(lambda: numbers(subscriber) == set(range(250)))
    assert {event["id"] for event in subscriber.events} == {f"event-{number}" for number in range(250)}
    assert {event["type"] for event in subscriber.events} == {"parcel.shipped"}
    assert len(subscriber.batches) < 125  # more than two a batch: bulk subscribe delivered them
    assert subscriber.refused == 0


async def test_a_batch_answered_with_retry_is_redelivered(
    broker: Redis | Kafka, subscriber: Subscriber, tmp_path: Path
) -> None:
    subscriber.answers = ["RETRY"]
    (tmp_path / "resiliency.yaml").write_text(RETRIES)
    with beside(subscriber, broker, tmp_path) as daprd:
        assert await publish(daprd, subscriber.topic, 20) == 204
        await eventually(lambda: numbers(subscriber) == set(range(20)) and len(subscriber.events) > 20)


async def test_a_publisher_without_a_token_is_refused(
    broker: Redis | Kafka, subscriber: Subscriber, tmp_path: Path
) -> None:
    with beside(subscriber, broker, tmp_path) as daprd:
        assert await publish(daprd, subscriber.topic, 3, token="a guess") == 401
        assert await publish(daprd, subscriber.topic, 1) == 204
        await eventually(lambda: subscriber.events)
    assert numbers(subscriber) == {0}


async def test_a_sidecar_without_our_token_delivers_nothing(
    redis: Redis, subscriber: Subscriber, tmp_path: Path
) -> None:
    subscriber.token = "another application's"
    with beside(subscriber, redis, tmp_path) as daprd:
        assert await publish(daprd, subscriber.topic, 1) == 204
        await eventually(lambda: subscriber.refused)
    assert subscriber.events == []


async def test_accepted_messages_survive_a_crash_of_the_broker(subscriber: Subscriber, tmp_path: Path) -> None:
    with running(Kafka(tmp_path)) as kafka:
        publisher = Sidecar(app_id="publisher", resources=[write_component(tmp_path, kafka)], api_token=API_TOKEN)
        with running(Daprd(tmp_path, publisher)) as daprd:
            assert await publish(daprd, subscriber.topic, 50) == 204
        kafka.kill()
        kafka.start()
        with beside(subscriber, kafka, tmp_path):
            await eventually(lambda: numbers(subscriber) == set(range(50)))


RETRIES = """\
apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata:
  name: retries
spec:
  policies:
    retries:
      soon:
        policy: constant
        duration: 200ms
        maxRetries: 5
  targets:
    components:
      bus:
        inbound:
          retry: soon
"""
