"""One trace per cause: from the shop's own span through intake, outbox, queue and provider to history."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
import yaml
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from libs.telemetry.logs import processors
from tests.flows.whole_suite import SHOP, Suite, whole_suite

_OLDEST_DUE = 'depesche_delivery_oldest_due_seconds{lane="transactional"}'
TRACE = "0af7651916cd43dd8448eb211c80319c"
SHOPS_SPAN = "b7ad6b7169203331"
SECRETS = ("ada.traced@mail.example", "ada.traced", "+4915220000077", "15220000077", "device-token-of-ada", "Lovelace")
CUSTOMER = {
    "first_name": "Ada",
    "last_name": "Lovelace",
    "locale": "de-AT",
    "emails": [SECRETS[0]],
    "phones": [SECRETS[2]],
}
ORDER = {
    "customer": "customer:77",
    "order_id": 17,
    "total": "19.90",
    "currency": "EUR",
    "items": [{"name": "Lampe", "quantity": 1}],
}


@pytest.fixture
def written() -> Iterator[list[str]]:
    """Yield every log line, as it would be written."""
    lines: list[str] = []

    def keep(_: Any, __: str, event: Any) -> str:
        lines.append(json.dumps(event, default=str))
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[*processors("test"), keep], wrapper_class=structlog.BoundLogger)
    yield lines
    structlog.configure(**before)


@pytest.fixture
async def suite(database: str, tmp_path: Path) -> AsyncIterator[Suite]:
    """Yield the shop with its order confirmation, and a reachable customer."""
    async with whole_suite(database, tmp_path) as running:
        await define(running)
        yield running


async def define(suite: Suite) -> None:
    for kind, path in (
        ("topic", "/access/v1/topics"),
        ("event-type", "/orders-notification/v1/event-types"),
        ("template", "/templates/v1/templates"),
        ("communication", "/orders-notification/v1/communications"),
    ):
        for document in yaml.safe_load_all((SHOP / f"{kind}s.yaml").read_text(encoding="utf-8")):
            name = document.pop("name", None) or document.pop("type")
            del document["kind"]
            await suite.put(f"{path}/{name}", document)
            if kind in ("template", "communication"):
                await suite.post(f"{path}/{name}:publish")
    await suite.put("/tokens/v1/recipients/customer:77", CUSTOMER)


async def order(suite: Suite, **headers: str) -> Any:
    """Send an order as the shop; return the response once history knows that the mail was sent."""
    event = {
        "specversion": "1.0", "id": "traced-1", "source": "https://shop.example", "type": "order.placed",
        "subject": "T-1", "data": ORDER,
    }  # fmt: skip
    kind = {"content-type": "application/cloudevents+json"}
    taken = await suite.post("/orders-notification/v1/events", event, **kind, **headers)

    async def told() -> Any:
        answer = await suite.get("/history/v1/why", order="T-1")
        return answer["verdict"] == "sent" and answer["messages"]

    await suite.eventually(told)
    return taken


def of_the_trace(exporter: InMemorySpanExporter, trace: str) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans() if f"{span.context.trace_id:032x}" == trace}


def parent_of(span: ReadableSpan) -> str | None:
    return f"{span.parent.span_id:016x}" if span.parent else None


def id_of(span: ReadableSpan) -> str:
    return f"{span.context.span_id:016x}"


async def test_every_step_of_a_message_is_in_the_trace_of_the_event_that_caused_it(
    spans: InMemorySpanExporter, suite: Suite
) -> None:
    taken = await order(suite, traceparent=f"00-{TRACE}-{SHOPS_SPAN}-01")

    steps = ("accept", "delivery notification.requested", "history decision.recorded", "chunk")

    async def whole() -> bool:
        return {"history message.recorded", *steps} <= of_the_trace(spans, TRACE).keys()

    await suite.eventually(whole)
    line = of_the_trace(spans, TRACE)
    intake = line["POST /orders-notification/v1/events"]
    assert parent_of(intake) == SHOPS_SPAN
    for step in steps:
        assert parent_of(line[step]) == id_of(intake), step
    for step in ("prepare", "claim", "call email", "record"):
        assert parent_of(line[step]) == id_of(line["chunk"]), step
    assert parent_of(line["POST /tokens/v1/recipients:resolve"]) == id_of(line["prepare"])
    assert parent_of(line["history message.recorded"]) == id_of(intake)
    assert dict(line["chunk"].attributes or {})["cause_id"] == taken["id"]
    assert dict(line["call email"].attributes or {})["notification_id"]
    assert "depesche.slow" not in dict(line["call email"].attributes or {})
    assert dict(line["record"].attributes or {})["depesche.outcome"] == "sent"
    shown = await suite.get(f"/orders-notification/v1/events/{taken['id']}")
    assert shown["trace_id"] == TRACE


async def test_spans_log_lines_and_figures_tell_all_and_name_nobody(
    written: list[str], spans: InMemorySpanExporter, suite: Suite
) -> None:
    await order(suite)
    # failures are logged too: a mail that is not a report, an unknown source, Postgres' own words
    await suite.client.post("/bounce/v1/mails", content=f"To: {SECRETS[0]}\r\n\r\nno report".encode())
    await suite.client.post("/orders-notification/v1/sources/none", content=json.dumps(CUSTOMER))
    structlog.get_logger("test").error("words_of_others", error=f"Key (value)=({SECRETS[0]}) exists", email=SECRETS[0])

    async def measured() -> str | None:
        figures = (await suite.client.get("/metrics")).text
        lags = [f'depesche_outbox_lag_seconds{{service="{name}"}}' for name in suite.services]
        return figures if all(figure in figures for figure in (*lags, _OLDEST_DUE)) else None

    figures = await suite.eventually(measured)  # each has a loop of its own
    told = [
        json.dumps([span.name, dict(span.attributes or {}), [str(e.attributes) for e in span.events]], default=str)
        for span in spans.get_finished_spans()
    ]
    assert len(told) > 20
    assert 'depesche_delivery_messages_total{channel="email",reason="none",status="sent"}' in figures
    assert 'depesche_http_requests_total{route="/v1/events",service="orders-notification",status="202"}' in figures
    assert any("words_of_others" in line for line in written)
    assert [line for line in [*told, *written, figures] if any(secret in line for secret in SECRETS)] == []


async def test_without_an_exporter_each_event_keeps_its_trace_all_the_same(suite: Suite) -> None:
    taken = await order(suite, traceparent=f"00-{TRACE}-{SHOPS_SPAN}-01")
    async with suite.services["delivery"].database.acquire() as connection:  # type: ignore[union-attr]
        stored = await connection.fetchval("select traceparent from request where cause_id = $1", taken["id"])
    assert stored.split("-")[1] == TRACE
    # a stream's request has one trace; each of its events starts a trace of its own
    event = {"specversion": "1.0", "source": "https://shop.example", "type": "order.placed", "data": ORDER}
    lines = "\n".join(json.dumps(event | {"id": f"s-{n}", "subject": f"S-{n}"}) for n in range(3))
    kind = {"content-type": "application/x-ndjson"}
    answer = await suite.client.post("/orders-notification/v1/events", content=lines, headers=kind)
    assert answer.status_code == 202, answer.text
    listed = await suite.get("/orders-notification/v1/events")
    shown = [await suite.get(f"/orders-notification/v1/events/{item['id']}") for item in listed["items"]]
    assert len({one["trace_id"] for one in shown}) == 4
