"""What intake stores: one event across replicas, answers for `why`, erasure, and days that come and go."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from libs import exact_json
from libs.contracts.envelope import Envelope
from libs.contracts.outcomes import Mode
from libs.contracts.tokens import RecipientErased
from libs.ids import first_id_at, time_of, uuid7
from libs.service import Runtime
from libs.service_client import Transport
from services.orders_notification.adapters.postgres.retention import PostgresRetention
from services.orders_notification.handlers import SUBSCRIPTIONS
from tests.flows.intake import NOW, Intake, event, intake, release


@pytest.fixture
async def shop(runtime: Runtime, transports: dict[str, Transport]) -> AsyncIterator[Intake]:
    async with intake(runtime, transports) as running:
        yield running


async def test_replicas_that_get_the_same_events_at_once_accept_each_once(
    shop: Intake, runtime: Runtime, transports: dict[str, Transport]
) -> None:
    async with intake(runtime, transports) as other:
        batch = [event(f"e{n}") for n in range(300)]
        answers = await asyncio.gather(
            shop.post("/v1/events", batch),
            other.post("/v1/events", batch[::-1]),
            shop.post("/v1/events", batch[100:] + batch[:100]),
            other.post("/v1/events", batch[50:250]),
        )
    told = [answer.json() for answer in answers]
    assert sum(t["accepted"] for t in told) == 300
    assert sum(t["duplicate"] for t in told) == 800
    ids: dict[str, set[str]] = {}
    for result in (r for t in told for r in t["results"]):
        ids.setdefault(result["event_id"], set()).add(result["id"])
    assert all(len(causes) == 1 for causes in ids.values())
    assert len(await shop.outbox("notification.requested")) == 300
    assert await shop.count("event") == 300


async def test_a_cause_carries_the_time_of_the_systems_clock(shop: Intake) -> None:
    taken = (await shop.post("/v1/events", event())).json()
    (request,) = await shop.outbox("notification.requested")
    assert str(request.cause_id) == taken["id"]
    # the injected clock is in 2027; partitions must follow the machine's clock
    assert abs(time_of(request.cause_id) - datetime.now(UTC)) < timedelta(minutes=1)
    assert time_of(request.recipients[0].notification_id) == time_of(request.cause_id)


async def trace(shop: Intake, **asked: Any) -> Any:
    token = shop.runtime.tokens.make("history", 1, Mode.LIVE)
    headers = {"authorization": f"Internal {token}", "content-type": "application/json"}
    answer = await shop.http.post("/v1/events:trace", content=exact_json.dumps(asked), headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_why_learns_of_accepted_and_of_kept_events_by_order_number(shop: Intake) -> None:
    shop.published.releases.append(release(communication="review", condition="false"))
    await shop.bump()
    taken = (await shop.post("/v1/events", event())).json()
    await shop.put("/v1/event-types/order.cancelled", {"schema": {"required": ["reason"]}})
    kept = await shop.post("/v1/events", event("e2", type="order.cancelled"))
    told = await trace(shop, subjects=["100045"])
    (found,) = told["events"]
    assert found["id"] == taken["id"]
    assert [(d["communication"], d["outcome"]) for d in found["decisions"]] == [
        ("order-confirmation", "requested"),
        ("review", "condition_false"),
    ]
    assert [r["reason"] for r in told["rejections"]] == ["schema_invalid"]
    by_cause = await trace(shop, causes=[taken["id"], kept.json()["rejection"], str(uuid4())])
    assert (len(by_cause["events"]), len(by_cause["rejections"])) == (1, 1)
    assert await trace(shop) == {"events": [], "rejections": []}


async def test_only_the_suite_may_trace(shop: Intake) -> None:
    assert (await shop.post("/v1/events:trace", {"subjects": ["1"]})).status_code == 401


async def test_an_erased_recipients_events_lose_their_data_and_keep_their_decisions(shop: Intake) -> None:
    shop.published.releases[:] = [release(recipient="event.data.followers")]
    taken = (await shop.post("/v1/events", event(data={"followers": ["a", "b"], "note": "for b"}))).json()
    other = (await shop.post("/v1/events", event("e2", data={"followers": ["c"]}))).json()
    erased = Envelope(
        id=uuid7(), type="recipient.erased", source="tokens", time=NOW, tenant=1, mode=Mode.LIVE, key="customer:b",
        data=RecipientErased(recipient="customer:b", at=NOW),
    )  # fmt: skip
    await SUBSCRIPTIONS[RecipientErased](shop.service.deps, [erased, erased])
    shown = (await shop.get(f"/v1/events/{taken['id']}")).json()
    assert shown["data"] is None
    assert len(shown["decisions"]) == 2
    assert (await shop.get(f"/v1/events/{other['id']}")).json()["data"] == {"followers": ["c"]}


async def test_days_are_ready_ahead_and_old_ones_go_with_their_keys(shop: Intake) -> None:
    old = datetime.now(UTC) - timedelta(days=40)
    day = old.replace(hour=0, minute=0, second=0, microsecond=0)
    low, high = first_id_at(day), first_id_at(day + timedelta(days=1))
    await shop.rows(
        f"create table orders_notification.event_{day:%Y%m%d} partition of orders_notification.event"
        f" for values from ('{low}') to ('{high}')"
    )
    await shop.rows("insert into orders_notification.event_key values ($1, $2)", uuid4(), first_id_at(old))
    await shop.post("/v1/events", event())
    database = shop.service.database
    assert await PostgresRetention(database, keep_days=41, key_keep_days=41).maintain() == []
    assert await shop.count("event_key") == 2
    assert await PostgresRetention(database, keep_days=30, key_keep_days=30).maintain() == [f"event_{day:%Y%m%d}"]
    assert (await shop.count("event_key"), await shop.count("event")) == (1, 1)
    tomorrow = datetime.now(UTC) + timedelta(days=7)
    ahead = await shop.rows("select to_regclass($1) as there", f"orders_notification.event_{tomorrow:%Y%m%d}")
    assert ahead[0]["there"] is not None


async def test_settlements_that_came_before_their_day_was_made_do_not_block_it(shop: Intake) -> None:
    retention = PostgresRetention(shop.service.database, keep_days=30, key_keep_days=30)
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    name = f"orders_notification.settlement_{tomorrow:%Y%m%d}"
    await shop.rows(f"drop table {name}")  # as if no worker had run for a week
    await shop.rows("insert into orders_notification.settlement values ($1, $2)", first_id_at(tomorrow), uuid4())
    await retention.ensure_days()
    assert len(await shop.rows(f"select from {name}")) == 1
    await retention.ensure_days()


async def test_shipped_sources_are_listed_and_compile(shop: Intake) -> None:
    listed = (await shop.get("/v1/shipped-sources")).json()
    assert [s["name"] for s in listed] == ["commercetools", "shopify", "stripe", "woocommerce"]
    for shipped in listed:
        secrets = ["hush-hush-hush"]
        answer = await shop.put(f"/v1/sources/my-{shipped['name']}", {"shipped": shipped["name"], "secrets": secrets})
        assert answer.status_code == 201, answer.text
    names = [s["name"] for s in (await shop.get("/v1/sources?limit=3")).json()["items"]]
    assert names == ["my-commercetools", "my-shopify", "my-stripe"]
