"""Structured logs: a constant event name and fields, one JSON object a line; never an address.

log.info("chunk_recorded", request_id=…, sent=500)
"""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from libs.telemetry.tracing import current_trace_id

# A field that could carry an address does not reach a log, whoever passes it.
_FORBIDDEN = frozenset({"address", "email", "phone", "token", "to", "name", "first_name", "last_name", "body"})


def get_logger(name: str = "depesche") -> Any:
    """A logger with structlog's interface."""
    return structlog.get_logger(name)


def configure_logs(*, service: str, level: str = "info", human: bool = False) -> None:
    """Logs to standard error: JSON lines, or coloured text for people."""
    renderer: Any = structlog.dev.ConsoleRenderer() if human else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _add_trace(service),
            _drop_addresses,
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def _add_trace(service: str) -> Any:
    def add(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["service"] = event.get("service", service)
        if trace := current_trace_id():
            event["trace_id"] = trace
        return event

    return add


def _drop_addresses(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for field in _FORBIDDEN & event.keys():
        event[field] = "[left out]"
    return event
