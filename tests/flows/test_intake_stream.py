"""NDJSON: a verdict for every line, whatever it contains, and nothing half-written."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from libs import exact_json
from libs.errors import Unavailable
from libs.service import Runtime
from libs.service_client import Transport
from tests.flows.intake import Intake, event, intake

NDJSON = "application/x-ndjson"


@pytest.fixture
async def shop(runtime: Runtime, transports: dict[str, Transport]) -> AsyncIterator[Intake]:
    small = {"event_max_bytes": 4_096, "stream_max_lines": 1_300, "stream_commit_lines": 200}
    async with intake(runtime, transports, **small) as running:
        yield running


async def stream(shop: Intake, body: bytes) -> list[dict[str, Any]]:
    answer = await shop.post("/v1/events", body, content_type=NDJSON)
    assert answer.status_code == 202, answer.text
    assert answer.headers["content-type"] == NDJSON
    return [exact_json.loads(line) for line in answer.content.splitlines()]


def lines(*documents: Any) -> bytes:
    return b"".join(exact_json.dumps(document) + b"\n" for document in documents)


async def test_a_thousand_events_in_one_stream_are_taken_in_with_a_verdict_each(shop: Intake) -> None:
    body = lines(*(event(f"e{n % 950}") for n in range(1_000)))
    verdicts = await stream(shop, body)
    assert [v["line"] for v in verdicts] == list(range(1, 1_001))
    assert sum(v["status"] == "accepted" for v in verdicts) == 950
    assert {v["status"] for v in verdicts[950:]} == {"duplicate"}
    assert verdicts[999]["id"] == verdicts[49]["id"]
    assert await shop.count("event") == 950
    assert len(await shop.outbox("notification.requested")) == 950


async def test_every_hostile_line_is_refused_alone(shop: Intake) -> None:
    hostile = [
        b"{",
        b'{"specversion":"1.0","type":"t","source":"/s","id":"1","id":"2"}',
        b'{"specversion":"1.0","type":"t","source":"/s","id":"1","data":NaN}',
        b'{"specversion":"1.0","type":"t","source":"/s","id":"1","data":"\\ud800"}',
        b'{"specversion":"1.0","type":"t","source":"/s","id":"1","data":"\\u0000"}',
        b'{"specversion":"1.0","type":"t","source":"/s","id":"1","data":' + b"[" * 1_000 + b"]" * 1_000 + b"}",
        b'{"specversion":"1.0","type":"t","source":"/s","id":"1","data":"' + b"x" * 5_000 + b'"}',
        b'{"specversion":"1.0","type":"t","source":"/s","id":"\xff"}',
        b'"an event"',
        b"null",
    ]
    body = lines(event("first")) + b"\n".join(hostile) + b"\r\n\r\n" + lines(event("last")).rstrip()
    verdicts = await stream(shop, body)
    assert [v["status"] for v in verdicts] == ["accepted"] + ["rejected"] * len(hostile) + ["accepted"]
    assert verdicts[-1]["line"] == len(hostile) + 3  # the empty line counts, and has no verdict
    assert all(v["detail"] and v["errors"] for v in verdicts[1:-1])
    assert await shop.count("event") == 2


async def test_a_line_over_the_limit_ends_the_taking_and_says_so(shop: Intake) -> None:
    verdicts = await stream(shop, lines(*(event(f"e{n}") for n in range(1_310))))
    assert len(verdicts) == 1_301
    assert verdicts[-1]["status"] == "rejected"
    assert await shop.count("event") == 1_300


async def test_an_event_that_misses_its_schema_is_kept_among_the_others(shop: Intake) -> None:
    await shop.put("/v1/event-types/order.placed", {"schema": {"required": ["number"]}})
    verdicts = await stream(shop, lines(event("a"), event("b", data={"number": "5", "customer_id": "1"})))
    assert [v["status"] for v in verdicts] == ["rejected", "accepted"]
    assert (verdicts[0]["reason"], verdicts[0]["pointer"]) == ("schema_invalid", "/data")
    (kept,) = (await shop.get("/v1/rejections")).json()["items"]
    assert kept["id"] == verdicts[0]["id"]
    assert kept["event_id"] == "a"


async def test_the_same_id_of_two_sources_is_two_events_also_where_both_are_kept(shop: Intake) -> None:
    await shop.put("/v1/event-types/order.placed", {"schema": {"required": ["number"]}})
    twins = [event("a", source=source) for source in ("/erp", "/shop", "/erp")]
    verdicts = await stream(shop, lines(*twins))
    assert {v["reason"] for v in verdicts} == {"schema_invalid"}
    kept = (await shop.get("/v1/rejections")).json()["items"]
    assert sorted(one["times"] for one in kept) == [1, 2]


async def test_what_could_not_be_committed_is_said_and_absorbed_when_sent_again(shop: Intake) -> None:
    events, original = shop.service.deps.events, shop.service.deps.events.store
    calls = 0

    async def failing(*batch: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise Unavailable("Postgres does not answer", retry_after=0.01)
        return await original(*batch)

    events.store = failing
    body = lines(*(event(f"e{n}") for n in range(300)))
    verdicts = await stream(shop, body)
    assert [v["status"] for v in verdicts] == ["accepted"] * 200 + ["unavailable"] * 100
    del events.store
    again = await stream(shop, body)
    assert [v["status"] for v in again] == ["duplicate"] * 200 + ["accepted"] * 100
    assert len(await shop.outbox("notification.requested")) == 300


async def test_an_empty_stream_has_no_verdicts(shop: Intake) -> None:
    assert await stream(shop, b"\n\n") == []
