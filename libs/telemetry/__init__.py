"""Spans, structured logs and metrics: one trace per cause, one registry of log fields."""

from libs.telemetry.logs import configure_logs, get_logger
from libs.telemetry.tracing import (
    configure_tracing,
    current_trace_id,
    current_traceparent,
    span,
)

__all__ = [
    "configure_logs",
    "configure_tracing",
    "current_trace_id",
    "current_traceparent",
    "get_logger",
    "span",
]
