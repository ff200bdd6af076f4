"""Sources with a topic: messages from the sidecar become events, or are stored with a reason; nothing loops."""

import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from libs.errors import Unavailable
from libs.service import Runtime
from libs.service_client import Transport
from services.orders_notification.handlers.intake import accept
from tests.flows.intake import event
from tests.flows.source_topics import BIG, ORDERS, PLAIN, Door, opened, put


@pytest.fixture
async def door(runtime: Runtime, transports: dict[str, Transport]) -> AsyncIterator[Door]:
    async with opened(runtime, transports) as one:
        yield one


async def test_plain_json_is_mapped_and_its_numbers_stay_as_they_were_written(door: Door) -> None:
    await put(door, PLAIN)
    first = f'{{"number": {BIG}, "customer": 7, "total": 19.90}}'.encode()
    assert await door.bring(first, {"number": 2, "customer": 8}) == ["SUCCESS"] * 2
    second, one = await door.events()
    assert (one["event_id"], one["recipient"], one["source"]) == (str(BIG), "customer:7", "/sources/orders")
    assert one["client"] == "topic:orders"
    (stored,) = await door.shop.rows("select body from orders_notification.event where event_id = $1", str(BIG))
    assert stored["body"] == f'{{"number":{BIG},"customer":7,"total":19.90}}'.encode()
    assert second["recipient"] == "customer:8"
    assert [len(r.recipients) for r in await door.shop.outbox("notification.requested")] == [1, 1]


async def test_cloudevents_need_no_mapping_in_json_in_an_array_and_in_headers(door: Door) -> None:
    await put(door, {"topic": ORDERS})
    told = event(recipient="customer:1")
    twins = [event(id="two"), event(id="three")]
    assert await door.bring(told, twins) == ["SUCCESS"] * 2
    headers = {
        "ce_specversion": "1.0", "ce_id": "fo%ur", "ce_source": "/erp", "ce_type": "order.placed",
        "ce_subject": "Größe", "Content-Type": "application/json", "__key": "k",
    }  # fmt: skip
    assert await door.bring(b'{"total": 1.10}', headers=headers) == ["SUCCESS"]
    assert await door.rejections() == []
    found = {one["event_id"]: one for one in await door.events()}
    assert set(found) == {told["id"], "two", "three", "fo%ur"}
    assert found["fo%ur"]["subject"] == "Größe"
    (stored,) = await door.shop.rows("select body from orders_notification.event where event_id = 'fo%ur'")
    assert stored["body"] == b'{"total":1.10}'


async def test_what_comes_twice_is_one_event(door: Door) -> None:
    await put(door, PLAIN)
    message = {"number": 1, "customer": 7}
    assert await door.bring(message, message) == ["SUCCESS"] * 2
    assert await door.bring(message) == ["SUCCESS"]
    assert len(await door.events()) == 1
    assert len(await door.shop.outbox("notification.requested")) == 1


async def test_the_same_message_on_two_topics_is_kept_for_both(door: Door) -> None:
    await put(door, PLAIN)
    await put(door, PLAIN | {"topic": ORDERS | {"name": "returns"}}, name="returns")
    for topic in ("orders", "returns"):
        assert await door.bring(b"{", name=topic, headers={"__key": "k"}) == ["SUCCESS"]
    assert {one["source"] for one in await door.rejections()} == {"orders", "returns"}


async def test_poison_is_kept_with_its_reason_and_replayed_when_the_mapping_is_mended(door: Door) -> None:
    await put(door, PLAIN)
    wrong = [b"\xff\x00 no JSON", b"{", b"", b"[" * 5000, {"no": "number"}, b'{"number": 1, "number": 2}']
    statuses = await door.bring(*wrong, {"number": 3, "customer": 7}, headers={"Authorization": "Bearer x"})
    assert statuses == ["SUCCESS"] * 7
    kept = await door.rejections()
    assert len(kept) == len(wrong)
    assert {one["reason"] for one in kept} == {"mapping_failed"}
    assert all(one["errors"] and "authorization" not in one["headers"] for one in kept)
    assert [one["event_id"] for one in await door.events()] == ["3"]
    assert await door.bring(wrong[4], headers={"__offset": "9"}) == ["SUCCESS"]
    assert len(await door.rejections()) == len(wrong) + 1  # the same bytes at another offset: another message

    mended = PLAIN | {"mapping": {"type": '"order.placed"', "id": "has(body.number) ? string(body.number) : body.no"}}
    assert (await door.shop.put("/v1/sources/orders", mended, if_match='"1"')).status_code == 200
    replayed = (await door.shop.post("/v1/rejections:replay", {"source": "orders"})).json()
    assert (replayed["replayed"], replayed["rejected"]) == (2, len(wrong) - 1)
    assert sorted(one["event_id"] for one in await door.events()) == ["3", "number"]


async def test_a_cloudevent_that_is_none_or_does_not_fit_its_schema_is_kept(door: Door) -> None:
    await put(door, {"topic": ORDERS})
    schema = {"type": "object", "required": ["customer_id"], "properties": {"customer_id": {"type": "integer"}}}
    assert (await door.shop.put("/v1/event-types/order.placed", {"schema": schema})).status_code == 201
    unfit = event(id="unfit", data={"customer_id": "x"})
    assert await door.bring({"specversion": "0.3"}, unfit, b"", headers={"__partition": "0"}) == ["SUCCESS"] * 3
    assert {one["reason"] for one in await door.rejections()} == {"mapping_failed", "schema_invalid"}
    assert (await door.shop.put("/v1/event-types/order.placed", {"schema": None}, if_match='"1"')).status_code == 200
    replayed = (await door.shop.post("/v1/rejections:replay", {"reason": "schema_invalid"})).json()
    assert replayed["replayed"] == 1
    assert [one["event_id"] for one in await door.events()] == ["unfit"]


