"""Events published together share a message of the topic; a failing event does not affect the rest."""

import base64
import json
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from libs.auth import Principal
from libs.contracts.outcomes import Mode
from libs.errors import Invalid, Unavailable
from libs.messaging.dapr import MOST_ENTRIES
from libs.messaging.dead_letters import DeadLetters, Wanted
from libs.messaging.outbox import append
from libs.messaging.postgres import Relay
from tests.conformance.bus_promises import TRACEPARENT, Line
from tests.flows.dapr_world import TOKENS, Broker, Door, cloud_event, door, events_in, line, relay_to, waiting
from tests.shell import serving

__all__ = ["door", "line"]


async def test_an_event_alone_says_who_it_is_and_carries_what_the_broker_needs(line: Line) -> None:
    broker = Broker()
    await line.publish(1)
    with serving(broker.application()) as url:
        async with relay_to(line, url) as relay:
            await relay.publish_once()
    assert broker.tokens == {TOKENS["api_token"]}
    ((entry,),) = broker.batches
    assert (entry["event"]["type"], entry["event"]["datacontenttype"]) == ("tenant.changed", "application/json")
    assert entry["metadata"] == {
        "partitionKey": "a key", "cloudevent.id": entry["event"]["id"], "cloudevent.type": "tenant.changed",
        "cloudevent.source": "access", "cloudevent.traceparent": TRACEPARENT,
    }  # fmt: skip
    assert await waiting(line) == 0


async def test_events_that_go_out_together_share_a_message_and_each_is_whole(line: Line) -> None:
    broker = Broker()
    await line.publish(*range(250))  # in bundles
    await line.publish(250)
    with serving(broker.application()) as url:
        async with relay_to(line, url) as relay:
            while await relay.publish_once():
                pass
    entries = [entry for batch in broker.batches for entry in batch]
    assert len(entries) < 10
    assert {entry["event"]["type"] for entry in entries} == {"tenant.changed.batch"}
    events = [event for entry in entries for event in events_in(entry)]
    assert sorted(event["data"]["number"] - line.listener.first for event in events) == list(range(251))
    assert len({event["id"] for event in events} | {entry["event"]["id"] for entry in entries}) == 251 + len(entries)
    for event in events:
        assert (event["specversion"], event["type"], event["source"]) == ("1.0", "tenant.changed", "access")
        assert (event["tenant"], event["mode"], event["partitionkey"]) == (7, 2, "a key")
        assert (event["subject"], event["traceparent"]) == ("order-1", TRACEPARENT)
        assert datetime.fromisoformat(event["time"]).tzinfo is not None
    assert entries[0]["metadata"]["partitionKey"] == "a key"
    assert await waiting(line) == 0


