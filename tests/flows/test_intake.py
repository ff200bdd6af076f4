"""Events accepted over HTTP: committed before they are acknowledged, decided once, exact to the last digit."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from libs import exact_json
from libs.contracts.envelope import decode
from libs.contracts.outcomes import Lane
from libs.ids import first_id_at, notification_id, request_id
from libs.messaging.bundles import unbundled
from libs.service import Runtime
from libs.service_client import Transport
from tests.flows.intake import Intake, event, intake, release
from tests.waiting import eventually


@pytest.fixture
async def shop(runtime: Runtime, transports: dict[str, Transport]) -> AsyncIterator[Intake]:
    async with intake(runtime, transports) as running:
        yield running


async def test_an_accepted_event_asks_for_its_notification_in_the_same_commit(shop: Intake) -> None:
    answer = await shop.post("/v1/events", event())
    assert answer.status_code == 202, answer.text
    taken = answer.json()
    assert taken["status"] == "accepted"
    (request,) = await shop.outbox("notification.requested")
    (recipient,) = request.recipients
    assert recipient.key == "customer:4711"
    assert recipient.notification_id == notification_id(request.cause_id, "order-confirmation", "customer:4711")
    assert str(request.cause_id) == taken["id"]
    assert request.event["subject"] == "100045"
    assert request.event["data"] == {"customer_id": "4711", "total": "59.90"}
    assert request.expires_at.isoformat() == "2027-03-02T09:29:00+00:00"  # from the event's own time
    (decided,) = await shop.outbox("decision.recorded")
    assert [d.outcome for d in decided.decisions] == ["requested"]


async def test_the_same_event_again_is_a_duplicate_and_asks_for_nothing(shop: Intake) -> None:
    first = await shop.post("/v1/events", event())
    again = await shop.post("/v1/events", event(data={"customer_id": "another"}))
    assert again.status_code == 200
    assert again.json()["status"] == "duplicate"
    assert again.json()["id"] == first.json()["id"]
    assert len(await shop.outbox("notification.requested")) == 1


async def test_modes_tenants_and_sources_have_their_own_ids(shop: Intake) -> None:
    answers = [
        await shop.post("/v1/events", event()),
        await shop.post("/v1/events", event(), key="test-key"),
        await shop.post("/v1/events", event(), key="other-key"),
        await shop.post("/v1/events", event(source="/another-shop")),
    ]
    assert [a.json()["status"] for a in answers] == ["accepted"] * 4


async def test_numbers_money_and_every_script_survive(shop: Intake) -> None:
    raw = (
        b'{"specversion":"1.0","type":"order.placed","source":"/shop","id":"e","data":{"customer_id":'
        b'123456789012345678,"total":19.90,"big":123456789012345678901234567890,'
        + '"name":"مرحبا 👩‍👩‍👧 ‏שלום"}}'.encode()
    )
    answer = await shop.post("/v1/events", raw)
    assert answer.status_code == 202, answer.text
    (request,) = await shop.outbox("notification.requested")
    assert request.recipients[0].key == "customer:123456789012345678"
    data = request.event["data"]
    assert data["big"] == 123456789012345678901234567890
    assert (data["total"], str(data["total"])) == (Decimal("19.90"), "19.90")
    assert data["name"] == "مرحبا 👩‍👩‍👧 ‏שלום"
    shown = await shop.get(f"/v1/events/{answer.json()['id']}")
    assert b'"total":19.90' in shown.content
    assert exact_json.loads(shown.content)["data"] == data


async def test_events_that_arrive_together_share_a_commit(shop: Intake) -> None:
    committer = shop.service.deps.committer
    write, came = committer.write, 0

    async def after_all_have_come(events: Sequence[Any]) -> Any:
        nonlocal came
        came += len(events)
        await eventually(lambda: came + len(committer._queue) == 40, 120)
        return await write(events)

    committer.write = after_all_have_come
    answers = await asyncio.gather(*(shop.post("/v1/events", event(f"e{n}")) for n in range(40)))
    assert {a.status_code for a in answers} == {202}
    commits = await shop.rows("select count(distinct xmin::text) as n from orders_notification.event")
    assert commits[0]["n"] <= 2  # those that came while the first was committed share one


async def test_a_full_queue_says_when_to_come_back(shop: Intake) -> None:
    shop.service.deps.committer.room = 0
    answer = await shop.post("/v1/events", event())
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1


async def test_what_was_published_a_moment_ago_decides_the_next_event(shop: Intake) -> None:
    await shop.post("/v1/events", event("before"))
    shop.published.releases.append(release(communication="review-invitation"))
    await shop.bump()
    answer = await shop.post("/v1/events", event("after"))
    assert [d["communication"] for d in answer.json()["decisions"]] == ["order-confirmation", "review-invitation"]


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"type": "nobody.listens"}, "no_communication"),
        ({"time": "2027-02-27T09:00:00Z"}, "expired"),
        ({"data": {"total": "1"}}, "condition_error"),
        ({"data": {"customer_id": None}}, "recipient_missing"),
    ],
)
async def test_every_no_is_recorded_with_its_reason(shop: Intake, changes: dict[str, Any], outcome: str) -> None:
    answer = await shop.post("/v1/events", event(**changes))
    assert answer.status_code == 202
    (decided,) = await shop.outbox("decision.recorded")
    assert [d.outcome for d in decided.decisions] == [outcome]
    assert await shop.outbox("notification.requested") == []


async def test_a_list_of_recipients_is_asked_for_in_parts_of_a_thousand(shop: Intake) -> None:
    shop.published.releases[:] = [release(recipient="event.data.followers")]
    followers = [f"customer:{n}" for n in range(1_200)] + ["customer:7"]
    answer = await shop.post("/v1/events", event(data={"followers": followers}))
    assert answer.status_code == 202
    requests = await shop.outbox("notification.requested")
    assert [len(request.recipients) for request in requests] == [1_000, 200]
    assert len({r.request_id for r in requests}) == 2
    found = await shop.get("/v1/events?recipient=customer:1150")
    assert [item["id"] for item in found.json()["items"]] == [answer.json()["id"]]


async def test_a_large_order_is_decided_like_a_small_one(shop: Intake) -> None:
    shop.published.releases[:] = [release(condition="event.data.items.exists(i, i.price > 5.5)")]
    items = [
        {"sku": f"A-{n}", "name": "Schuhe, sehr bequem, aus Leder", "price": Decimal("5.10")} for n in range(1_000)
    ]
    data = {"customer_id": "1", "items": [*items, {"sku": "B", "name": "x", "price": Decimal("5.60")}]}
    answer = await shop.post("/v1/events", event(data=data))
    assert [d["outcome"] for d in answer.json()["decisions"]] == ["requested"], answer.text
    (request,) = await shop.outbox("notification.requested")
    assert request.event["data"]["items"][7]["price"] == Decimal("5.10")


async def test_binary_mode_reads_attributes_from_headers(shop: Intake) -> None:
    answer = await shop.post(
        "/v1/events",
        b'{"customer_id": 17}',
        ce_specversion="1.0",
        ce_type="order.placed",
        ce_source="/shop",
        ce_id="1%25%E2%82%AC",
        ce_subject='"A 7"',
        ce_traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )
    assert answer.status_code == 202, answer.text
    assert answer.json()["event_id"] == "1%€"
    shown = (await shop.get(f"/v1/events/{answer.json()['id']}")).json()
    assert (shown["subject"], shown["trace_id"]) == ("A 7", "0af7651916cd43dd8448eb211c80319c")


async def test_a_batch_takes_the_good_and_names_the_bad(shop: Intake) -> None:
    batch = [event("a"), event("a"), event("b", specversion="0.3"), 17, event("c", time="yesterday", type="x" * 201)]
    answer = await shop.post("/v1/events", batch, content_type="application/cloudevents-batch+json")
    assert answer.status_code == 202, answer.text
    told = answer.json()
    assert (told["accepted"], told["duplicate"], told["rejected"]) == (1, 1, 3)
    assert [r["status"] for r in told["results"]] == ["accepted", "duplicate", "rejected", "rejected", "rejected"]
    assert told["results"][1]["id"] == told["results"][0]["id"]
    assert [e["pointer"] for e in told["results"][4]["errors"]] == ["/type", "/time"]


async def test_a_batch_without_one_good_event_is_a_problem_that_names_them_all(shop: Intake) -> None:
    answer = await shop.post("/v1/events", [event("a", specversion="0.3"), []])
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert [r["index"] for r in answer.json()["results"]] == [0, 1]
    assert (await shop.post("/v1/events", [])).json()["results"] == []


async def test_events_are_found_by_order_number_page_by_page(shop: Intake) -> None:
    await shop.post("/v1/events", [event(f"e{n}", subject="4" if n % 2 else "5") for n in range(7)])
    first = (await shop.get("/v1/events?subject=5&limit=3")).json()
    second = (await shop.get(f"/v1/events?subject=5&limit=3&cursor={first['next_cursor']}")).json()
    assert [e["event_id"] for e in first["items"] + second["items"]] == ["e6", "e4", "e2", "e0"]
    assert second["next_cursor"] is None
    assert (await shop.get("/v1/events?subject=5", key="test-key")).json()["items"] == []


async def test_settled_requests_settle_the_event_however_often_they_are_told(shop: Intake) -> None:
    taken = (await shop.post("/v1/events", event())).json()
    (request,) = await shop.outbox("notification.requested")
    store = shop.service.deps.events
    await store.settle({(request.cause_id, request.request_id)})
    await store.settle({(request.cause_id, request.request_id)})
    shown = (await shop.get(f"/v1/events/{taken['id']}")).json()
    assert (shown["state"], shown["requests_settled"]) == ("settled", 1)


async def test_a_request_that_settles_after_its_events_day_is_gone_is_no_fault(shop: Intake) -> None:
    long_ago = first_id_at(datetime.now(UTC) - timedelta(days=400))
    await shop.service.deps.events.settle({(long_ago, request_id(long_ago, uuid4(), 0))})
    assert await shop.count("settlement") == 1


async def test_only_what_hurries_goes_out_in_the_first_lane(shop: Intake) -> None:
    campaign = replace(release(communication="review-invitation"), lane=Lane.BULK)
    shop.published.releases.append(campaign)
    await shop.post("/v1/events", [event(f"e{n}") for n in range(20)])
    rows = await shop.rows("select * from orders_notification.outbox order by id")
    lanes = {
        (row["lane"], getattr(decode(row["type"], row["payload"]), "lane", row["type"])) for row in unbundled(rows)
    }
    assert lanes == {(0, "transactional"), (1, "bulk"), (1, "decision.recorded")}
