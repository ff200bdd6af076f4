"""If the sidecar fails, lies or is a stranger, nothing committed is lost and nothing loops."""

import asyncio
import base64
import json
from datetime import UTC, datetime
from uuid import uuid4

import httpx
import pytest

from libs import alone
from libs.contracts.bounce import SuppressionChanged
from libs.contracts.envelope import encode
from libs.errors import Invalid, Unavailable
from libs.messaging.dapr import DaprRelay, Sidecar, sidecar_here, sidecar_of
from libs.messaging.routes import Intake
from libs.service import Runtime
from services.delivery.app import create_service as delivery
from tests.conformance.bus_promises import Line
from tests.flows.dapr_world import TOKENS, Broker, Door, cloud_event, door, events_in, line, relay_to, waiting
from tests.shell import serving

__all__ = ["door", "line"]


@pytest.mark.parametrize(
    "answer",
    [
        (500, b'{"failedEntries":[{"entryId":"1","error":"broker"}],"errorCode":"ERR_PUBSUB_PUBLISH_MESSAGE"}'),
        (200, b'{"failedEntries":[{"entryId":"1","error":"broker"}]}'),
        (401, b""),
        (404, b""),
    ],
)
async def test_what_the_sidecar_did_not_take_whole_goes_out_again_whole(line: Line, answer: tuple[int, bytes]) -> None:
    broker = Broker()
    broker.answers = [answer]
    await line.publish(0, 1, 2)
    with serving(broker.application()) as url:
        async with relay_to(line, url) as relay:
            with pytest.raises(Unavailable):
                await relay.publish_once()
            assert await waiting(line) == 3
            await relay.publish_once()
    first, second = ([events_in(entry) for entry in batch] for batch in broker.batches)
    assert first == second
    assert await waiting(line) == 0


async def test_a_sidecar_that_hangs_or_is_away_does_not_hang_us(line: Line) -> None:
    broker = Broker()
    broker.free.clear()
    await line.publish(1)
    with serving(broker.application()) as url:
        try:
            async with relay_to(line, url, seconds=0.3) as relay:
                with pytest.raises(Unavailable):
                    await relay.publish_once()  # while the sidecar still hangs
        finally:
            broker.free.set()
    async with relay_to(line, "http://127.0.0.1:9") as relay:
        with pytest.raises(Unavailable):
            await relay.publish_once()
    assert await waiting(line) == 1


@pytest.mark.parametrize("token", ["", "a guess", "to the applicatioN", "é"])
async def test_a_stranger_brings_nothing_and_learns_nothing(door: Door, line: Line, token: str) -> None:
    headers = {b"dapr-api-token": token.encode("latin-1")}
    body = json.dumps({"entries": [{"entryId": "0", "event": cloud_event(line.listener, 1)}]})
    answer = await door.client.post("/dapr/events/tenant.changed.v1", content=body, headers=headers)
    assert answer.status_code == 401
    assert (await door.client.get("/dapr/subscribe", headers=headers)).status_code == 401
    assert line.listener.taken == []


async def test_every_subscription_is_in_bulk_and_has_a_dead_letter_topic_that_comes_back_to_us(door: Door) -> None:
    answer = await door.client.get("/dapr/subscribe", headers={"dapr-api-token": TOKENS["app_token"]})
    wanted, dead = answer.json()
    assert (wanted["topic"], wanted["routes"]) == ("tenant.changed.v1", {"default": "/dapr/events/tenant.changed.v1"})
    assert wanted["deadLetterTopic"] == dead["topic"] == "delivery.dead"
    assert wanted["bulkSubscribe"]["enabled"]
    assert dead["bulkSubscribe"]["enabled"]
    assert dead["deadLetterTopic"] == dead["topic"]  # nothing is dropped while the database is unavailable
    assert dead["metadata"] == {"rawPayload": "true"}  # invalid JSON is delivered too


async def test_poison_is_kept_with_its_reason_and_its_neighbour_is_taken(door: Door, line: Line) -> None:
    good = cloud_event(line.listener, 1)
    poison = [
        "no event", None, {}, good | {"id": "not a uuid"}, good | {"mode": 9}, good | {"data_base64": "%"},
        good | {"type": "nobody.declared"}, good | {"time": "yesterday"}, good | {"tenant": 10**9},
        good | {"type": "a\0type"}, good | {"subject": 7}, good | {"data_base64": base64.b64encode(b"{").decode()},
    ]  # fmt: skip
    assert await door.bring(*poison, good) == ["SUCCESS"] * (len(poison) + 1)
    assert line.listener.numbers == [1]
    letters = await line.ask("select reason from dead_letter")
    assert len(letters) == len(poison)
    assert all(letter["reason"] for letter in letters)