async def test_tenants_share_no_message_and_a_publish_has_so_many(line: Line) -> None:
    broker = Broker()
    made = [msgspec.structs.replace(line.listener.event(1), tenant=n // 2, mode=1 + n % 2) for n in range(300)]
    async with line.publisher.transaction() as connection:
        await append(connection, made + made)
    with serving(broker.application()) as url:
        async with relay_to(line, url) as relay:
            while await relay.publish_once():
                pass
    assert max(map(len, broker.batches)) == MOST_ENTRIES
    for entry in [entry for batch in broker.batches for entry in batch]:
        owner = entry["event"]["tenant"], entry["event"]["mode"]
        assert {(event["tenant"], event["mode"]) for event in events_in(entry)} == {owner}


async def test_a_batch_stays_far_below_what_a_broker_takes(line: Line) -> None:
    broker = Broker()
    made = [msgspec.structs.replace(line.listener.event(1).event, name="x" * 9_000) for _ in range(50)]
    async with line.publisher.transaction() as connection:
        await append(connection, [msgspec.structs.replace(line.listener.event(1), event=event) for event in made])
    with serving(broker.application()) as url:
        async with relay_to(line, url) as relay:
            while await relay.publish_once():
                pass
    counts = [len(events_in(entry)) for batch in broker.batches for entry in batch]
    assert (sum(counts), max(counts)) == (50, 3)


def batch_of(*events: Any) -> dict[str, Any]:
    """Return a message that carries these events."""
    return {
        "id": str(uuid4()), "type": "tenant.changed.batch", "source": "access", "time": "2026-11-25T10:00:00+00:00",
        "tenant": 7, "mode": 1, "partitionkey": "k", "datacontenttype": "application/cloudevents-batch+json",
        "data_base64": base64.b64encode(json.dumps(events).encode()).decode(),
    }  # fmt: skip


def in_a_batch(event: dict[str, Any]) -> dict[str, Any]:
    data = json.loads(base64.b64decode(event["data_base64"]))
    return {name: value for name, value in event.items() if name != "data_base64"} | {
        "specversion": "1.0",
        "data": data,
    }


async def test_poison_in_a_batch_takes_no_neighbour_along(door: Door, line: Line) -> None:
    good = [in_a_batch(cloud_event(line.listener, number, tenant=number + 1)) for number in range(4)]
    poison = [
        "no event", None, {}, good[0] | {"id": "not a uuid"}, good[0] | {"mode": 9}, good[0] | {"data": {}},
        good[0] | {"type": "nobody.declared"}, good[0] | {"type": "tenant.changed.batch"}, good[0] | {"subject": 7},
    ]  # fmt: skip
    line.listener.refuse[2] = Unavailable("later")
    line.listener.refuse[3] = Invalid("never")
    assert await door.bring(batch_of(good[0], *poison, *good[1:])) == ["SUCCESS"]
    assert line.listener.numbers == [0, 1]
    assert [envelope.tenant for envelope in line.listener.taken] == [1, 2]
    assert len(await line.ask("select from dead_letter")) == len(poison) + 1
    (never,) = await line.ask("select event_id, tenant from dead_letter where reason like '%never%'")
    assert (str(never["event_id"]), never["tenant"]) == (good[3]["id"], 4)
    ((owed,),) = await line.ask("select event_id from outbox o join outbox_delivery d on d.outbox_id = o.id")
    assert str(owed) == good[2]["id"]


async def test_a_batch_that_comes_again_in_part_is_known_by_its_events(door: Door, line: Line) -> None:
    first, second, third = [in_a_batch(cloud_event(line.listener, number)) for number in range(3)]
    assert await door.bring(batch_of(first, second)) == ["SUCCESS"]
    assert await door.bring(batch_of(second, third)) == ["SUCCESS"]
    assert [str(envelope.id) for envelope in line.listener.taken] == [
        one["id"] for one in (first, second, second, third)
    ]


@pytest.mark.parametrize("data", [b"{", b"{}", b"7", b"\xff", b"[", b""])
async def test_what_only_says_that_it_is_a_batch_is_kept(door: Door, line: Line, data: bytes) -> None:
    assert await door.bring(batch_of() | {"data_base64": base64.b64encode(data).decode()}) == ["SUCCESS"]
    ((reason, type_),) = await line.ask("select reason, type from dead_letter")
    assert reason.startswith("unreadable")
    assert type_ == "tenant.changed.batch"


async def test_a_batch_that_the_previous_version_kept_is_replayed_as_its_events(line: Line) -> None:
    """Both versions run side by side for a while, and the previous one does not know this type."""
    line.listener.refuse[2] = Invalid("never")
    batch = batch_of(*(in_a_batch(cloud_event(line.listener, number)) for number in range(4)))
    await line.ask(
        "insert into dead_letter (id, event_id, type, source, subscriber, tenant, mode, partition_key, payload,"
        " created_at, attempts, reason)"
        f" values (gen_random_uuid(), '{batch['id']}', '{batch['type']}', 'access', 'delivery', 7, 1, 'k',"
        f" decode('{batch['data_base64']}', 'base64'), now(), 1, 'delivery subscribes to no tenant.changed.batch')"
    )
    somebody = Principal(7, Mode.LIVE, "key", frozenset())
    letters = DeadLetters(line.keeper, "delivery")
    done = await letters.replay(somebody, Wanted(7, int(Mode.LIVE)), 10, datetime.now(UTC))
    assert len(done.ids) == 1
    assert await Relay(line.keeper, [line.listener.subscriber()]).redeliver_once() == 4
    assert line.listener.numbers == [0, 1, 3]
    assert [row["reason"] for row in await line.ask("select reason from dead_letter")] == ["invalid: never"]
