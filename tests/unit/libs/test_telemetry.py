"""Trace ids without an exporter, batches and their traces, log lines without addresses, metrics across processes."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from libs.auth import public
from libs.keyring import Keyring
from libs.service import Runtime, Service
from libs.telemetry import batch_span, current_trace_id, current_traceparent, new_trace, one_of, span
from libs.telemetry.logs import processors
from libs.telemetry.metrics import FOLDER_VARIABLE, forget_process, make_folder
from libs.telemetry.tracing import MOST_LINKS, mark_outcome, record_with, sampler_of
from libs.web import Router

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
OTHER = "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def written(**fields: Any) -> dict[str, Any]:
    """Render a log line with these fields."""
    line: Any = {"event": "tried", **fields}
    for process in processors("test"):
        line = process(None, "info", line)
    return dict(line)


def test_a_span_without_an_exporter_still_has_its_trace() -> None:
    assert current_traceparent() is None
    with span("outer", parent=PARENT):
        assert current_trace_id() == TRACE
        above = current_traceparent()
        with span("inner"):
            assert current_trace_id() == TRACE
            assert current_traceparent() != above
    assert current_traceparent() is None


def test_a_span_without_a_parent_starts_a_new_trace() -> None:
    with span("one"):
        first = current_traceparent()
    with span("two"):
        assert str(current_trace_id()) not in str(first)
    assert first is not None
    assert first.endswith("-01")


def test_each_event_of_a_batch_gets_a_trace_with_a_recorded_root(
    request: pytest.FixtureRequest,
) -> None:
    """Otherwise all that follows would hang below a parent that was never exported."""
    unrecorded = {new_trace("event")[3:35] for _ in range(2)}
    spans: InMemorySpanExporter = request.getfixturevalue("spans")
    with span("request", parent=PARENT):
        told = [new_trace("event", cause_id=n) for n in range(2)]
    *made, around = spans.get_finished_spans()
    assert [f"00-{one.context.trace_id:032x}-{one.context.span_id:016x}" for one in made] == [one[:52] for one in told]
    assert {one.parent for one in made} == {None}
    assert {link.context.span_id for one in made for link in one.links} == {around.context.span_id}
    assert len({TRACE, *unrecorded, *(one[3:35] for one in told)}) == 5


@pytest.mark.parametrize(
    "given",
    [
        "",
        "00",
        "x" * 55,
        PARENT[:-3],
        PARENT.replace("00-", "ff-", 1),
        f"00-{'0' * 32}-{'1' * 16}-01",
        "00-" + "-" * 52,
    ],
)
def test_an_invalid_traceparent_starts_a_new_trace(given: str) -> None:
    with span("hostile", parent=given):
        assert current_trace_id() not in (None, "0" * 32, TRACE)


def test_a_batch_belongs_to_the_trace_that_its_entries_share(spans: InMemorySpanExporter) -> None:
    with batch_span("same", [PARENT, None, PARENT]):
        assert current_trace_id() == TRACE
    with batch_span("mixed", [PARENT, OTHER]):
        assert current_trace_id() not in (TRACE, OTHER[3:35])
    with batch_span("many", [f"00-{n:032x}-{n:016x}-01" for n in range(1, 501)]):
        pass
    same, mixed, many = spans.get_finished_spans()
    assert (len(same.links), len(mixed.links), len(many.links)) == (0, 2, MOST_LINKS)


def test_a_span_records_an_errors_type_but_not_its_message(spans: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="ada"), span("fails", error_text="for ada@mail.example", absent=None):
        raise ValueError("ada@mail.example")
    (failed,) = spans.get_finished_spans()
    assert failed.status.description == "ValueError"
    assert "ada@" not in failed.to_json()
    assert "absent" not in (failed.attributes or {})


def test_one_of_returns_the_value_all_share() -> None:
    assert [one_of([]), one_of([1, 1]), one_of([1, 2])] == [None, 1, None]


def test_a_log_line_has_its_trace_and_no_address() -> None:
    with span("line", parent=PARENT):
        line = written(
            notification_id="n-1",
            email="ada@mail.example",
            detail="550 5.1.1 <ada@mail.example> unknown; call +4915220000001",
        )
    assert (line["trace_id"], line["notification_id"]) == (TRACE, "n-1")
    assert (line["email"], line["detail"]) == ("[left out]", "550 5.1.1 <address> unknown; call <number>")


def test_a_traceback_is_logged_without_its_addresses() -> None:
    try:
        raise ValueError("Key (value)=(ada@mail.example) already exists")
    except ValueError as error:
        line = written(exc_info=error)
    assert "ValueError" in line["exception"]
    assert "ada@" not in json.dumps(line)


async def test_a_bug_is_answered_and_logged_with_its_trace(tmp_path: Path) -> None:
    router = Router(prefix="/v1")

    @router.get("/broken", dependencies=[public()])
    async def broken() -> None:
        raise ZeroDivisionError("ada@mail.example")

    runtime = Runtime(dsn="", keyring=Keyring(bytes(32)), transports=lambda _: pytest.fail("unused"), data_dir=tmp_path)
    service = Service(name="tried", runtime=runtime, deps=None, database=None, routers=[router])
    transport = httpx.ASGITransport(service.app, raise_app_exceptions=False)
    before = structlog.get_config()
    with structlog.testing.capture_logs(processors=processors("test")) as lines:
        async with httpx.AsyncClient(transport=transport, base_url="http://tried") as client:
            answer = await client.get("/v1/broken", headers={"traceparent": PARENT})
    assert structlog.get_config() == before
    assert (answer.status_code, answer.json()["trace_id"]) == (500, TRACE)
    assert [(line["event"], line["trace_id"], line["route"]) for line in lines] == [
        ("request_failed", TRACE, "/v1/broken")
    ]


_COUNT = """
import sys
from prometheus_client import Counter, Gauge
Counter("tried", "", ["by"]).labels("all").inc(2)
Gauge("tried_age", "", multiprocess_mode="livemostrecent").set(7)
print(__import__("os").getpid())
"""
_SHOW = "from libs.telemetry.metrics import exposition; print(exposition().decode())"


def test_counters_add_up_and_gauges_of_dead_processes_disappear(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)

    def run(code: str) -> str:
        environment = os.environ | {FOLDER_VARIABLE: str(folder)}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True, text=True)
        return done.stdout

    pids = [int(run(_COUNT)) for _ in range(2)]
    shown = run(_SHOW)
    assert 'tried_total{by="all"} 4.0' in shown
    assert "tried_age 7.0" in shown
    for pid in pids:
        forget_process(folder, pid)
    shown = run(_SHOW)
    assert 'tried_total{by="all"} 4.0' in shown
    assert "tried_age 7.0" not in shown
    assert list(make_folder(tmp_path).iterdir()) == []


@pytest.fixture
def kept(request: pytest.FixtureRequest) -> Iterator[InMemorySpanExporter]:
    """Spans exported at a ratio of new traces."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=sampler_of(request.param))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    record_with(provider.get_tracer("test"))
    yield exporter
    record_with(None)