async def test_what_the_sidecar_gave_up_comes_back_unread_and_is_taken_or_kept(door: Door, line: Line) -> None:
    good = json.dumps(cloud_event(line.listener, 1)).encode()
    given_up = [base64.b64encode(raw).decode() for raw in (good, b"no JSON", b"\xff\0")]
    assert await door.bring(*given_up) == ["SUCCESS"] * 3
    assert line.listener.numbers == [1]
    assert len(await line.ask("select from dead_letter where reason like 'unreadable%'")) == 2


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"entries": 7}', b'{"entries": [{}]}', b"\xff\0"])
async def test_what_is_no_batch_is_kept_not_refused(door: Door, line: Line, body: bytes) -> None:
    answer = await door.post(body)
    assert (answer.status_code, answer.json()) == (200, {"status": "SUCCESS"})
    assert len(await line.ask("select from dead_letter")) == 1


async def test_what_cannot_even_be_kept_is_wanted_again(door: Door, line: Line) -> None:
    line.listener.refuse[1] = Unavailable("later")
    await line.ask("alter table outbox_delivery rename to away")
    assert await door.bring(cloud_event(line.listener, 1), cloud_event(line.listener, 2)) == ["RETRY", "RETRY"]
    assert await line.ask("select from outbox") == []


async def test_what_the_handler_did_not_take_is_owed_and_not_held_against_its_neighbours(
    door: Door, line: Line
) -> None:
    line.listener.refuse[1] = Unavailable("later")
    events = [cloud_event(line.listener, number) for number in range(3)]
    assert await door.bring(*events) == ["SUCCESS"] * 3
    assert line.listener.numbers == [0, 2]
    ((event_id, attempts),) = await line.ask(
        "select event_id, attempts from outbox o join outbox_delivery d on d.outbox_id = o.id"
    )
    assert (str(event_id), attempts) == (events[1]["id"], 1)
    line.listener.refuse.clear()
    await line.hurry()
    nobody = Sidecar("http://127.0.0.1:9", **TOKENS)  # owed events need no broker
    assert await DaprRelay(line.keeper, [line.listener.subscriber()], sidecar=nobody).redeliver_once() == 1
    assert line.listener.numbers == [0, 2, 1]
    assert await line.ask("select from outbox") == []


async def test_a_batch_that_comes_again_while_the_first_still_runs_bars_an_address_once(
    runtime: Runtime, line: Line
) -> None:
    service = delivery(runtime)
    event = SuppressionChanged(
        suppression_id=uuid4(), address_hash=bytes(32), scope="all", reason="suppressed_bounce", active=True, version=1,
        at=datetime.now(UTC),
    )  # fmt: skip
    data = base64.b64encode(encode(event)).decode()
    twin = cloud_event(line.listener, 1, type=event.TYPE, source="bounce", data_base64=data)
    async with service.running():
        assert service.database is not None
        intake = Intake(service.name, service.database, service.subscribers())
        assert await asyncio.gather(*(intake.take([twin, twin]) for _ in range(8))) == ["SUCCESS"] * 8
    assert len(await line.ask("select from suppression")) == 1
    assert await line.ask("select from outbox_delivery") == await line.ask("select from dead_letter") == []


async def test_who_runs_the_loops_takes_the_events_and_who_answers_the_api_does_not(runtime: Runtime) -> None:
    object.__setattr__(runtime, "sidecar", Sidecar("", **TOKENS))
    service = delivery(runtime)
    for events, status in ((True, 200), (False, 404)):
        app = alone.create_app(service, api=True, events=events)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
            answer = await client.get("/dapr/subscribe", headers={"dapr-api-token": TOKENS["app_token"]})
            assert answer.status_code == status
    assert service.database is not None
    wanted = Intake("delivery", service.database, service.subscribers()).subscriptions("bus")
    assert {one["topic"] for one in wanted} == {event.topic() for event in service.subscriptions} | {"delivery.dead"}


def test_a_sidecar_without_tokens_is_refused_before_anything_runs() -> None:
    with pytest.raises(Invalid) as refused:
        sidecar_of({"DAPR_HTTP_PORT": "3500"}, "bus")
    assert [error.pointer for error in refused.value.errors] == ["APP_API_TOKEN"]
    with pytest.raises(Invalid):
        sidecar_of({"DAPR_HTTP_PORT": "a port", "APP_API_TOKEN": "x"}, "bus")
    assert sidecar_of({"APP_API_TOKEN": "x"}, "bus").url == "http://127.0.0.1:3500"
    assert sidecar_here("embedded", "bus") is None
