"""One trace per cause: spans of OpenTelemetry, traceparent (W3C Trace Context) kept through outbox and queue."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, Span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_propagator = TraceContextTextMapPropagator()
_tracer = trace.get_tracer("depesche")


def configure_tracing(*, service: str, otlp_endpoint: str | None = None) -> None:
    """Spans on; exported to the OTLP/HTTP endpoint where one is set."""
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    if otlp_endpoint:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{otlp_endpoint}/v1/traces")))
    trace.set_tracer_provider(provider)


@contextmanager
def span(
    name: str, *, parent: str | None = None, links: Sequence[str | None] = (), **attributes: Any
) -> Iterator[Span]:
    """A span; `parent` and `links` are traceparents (a batch links to the traces of its entries)."""
    context = _propagator.extract({"traceparent": parent}) if parent else None
    linked = [Link(made) for made in map(_span_context, {item for item in links if item}) if made is not None]
    with _tracer.start_as_current_span(name, context=context, links=linked) as current:
        for key, value in attributes.items():
            if value is not None:
                current.set_attribute(key, value if isinstance(value, int | float | bool) else str(value))
        yield current


def _span_context(traceparent: str) -> trace.SpanContext | None:
    found = trace.get_current_span(_propagator.extract({"traceparent": traceparent})).get_span_context()
    return found if found.is_valid else None


def current_traceparent() -> str | None:
    """The traceparent of the current span, for outbox rows and queue entries; None outside a trace."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return carrier.get("traceparent")


def current_trace_id() -> str | None:
    """The trace id in hex; None outside a trace."""
    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else None
