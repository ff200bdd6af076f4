"""Slow or failed statements, reported by the name of their constant, never with a value.

A connection times each of its statements and looks up a name only to report it: `lease.lease` is `_LEASE` in a module
`lease`. A statement built at run time is reported by its verb and table. Nothing else of a statement is stored, so no
customer's value can reach a span, a log line or a metric.
"""

import functools
import re
import sys
from collections.abc import Awaitable, Callable, Iterator
from time import perf_counter, time_ns
from typing import Any

import asyncpg
from prometheus_client import Counter

from libs.storage.arrays import with_arrays
from libs.telemetry import get_logger
from libs.telemetry.tracing import past_span

log = get_logger(__name__)

_slow = Counter("depesche_sql_slow", "Statements that took too long", ["service", "statement"])
_failed = Counter("depesche_sql_failed", "Statements that failed, by kind of error", ["service", "statement", "error"])

_ROOMS = ("services.", "libs.")
_VERB = re.compile(r"[a-z]+", re.IGNORECASE)
_TABLE = re.compile(r"\b(?:from|into|update|table|on)\s+(?:if (?:not )?exists\s+)?(?:\w+\.)?([a-z_]+)", re.IGNORECASE)
_names: dict[str, str] = {}


Method = Callable[..., Awaitable[Any]]


def _watching(method: Method, rows: Callable[[Any], int | None]) -> Method:
    """Wrap a connection's method with a timer. `rows` counts its result."""

    @functools.wraps(method)
    async def watching(self: "WatchedConnection", query: str, *args: Any, **options: Any) -> Any:
        started = perf_counter()
        try:
            given = await method(self, query, *with_arrays(args), **options)
        except Exception as error:
            self.tell_failed(query, perf_counter() - started, error)
            raise
        if (seconds := perf_counter() - started) > self.slow_seconds:
            self.tell_slow(query, seconds, rows(given))
        return given

    return watching


def _counted(done: str) -> int | None:
    """Parse the count from Postgres' command tag: UPDATE 3."""
    count = done.rpartition(" ")[2]
    return int(count) if count.isdigit() else None


class WatchedConnection(asyncpg.Connection):  # type: ignore[misc]
    """A connection of a service's pool; `watched` creates the class."""

    schema: str
    service: str
    slow_seconds: float

    def tell_slow(self, query: str, seconds: float, rows: int | None) -> None:
        statement = name_of(query)
        _slow.labels(self.service, statement).inc()
        log.warning("sql_slow", schema=self.schema, statement=statement, seconds=round(seconds, 3), rows=rows)
        self._span(statement, seconds, rows=rows)

    def tell_failed(self, query: str, seconds: float, error: Exception) -> None:
        statement, kind = name_of(query), type(error).__name__
        _failed.labels(self.service, statement, kind).inc()
        self._span(statement, seconds, error=kind, code=getattr(error, "sqlstate", None))

    def _span(
        self, statement: str, seconds: float, *, rows: int | None = None, error: str | None = None, code: Any = None
    ) -> None:
        # attributes of OpenTelemetry's conventions for databases
        past_span(
            f"sql {statement}",
            time_ns() - int(seconds * 1e9),
            error,
            **{
                "db.system.name": "postgresql",
                "db.namespace": self.schema,
                "db.query.summary": statement,
                "db.response.returned_rows": rows,
                "db.response.status_code": code,
                "error.type": error,
            },
        )

    execute = _watching(asyncpg.Connection.execute, _counted)
    fetch = _watching(asyncpg.Connection.fetch, len)
    fetchrow = _watching(asyncpg.Connection.fetchrow, lambda row: int(row is not None))
    fetchval = _watching(asyncpg.Connection.fetchval, lambda _: 1)
    executemany = _watching(asyncpg.Connection.executemany, lambda _: None)
    copy_records_to_table = _watching(asyncpg.Connection.copy_records_to_table, _counted)


def watched(schema: str, slow_seconds: float) -> type[WatchedConnection]:
    """Return the connection class of one service's pool."""
    own = {"schema": schema, "service": schema.replace("_", "-"), "slow_seconds": slow_seconds}
    return type("ServiceConnection", (WatchedConnection,), own)


def name_of(query: str) -> str:
    """Return `module.constant`, or verb and table if the statement is not a constant."""
    if query.isidentifier():
        return f"copy {query}"
    if query not in _names:
        _names.update(_constants())
    if (found := _names.get(query)) is not None:
        return found
    verb, table = _VERB.search(query), _TABLE.search(query)
    # a partition is reported as its table: a label must not grow with the calendar
    words = [verb[0].lower() if verb else "statement", table[1].rstrip("_").lower() if table else ""]
    return " ".join(filter(None, words))


def _constants() -> Iterator[tuple[str, str]]:
    for name, module in list(sys.modules.items()):
        if name.startswith(_ROOMS):
            for constant, value in list(vars(module).items()):
                told = f"{name.rpartition('.')[2]}.{constant.strip('_').lower()}"
                yield from ((text, told) for text in _texts(value) if " " in text)


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case tuple() | list():
            yield from (item for item in value if isinstance(item, str))
        case dict():
            yield from (item for item in value.values() if isinstance(item, str))