def names(exporter: InMemorySpanExporter) -> list[str]:
    return [one.name for one in exporter.get_finished_spans()]


@pytest.mark.parametrize("kept", [0.0], indirect=True)
def test_sampled_parents_are_exported_at_every_ratio(kept: InMemorySpanExporter) -> None:
    with span("new"):
        assert current_trace_id()  # not exported, but has a trace all the same
        assert not int(str(current_traceparent())[-2:], 16) & 1
    with span("asked for", parent=PARENT), span("its step"):
        pass
    with batch_span("batch of two", [PARENT, OTHER]):
        pass
    with batch_span("batch of unsampled ones", [PARENT[:-2] + "00", OTHER[:-2] + "00"]):
        pass
    assert names(kept) == ["its step", "asked for", "batch of two"]


@pytest.mark.parametrize("kept", [1.0], indirect=True)
def test_unsampled_parents_are_not_exported(kept: InMemorySpanExporter) -> None:
    with span("unsampled", parent=PARENT[:-2] + "00"):
        pass
    with span("new"):
        pass
    assert names(kept) == ["new"]


@pytest.mark.parametrize("kept", [0.25], indirect=True)
def test_about_the_ratio_of_new_traces_is_exported(kept: InMemorySpanExporter) -> None:
    for _ in range(400):
        with span("new"):
            pass
    assert 50 < len(names(kept)) < 150


def test_an_outcome_is_recorded_for_the_collector(spans: InMemorySpanExporter) -> None:
    for outcome, failed in (("sent", False), ("failed", True)):
        with span(outcome) as current:
            mark_outcome(current, outcome, failed=failed)
    sent, failed_ = spans.get_finished_spans()
    assert (dict(sent.attributes or {})["depesche.outcome"], sent.status.is_unset) == ("sent", True)
    assert (dict(failed_.attributes or {})["depesche.outcome"], failed_.status.status_code.name) == ("failed", "ERROR")
