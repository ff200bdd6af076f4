"""Spans, structured logs and metrics: one trace per cause, one registry of log fields."""

from libs.telemetry.logs import configure_logs, get_logger
from libs.telemetry.tracing import (
    annotate,
    batch_span,
    configure_tracing,
    current_trace_id,
    current_traceparent,
    mark_outcome,
    new_trace,
    one_of,
    span,
)

__all__ = [
    "annotate",
    "batch_span",
    "configure_logs",
    "configure_tracing",
    "current_trace_id",
    "current_traceparent",
    "get_logger",
    "mark_outcome",
    "new_trace",
    "one_of",
    "span",
]