async def test_a_filter_sees_a_tombstone_and_the_brokers_own_words(door: Door) -> None:
    mapping = {
        "type": "body.kind", "types": {"ORDER_CREATED": "order.placed"}, "filter": "body != null",
        "id": 'headers["__partition"] + "-" + headers["__offset"]', "subject": 'headers["__key"]',
    }  # fmt: skip
    await put(door, {"topic": ORDERS, "mapping": mapping})
    headers = {"__partition": "3", "__offset": "17", "__key": "order\x001"}
    assert await door.bring(b"", {"kind": "ORDER_CREATED"}, headers=headers) == ["SUCCESS"] * 2
    (one,) = await door.events()
    assert (one["event_id"], one["subject"], one["type"]) == ("3-17", "order1", "order.placed")
    assert await door.rejections() == []


async def test_while_postgres_is_away_everything_is_wanted_again(door: Door, database: str) -> None:
    async def rename(table: str, name: str) -> None:
        owner = await asyncpg.connect(database)
        try:
            await owner.execute(f"alter table orders_notification.{table} rename to {name}")
        finally:
            await owner.close()

    await put(door, PLAIN)
    await rename("event_key", "away")
    assert await door.bring({"number": 1, "customer": 7}, b"{") == ["RETRY", "RETRY"]
    await rename("away", "event_key")
    assert await door.bring({"number": 1, "customer": 7}, b"{") == ["SUCCESS", "SUCCESS"]
    assert (len(await door.events()), len(await door.rejections())) == (1, 1)
    await rename("source", "away")
    assert await door.bring({"number": 1, "customer": 7}) == ["RETRY"]
    assert {one["pubsubname"] for one in await door.subscriptions()} == {"bus"}  # the suite's own arrive anyway
    assert await door.letters() == []


async def test_a_message_that_trips_us_up_is_buried_and_its_neighbours_are_taken(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(door, PLAIN)

    async def trips(deps: Any, submissions: Any) -> Any:
        if any(one.event.id == "2" for one in submissions):
            raise ValueError("a bug of ours")
        return await accept(deps, submissions)

    monkeypatch.setattr("services.orders_notification.handlers.topics.accept", trips)
    messages = [{"number": number, "customer": 7} for number in (1, 2, 3)]
    assert await door.bring(*messages) == ["SUCCESS"] * 3
    assert sorted(one["event_id"] for one in await door.events()) == ["1", "3"]
    (letter,) = await door.letters()
    assert (letter["type"], letter["source"], letter["tenant"]) == ("orders", "shop-kafka/orders", 0)
    assert (letter["reason"], letter["payload"]) == ("ValueError: a bug of ours", b'{"number":2,"customer":7}')


async def test_what_is_no_batch_of_bytes_is_kept_not_looped(door: Door) -> None:
    await put(door, PLAIN)
    for body in (b"{", b"[]", b'{"topic": "orders", "pubsubname": "shop-kafka", "entries": [7]}', b"\xff\x00"):
        answer = await door.post(body)
        assert (answer.status_code, answer.json()) == (200, {"status": "SUCCESS"})
    entries = [{"entryId": "0", "event": {"number": 1.0}}, {"entryId": "1", "event": "%"}, {"entryId": "2"}]
    batch = {"topic": "orders", "pubsubname": "shop-kafka", "entries": entries}
    answer = await door.post(json.dumps(batch).encode())
    assert [one["status"] for one in answer.json()["statuses"]] == ["SUCCESS"] * 3
    letters = await door.letters()
    assert len(letters) == 7
    assert [letter["reason"] for letter in letters if "rawPayload" in letter["reason"]]
    assert await door.events() == []


async def test_a_topic_that_no_source_names_any_more_is_let_pass(door: Door) -> None:
    await put(door, PLAIN)
    assert (await door.shop.delete("/v1/sources/orders", if_match='"1"')).status_code == 204
    assert await door.bring({"number": 1, "customer": 7}) == ["SUCCESS"]
    assert await door.events() == await door.rejections() == await door.letters() == []


@pytest.mark.parametrize("token", ["", "a guess", "to the applicatioN"])
async def test_a_stranger_brings_nothing(door: Door, token: str) -> None:
    await put(door, PLAIN)
    assert (await door.post(b"{}", token)).status_code == 401
    assert await door.letters() == []


def test_postgres_that_refuses_a_value_is_not_postgres_that_is_away() -> None:
    from libs.messaging.topics import _store_away

    assert _store_away(Unavailable("x"))
    assert _store_away(asyncpg.CannotConnectNowError("x"))
    assert _store_away(ConnectionResetError())
    assert not _store_away(asyncpg.NumericValueOutOfRangeError("x"))
    assert not _store_away(ValueError("x"))


@pytest.mark.parametrize("written", ["no trace", "00-0-0-0", "x" * 55])
async def test_a_header_that_is_no_trace_spoils_nothing(door: Door, written: str) -> None:
    """Producers write what they like; the events would not be listed any more."""
    await put(door, PLAIN)
    assert await door.bring({"number": 1, "customer": 7}, headers={"traceparent": written}) == ["SUCCESS"]
    assert await door.bring({"number": 1}, headers={"traceparent": written}) == ["SUCCESS"]
    (one,) = await door.events()
    assert (one["event_id"], len(one["trace_id"])) == ("1", 32)
