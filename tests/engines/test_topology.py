"""Production's topology on one machine: one event through every program, and its trace in Jaeger."""

import asyncio
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

from examples.shop.trace import LAST, trace_of
from services.topology import PROGRAMS
from tests.engines.topology_world import Town, town_of
from tests.flows.test_trace import CUSTOMER, ORDER, SECRETS, SHOPS_SPAN, TRACE
from tests.flows.whole_suite import Suite, open_shop

pytestmark = pytest.mark.timeout(600)  # thirty processes start

_PATIENCE = 150.0
_SERVICES = ("orders-notification-api", "orders-notification-worker", "delivery-worker", "history-worker")


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    with town_of(tmp_path_factory.mktemp("topology"), "redis") as town:
        asyncio.run(_opened(town))
        yield town


async def _opened(town: Town) -> None:
    """The example shop, and a reachable customer."""
    async with town.suite() as suite:
        await open_shop(suite)
        await suite.put("/tokens/v1/recipients/customer:77", CUSTOMER)


class Trace:
    """A trace from Jaeger's query API."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.spans: list[dict[str, Any]] = told["spans"]
        self._services = {id_: process["serviceName"] for id_, process in told["processes"].items()}

    def of(self, operation: str, service: str) -> dict[str, Any]:
        """The one span with this name of this service."""
        found = self.all_of(operation, service)
        assert len(found) == 1, (operation, service, sorted(self.names()))
        return found[0]

    def all_of(self, operation: str, service: str) -> list[dict[str, Any]]:
        return [one for one in self.spans if (self.service(one), one["operationName"]) == (service, operation)]

    def below(self, span: dict[str, Any]) -> list[dict[str, Any]]:
        return [one for one in self.spans if parent(one) == span["spanID"]]

    def gaps(self, *outside: str) -> set[tuple[str, str]]:
        """Spans whose parent is neither in the trace nor one of `outside`. A head has none."""
        known = {None, *outside} | {span["spanID"] for span in self.spans}
        lost = [span for span in self.spans if parent(span) not in known]
        return {(self.service(span), span["operationName"]) for span in lost}

    def service(self, span: dict[str, Any]) -> str:
        return str(self._services[span["processID"]])

    def names(self) -> set[tuple[str, str]]:
        return {(self.service(span), span["operationName"]) for span in self.spans}


def parent(span: dict[str, Any]) -> str | None:
    return next((one["spanID"] for one in span["references"] if one["refType"] == "CHILD_OF"), None)


def tags(span: dict[str, Any]) -> dict[str, Any]:
    return {tag["key"]: tag["value"] for tag in span["tags"]}


async def whole(town: Town, trace: str, last: set[tuple[str, str]]) -> Trace:
    """Wait for a trace with these spans and all their parents: each process exports every few seconds."""
    port = town.processes()["jaeger"]["port"]
    until = time.monotonic() + _PATIENCE
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False) as jaeger:
        while True:
            answer = await jaeger.get(f"/api/traces/{trace}")
            told = Trace(answer.json()["data"][0]) if answer.status_code == 200 else None
            if told and ((last <= told.names() and not told.gaps(SHOPS_SPAN)) or time.monotonic() > until):
                return told
            assert time.monotonic() < until, answer.text
            await asyncio.sleep(0.5)


async def ordered(suite: Suite, id_: str, order: str, **headers: str) -> Any:
    """Send an order as the shop; return the response."""
    event = {
        "specversion": "1.0", "id": id_, "source": "https://shop.example", "type": "order.placed", "subject": order,
        "data": ORDER,
    }  # fmt: skip
    kind = {"content-type": "application/cloudevents+json"}
    return await suite.post("/orders-notification/v1/events", event, **kind, **headers)


async def sent(suite: Suite, order: str) -> Any:
    """Return the answer to `why` once history knows that the message was sent."""

    async def told() -> Any:
        answer = await suite.client.get("/history/v1/why", params={"order": order})
        if answer.status_code == 503:  # a month's index has just been created
            return None
        why = answer.json()
        return why if why["verdict"] == "sent" and why["messages"] else None

    return await suite.eventually(told, _PATIENCE)


async def test_one_event_through_every_program_is_one_unbroken_trace(town: Town) -> None:
    async with town.suite() as suite:
        taken = await ordered(suite, "traced-1", "T-1", traceparent=f"00-{TRACE}-{SHOPS_SPAN}-01")
        why = await sent(suite, "T-1")
        (message,) = why["messages"]
        assert "T-1" in json.dumps(town.simulator("messages"))
    api, own, worker, history = (f"depesche-{name}" for name in _SERVICES)
    last = {
        (api, "POST /orders-notification/v1/events"),
        ("depesche-tokens-api", "POST /tokens/v1/recipients:resolve"),
        (worker, "chunk"),
        (history, "history message.recorded"),
    }
    trace = await whole(town, TRACE, last)
    intake = trace.of("POST /orders-notification/v1/events", api)
    assert parent(intake) == SHOPS_SPAN
    for service, step in (
        (api, "accept"),
        (own, "publish notification.requested.v1"),  # out of the outbox, to the sidecar
        (own, "publish decision.recorded.v1"),
        (worker, "delivery notification.requested"),  # from the sidecar, into the ledger
        (history, "history decision.recorded"),
        (worker, "chunk"),
        (worker, "publish message.recorded.v1"),
        (history, "history message.recorded"),
    ):
        steps = trace.all_of(step, service)
        assert steps, step
        assert {parent(span) for span in steps} == {intake["spanID"]}, step
    sidecars = trace.below(trace.of("publish notification.requested.v1", own))
    assert {trace.service(span) for span in sidecars} == {"orders-notification-worker"}
    chunk = trace.of("chunk", worker)
    for step in ("prepare", "claim", "call email", "record"):
        assert parent(trace.of(step, worker)) == chunk["spanID"], step
    # a call between services passes the caller's sidecar and the callee's
    above = trace.of("POST /tokens/v1/recipients:resolve", "depesche-tokens-api")
    ways = []
    while above["operationName"] != "prepare":
        above = next(span for span in trace.spans if span["spanID"] == parent(above))
        ways.append(trace.service(above))
    assert ways == ["tokens", "delivery-worker", worker]
    assert trace.gaps(SHOPS_SPAN) == set()
    assert all(parent(span) for span in trace.spans)
    assert tags(chunk)["cause_id"] == tags(trace.of("accept", api))["cause_id"] == taken["id"]
    assert tags(chunk)["request_id"]
    assert message.startswith(f"{tags(trace.of('call email', worker))['notification_id']}.")
    assert [secret for secret in SECRETS if secret in json.dumps(trace.spans)] == []


async def test_the_demo_draws_the_trace_of_one_send(town: Town) -> None:
    async with town.suite() as suite:
        await ordered(suite, "drawn-1", "D-1")
        (event,) = (await suite.get("/orders-notification/v1/events", subject="D-1"))["items"]
        tree = await asyncio.to_thread(
            trace_of, f"http://127.0.0.1:{town.processes()['jaeger']['port']}", event["trace_id"]
        )
        console = Console(width=200, no_color=True)
        with console.capture() as drawn:
            console.print(tree)
        lines = drawn.get().splitlines()
        assert re.match(rf"trace {event['trace_id']}: {len(lines) - 1} spans of \d+ programs", lines[0])
        assert "POST /orders-notification/v1/events  depesche-orders-notification-api, at 0 ms" in lines[1]
        depths = {
            name: next(line.index(name) for line in lines if name in line) for name in ("chunk", "call email", LAST)
        }
        assert depths["call email"] > depths["chunk"] == depths[LAST]
        why = await sent(suite, "D-1")
        assert why["links"]["trace"].endswith(f"/api/traces/{event['trace_id']}")
        async with httpx.AsyncClient(timeout=20, trust_env=False) as reader:
            assert (await reader.get(why["links"]["trace"])).json()["data"][0]["traceID"] == event["trace_id"]


async def test_a_batch_of_events_is_linked_to_each_events_trace(town: Town) -> None:
    count = 40
    async with town.suite() as suite:
        event = {"specversion": "1.0", "source": "https://shop.example", "type": "order.placed", "data": ORDER}
        lines = "\n".join(json.dumps(event | {"id": f"many-{n}", "subject": f"M-{n}"}) for n in range(count))
        kind = {"content-type": "application/x-ndjson"}
        answer = await suite.client.post("/orders-notification/v1/events", content=lines, headers=kind)
        assert answer.status_code == 202, answer.text
        listed = await suite.get("/orders-notification/v1/events", limit=100)
        shown = [await suite.get(f"/orders-notification/v1/events/{item['id']}") for item in listed["items"]]
        traces = {one["trace_id"] for one in shown if one["subject"].startswith("M-")}
        assert len(traces) == count
        port = town.processes()["jaeger"]["port"]

        async def linked() -> bool:
            query = {
                "service": "depesche-delivery-worker",
                "operation": "delivery notification.requested",
                "limit": 500,
            }
            async with httpx.AsyncClient(timeout=20, trust_env=False) as jaeger:
                told = (await jaeger.get(f"http://127.0.0.1:{port}/api/traces", params=query)).json()["data"]
            return traces <= {trace for one in told for trace in _reached(one)}

        await suite.eventually(linked, _PATIENCE)
    (one, *_) = traces
    trace = await whole(town, one, {("depesche-orders-notification-api", "event")})
    event = trace.of("event", "depesche-orders-notification-api")
    assert parent(event) is None  # its span is there, and all that followed hangs below it
    assert trace.gaps() == set()


def _reached(trace: dict[str, Any]) -> set[str]:
    """The traces that contain these spans or are linked to them."""
    links = {one["traceID"] for span in trace["spans"] for one in span["references"]}
    return links | {trace["traceID"]}


async def test_every_program_has_a_sidecar_and_both_refuse_strangers(town: Town) -> None:
    running = town.processes()
    async with httpx.AsyncClient(timeout=20, trust_env=False) as stranger:
        for program in PROGRAMS:
            app, sidecar = running[program.app_id], running[f"daprd-{program.app_id}"]
            assert app["alive"]
            assert sidecar["alive"]
            base = f"http://127.0.0.1:{sidecar['port']}/v1.0"
            for path in ("/publish/bus/tenant.changed.v1", "/invoke/tokens/method/v1/recipients:resolve"):
                assert (await stranger.post(base + path, json={})).status_code == 401
            if program.subscribes:
                events = f"http://127.0.0.1:{app['port']}/dapr/events/tenant.changed.v1"
                assert (await stranger.post(events, json={"entries": []})).status_code == 401


async def test_a_killed_sidecar_is_restarted(town: Town) -> None:
    before = town.kill("daprd-tokens")
    async with town.suite() as suite:

        async def back() -> bool:
            sidecar = town.processes()["daprd-tokens"]
            return bool(sidecar["pid"] != before and sidecar["alive"] and sidecar["restarts"])

        await suite.eventually(back, _PATIENCE)
        await ordered(suite, "after-1", "A-1")
        assert (await sent(suite, "A-1"))["order"] == "A-1"


def test_ctrl_c_stops_everything_cleanly_and_leaves_nothing_behind(town: Town) -> None:
    names = list(town.processes())
    assert len(names) == 4 + 1 + 2 * len(PROGRAMS) + 1  # engines, simulator, programs and sidecars, ingress
    assert town.stop() == 0, Path(town.folder / "errors.txt").read_text()
    assert town.left() == []
    assert not (town.folder / "suite.json").exists()
    for program in PROGRAMS:
        ended = (town.folder / "logs" / f"{program.app_id}.log").read_text().splitlines()[-1]
        assert json.loads(ended)["event"] == "service_stopped", ended
