"""Structured logs: a constant event name and fields from one registry, one JSON object per line; never an address.

log.info("chunk_recorded", request_id=…, rows=500)
"""

import logging
import sys
from collections.abc import Callable, MutableMapping
from typing import Any

import structlog

from libs.privacy import redacted
from libs.telemetry.tracing import current_trace_id

# Every field that a line may have, so that each fact is found under one name. Those of a message come first; trace_id,
# service, level and timestamp are added to each line.
FIELDS = frozenset(
    """
    notification_id request_id release_id cause_id event_id import_id
    tenant mode channel sender lane provider subscriber type event_type schema rule rule_set
    reason detail error exc_info
    route loop place user folders day what turn
    statement count usual rows unknown split given_up changed days recipients refused seconds waited_seconds
    """.split()
)
# Fields that could carry an address never reach a log.
_FORBIDDEN = frozenset({"address", "email", "phone", "token", "to", "name", "first_name", "last_name", "body"})
# Other people's words: Postgres quotes the row that it rejects, a mail server the mailbox.
_WORDS = ("detail", "error", "reason")
_MOST_TRACEBACK = 8_000

Event = MutableMapping[str, Any]
Processor = Callable[[Any, str, Event], Event]


def get_logger(name: str = "depesche") -> Any:
    """Return a logger with structlog's interface."""
    return structlog.get_logger(name)


def configure_logs(*, service: str, level: str = "info", human: bool = False) -> None:
    """Log to standard error: JSON lines, or coloured text for people."""
    renderer: Any = structlog.dev.ConsoleRenderer() if human else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[*processors(service), renderer],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def processors(service: str) -> list[Any]:
    """Return the processors that every line passes before it is written."""
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_trace(service),
        structlog.processors.format_exc_info,
        _drop_addresses,
    ]


def _add_trace(service: str) -> Processor:
    def add(_: Any, __: str, event: Event) -> Event:
        event["service"] = event.get("service", service)
        if trace := current_trace_id():
            event["trace_id"] = trace
        return event

    return add


def _drop_addresses(_: Any, __: str, event: Event) -> Event:
    for field in _FORBIDDEN & event.keys():
        event[field] = "[left out]"
    for field in _WORDS:
        if isinstance(event.get(field), str):
            event[field] = redacted(event[field])
    if isinstance(trace := event.get("exception"), str):
        # line by line, so that a traceback keeps its shape
        event["exception"] = "\n".join(redacted_line(line) for line in trace[-_MOST_TRACEBACK:].splitlines())
    return event


def redacted_line(line: str) -> str:
    """Return a traceback line with its indentation, without addresses."""
    return line[: len(line) - len(line.lstrip())] + redacted(line)
