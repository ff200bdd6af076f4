"""Sources with a topic: what a definition may contain, who may use a topic, and whether it is consumed."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from cli import documents
from cli.api import Answer
from cli.apply import SOURCE, same
from cli.doctor import _topics
from libs import exact_json
from libs.errors import Unavailable
from libs.messaging.bus import Topic
from libs.service import Runtime
from libs.service_client import Transport
from services.orders_notification.domain.topics import Hearing, Subscribed
from services.orders_notification.handlers.topics import TopicWatch
from tests.conftest import ROOT
from tests.flows.intake import intake
from tests.flows.intake_shops import SECRET
from tests.flows.source_topics import BIG, ORDERS, PLAIN, Door, opened, put


@pytest.fixture
async def door(runtime: Runtime, transports: dict[str, Transport]) -> AsyncIterator[Door]:
    async with opened(runtime, transports) as one:
        yield one


async def test_a_topic_is_subscribed_to_once_for_all_that_name_it_and_each_gets_every_message(door: Door) -> None:
    await put(door, PLAIN)
    await put(door, PLAIN, name="trial", key="test-key")
    await put(door, PLAIN, key="other-key")
    ours, others = [], []
    for one in await door.subscriptions():
        (ours if one["pubsubname"] == "bus" else others).append(one)
    assert {"orders-notification.dead", "request.settled.v1"} <= {one["topic"] for one in ours}
    (wanted,) = others
    assert wanted.pop("bulkSubscribe")["enabled"]
    assert wanted == {
        "pubsubname": "shop-kafka", "topic": "orders", "routes": {"default": "/dapr/topics"},
        "metadata": {"rawPayload": "true"},
    }  # fmt: skip
    assert await door.bring({"number": 1, "customer": 7}) == ["SUCCESS"]
    assert [len(await door.events(key)) for key in ("live-key", "test-key", "other-key")] == [1, 1, 1]


async def test_nobody_delivers_to_a_topic_by_webhook(door: Door) -> None:
    await put(door, PLAIN)
    answer = await door.shop.post("/v1/sources/orders", {"number": 1, "customer": 7}, key=None)
    assert answer.status_code == 404
    assert await door.events() == []


WRONG: list[tuple[dict[str, Any], int, str]] = [
    ({"verification": {"scheme": "hmac-hex", "header": "x"}}, 422, "/topic"),
    ({"topic": None}, 422, "/verification"),
    ({"topic": ORDERS | {"name": "notification.requested.v1"}}, 422, "/topic/name"),
    ({"topic": ORDERS | {"name": "delivery.dead"}}, 422, "/topic/name"),
    ({"topic": ORDERS | {"name": "suppression.changed.v1"}}, 422, "/topic/name"),
    ({"topic": {"component": "a b", "name": "orders"}}, 422, "/topic/component"),
    ({"secrets": [SECRET]}, 422, "/secrets"),
    ({"handshake": "true"}, 422, "/handshake"),
    ({"mapping": {"type": "body.x +", "id": "body.id"}}, 422, "/mapping/type"),
]


async def test_a_wrong_definition_says_what_is_wrong(door: Door) -> None:
    for change, status, pointer in WRONG:
        answer = await door.shop.put("/v1/sources/orders", PLAIN | change)
        assert answer.status_code == status, (change, answer.text)
        assert pointer in [error["pointer"] for error in answer.json()["errors"]], change


async def test_a_tenant_hears_what_it_was_granted_and_nothing_else(door: Door) -> None:
    salaries = {"topic": {"component": "shop-kafka", "name": "salaries"}}
    answer = await door.shop.put("/v1/sources/nosy", salaries, key="other-key")
    assert answer.status_code == 403
    assert "TOPIC_GRANTS" in answer.json()["detail"]
    await put(door, PLAIN, key="other-key")
    await door.shop.rows(
        "update orders_notification.source set definition = jsonb_set(definition, '{topic,name}', '\"salaries\"')"
    )
    assert {one["pubsubname"] for one in await door.subscriptions()} == {"bus"}
    assert await door.bring({"number": 1, "customer": 7}, name="salaries") == ["SUCCESS"]
    assert await door.events("other-key") == []


async def test_a_webhooks_source_that_becomes_a_topics_keeps_its_mapping_and_no_secret(door: Door) -> None:
    assert (await door.shop.put("/v1/sources/shop", {"shipped": "shopify", "secrets": [SECRET]})).status_code == 201
    given = {"shipped": "shopify", "topic": {"component": "shop-pubsub", "name": "shopify"}}
    answer = await door.shop.put("/v1/sources/shop", given, if_match='"1"')
    assert answer.status_code == 200, answer.text
    shown = answer.json()
    assert (shown["webhook"], shown["secrets"], shown["verification"]) == (None, [], None)
    assert shown["mapping"]["type"]


async def test_a_rehearsal_of_a_message_shows_its_event(door: Door) -> None:
    await put(door, PLAIN)
    pasted = {"body": f'{{"number": {BIG}, "customer": 7}}'}
    report = exact_json.loads((await door.shop.post("/v1/sources/orders:test", pasted)).content)
    assert report["verified"]
    assert [one["id"] for one in report["events"]] == [str(BIG)]
    assert await door.events() == []


@dataclass
class Beside:
    """A sidecar as the watch sees it."""

    has: Subscribed | None = None
    restarts: int = 0

    async def subscribed(self) -> Subscribed:
        if self.has is None:
            raise Unavailable("away")
        return self.has

    async def restart(self) -> None:
        self.restarts += 1


async def state(door: Door, name: str = "orders") -> tuple[str, int]:
    shown = (await door.shop.get(f"/v1/sources/{name}")).json()
    (listed,) = [one for one in (await door.shop.get("/v1/sources")).json()["items"] if one["name"] == name]
    assert shown["hearing"] == listed["hearing"]
    assert shown["hearing"]["detail"]
    return shown["hearing"]["state"], shown["hearing"]["workers"]


async def test_a_source_says_whether_its_topic_is_heard_and_what_is_to_be_done(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.orders_notification.handlers.topics._RESTART_SPREAD_SECONDS", 0.0)
    await put(door, PLAIN)
    assert await state(door) == ("no_worker", 0)
    beside = Beside()
    deps = replace(door.shop.service.deps, sidecar=beside, restart_sidecar=True)
    one, two = TopicWatch(deps), TopicWatch(deps, uuid4())
    await one.look()
    assert await state(door) == ("no_worker", 0)
    beside.has = Subscribed(frozenset(), frozenset())
    await one.look()
    assert await state(door) == ("no_component", 1)
    beside.has = Subscribed(frozenset({"shop-kafka"}), frozenset())
    await one.look()
    assert (await state(door), beside.restarts) == (("waiting", 1), 0)
    await one.look()
    assert beside.restarts == 1
    await one.look()
    assert beside.restarts == 1  # it has just been restarted
    beside.has = Subscribed(frozenset({"shop-kafka"}), frozenset({Topic("shop-kafka", "orders")}))
    await one.look()
    assert await state(door) == ("heard", 1)
    await two.look()
    assert await state(door) == ("heard", 2)
    await door.shop.rows("update orders_notification.topic_listener set seen_at = now() - interval '2 minutes'")
    assert await state(door) == ("no_worker", 0)


async def test_a_sidecar_is_left_alone_where_nobody_would_start_it_again(door: Door) -> None:
    await put(door, PLAIN)
    beside = Beside(Subscribed(frozenset({"shop-kafka"}), frozenset()))
    watch = TopicWatch(replace(door.shop.service.deps, sidecar=beside))
    for _ in range(4):
        await watch.look()
    assert beside.restarts == 0


async def test_on_the_embedded_bus_a_topic_is_kept_and_says_that_nobody_hears_it(
    runtime: Runtime, transports: dict[str, Transport]
) -> None:
    async with intake(runtime, transports) as shop:
        answer = await shop.put("/v1/sources/orders", PLAIN)
        assert answer.status_code == 201
        assert answer.json()["hearing"]["state"] == "no_dapr"
        assert "DEPESCHE_BUS=dapr" in answer.json()["hearing"]["detail"]


async def test_the_example_on_the_page_is_applied_once(door: Door, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "what-you-write.md").read_text(encoding="utf-8")
    (tmp_path / "erp.yaml").write_text(page.partition("## Events from a topic")[2].split("```")[1].removeprefix("yaml"))
    (document,) = documents.read([tmp_path], kinds={"source": "name"})
    await put(door, dict(document.body), name=document.name)
    held = await door.shop.get(f"/v1/sources/{document.name}")
    assert same(SOURCE, document.body, Answer(held.status_code, held.json(), None))
    changed = dict(document.body) | {"topic": {"component": "erp-kafka", "name": "sales.returns"}}
    assert not same(SOURCE, changed, Answer(held.status_code, held.json(), None))


async def test_the_doctor_names_topics_that_nobody_hears(door: Door, database: str) -> None:
    connection = await asyncpg.connect(database)
    try:
        assert [one.state for one in await _topics(connection)] == ["ok"]
        await put(door, PLAIN)
        (finding,) = await _topics(connection)
        assert (finding.state, finding.found) == ("warning", "shop-kafka/orders")
        await door.shop.service.deps.listening.report(uuid4(), {Topic("shop-kafka", "orders"): Hearing.HEARD})
        assert [one.state for one in await _topics(connection)] == ["ok"]
    finally:
        await connection.close()
