"""A slow or failing statement is reported by its name: in a metric, a log line and a span, and never with a value."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest
import structlog
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import REGISTRY

from libs.messaging.postgres import Relay
from libs.storage.database import Database
from libs.storage.watched import name_of
from libs.telemetry import span
from services.orders_notification.adapters.postgres import events, retention
from tests.conftest import by_role

SECRET = "ada.of.statements@mail.example"


@pytest.fixture
def lines() -> Iterator[list[dict[str, Any]]]:
    """Yield what is logged."""
    before = structlog.get_config()
    with structlog.testing.capture_logs() as captured:
        structlog.configure(wrapper_class=structlog.BoundLogger)
        yield captured
    structlog.configure(**before)


async def opened(dsn: str, slow_seconds: float) -> Database:
    database = Database(by_role(dsn, "access"), "access", slow_seconds=slow_seconds)
    await database.open()
    return database


@pytest.fixture
async def slow(database: str) -> AsyncIterator[Database]:
    """Yield a database where everything counts as slow."""
    found = await opened(database, 0.0)
    yield found
    await found.close()


def counted(metric: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(metric, labels) or 0.0


async def test_a_slow_statement_is_a_span_below_its_step_a_log_line_and_a_figure(
    slow: Database, spans: InMemorySpanExporter, lines: list[dict[str, Any]]
) -> None:
    before = counted("depesche_sql_slow_total", service="access", statement="postgres.lease")
    with span("relay") as step:
        await Relay(slow, ()).publish_once()
    found = {one.name: one for one in spans.get_finished_spans()}
    told = found["sql postgres.lease"]
    assert told.parent is not None
    assert told.parent.span_id == step.get_span_context().span_id
    attributes = dict(told.attributes or {})
    assert attributes["db.query.summary"] == "postgres.lease"
    assert attributes["db.response.returned_rows"] == 0
    assert attributes["db.namespace"] == "access"
    assert 0 < told.end_time - told.start_time < 10**10  # type: ignore[operator]
    assert told.status.is_ok or told.status.is_unset
    assert counted("depesche_sql_slow_total", service="access", statement="postgres.lease") == before + 1
    line = next(line for line in lines if line.get("statement") == "postgres.lease")
    assert (line["event"], line["schema"], line["rows"]) == ("sql_slow", "access", 0)


async def test_a_failed_one_tells_its_kind_and_no_value(
    slow: Database, spans: InMemorySpanExporter, lines: list[dict[str, Any]]
) -> None:
    labels = {"service": "access", "statement": "select tenant", "error": "InvalidTextRepresentationError"}
    before = counted("depesche_sql_failed_total", **labels)
    many = [(SECRET, b"x")] * 2
    async with slow.acquire() as connection:
        for method in (connection.fetch, connection.fetchrow, connection.fetchval, connection.execute):
            with pytest.raises(asyncpg.InvalidTextRepresentationError):
                await method("select number from tenant where $1::text::int = number", SECRET)
        with pytest.raises(asyncpg.UniqueViolationError):
            await connection.executemany("insert into idempotency (key, scope, body_hash) values ($1, $2, '')", many)
        await connection.copy_records_to_table("idempotency", records=[(b"y", SECRET, b"")], columns=_COLUMNS)
    assert counted("depesche_sql_failed_total", **labels) == before + 4
    failed = [one for one in spans.get_finished_spans() if one.name == "sql select tenant"]
    assert [(one.attributes or {})["db.response.status_code"] for one in failed] == ["22P02"] * 4
    assert {one.status.description for one in failed} == {"InvalidTextRepresentationError"}
    told = {one.name: dict(one.attributes or {}) for one in spans.get_finished_spans()}
    assert told["sql insert idempotency"]["error.type"] == "UniqueViolationError"
    assert told["sql copy idempotency"]["db.response.returned_rows"] == 1
    everything = str([(one.name, one.attributes, one.status.description) for one in spans.get_finished_spans()])
    assert SECRET not in everything + str(lines)


_COLUMNS = ("scope", "key", "body_hash")


async def test_what_is_fast_and_well_is_told_nowhere(database: str, spans: InMemorySpanExporter) -> None:
    quick = await opened(database, 30.0)
    await Relay(quick, ()).publish_once()
    await quick.close()
    assert [one.name for one in spans.get_finished_spans()] == []


@pytest.mark.parametrize(
    ("query", "name"),
    [
        (retention._PRUNE_KEYS, "retention.prune_keys"),
        ("COMMIT;", "commit"),
        ("event", "copy event"),
        ("drop table message_20261126; drop table attempt_20261126", "drop message"),
        ("create table if not exists event_20261126 partition of event for values", "create event"),
        ("select  (1", "select"),
        ("", "statement"),
    ],
)
def test_names_are_those_of_constants_else_of_verb_and_table(query: str, name: str) -> None:
    assert name_of(query) == name


def test_every_named_statement_of_a_module_is_found() -> None:
    statements = [value for name, value in vars(events).items() if isinstance(value, str) and "select" in value]
    assert statements
    assert all(name_of(text).startswith("events.") for text in statements)
