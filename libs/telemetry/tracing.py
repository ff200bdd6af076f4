"""One trace per cause: OpenTelemetry spans, with traceparent (W3C Trace Context) carried through outbox and queue.

Without an exporter nothing is recorded, but every span still has its ids: the trace that an event came with, or got
at its first step, is in each outbox row and each log line. That costs 3 to 5 µs a span instead of 18 to 26.
"""

import random
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
)

from libs.privacy import masked_key

MOST_LINKS = 64
_LINKS = 5  # its place in Sampler.should_sample

# Sampled, though nothing is recorded here: queued work is recorded once there is an exporter.
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_tracer: Tracer | None = None  # None: ids only


class KeepLinked(Sampler):
    """Sampler for the head of a new trace: keep a batch if one of its links is kept, else apply the ratio."""

    def __init__(self, ratio: float) -> None:
        self._new = TraceIdRatioBased(ratio)

    def should_sample(self, *given: Any, **named: Any) -> SamplingResult:
        links = named.get("links") or (given[_LINKS] if len(given) > _LINKS else None)
        if any(link.context.trace_flags.sampled for link in links or ()):
            return ALWAYS_ON.should_sample(*given, **named)
        return self._new.should_sample(*given, **named)

    def get_description(self) -> str:
        return f"KeepLinked{{{self._new.get_description()}}}"


def sampler_of(ratio: float) -> Sampler:
    """Return a sampler that follows the decision in traceparent's flag and records about `ratio` of new traces."""
    return ParentBased(KeepLinked(ratio))


def configure_tracing(*, service: str, otlp_endpoint: str | None = None, ratio: float = 1.0) -> None:
    """Export spans to the OTLP/HTTP endpoint if set, else keep only ids. `ratio`: of new traces."""
    if not otlp_endpoint:
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    provider = TracerProvider(sampler=sampler_of(ratio), resource=Resource.create({"service.name": service}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{otlp_endpoint}/v1/traces")))
    record_with(provider.get_tracer("depesche"))


def record_with(tracer: Tracer | None) -> None:
    """Record spans with this tracer; None: ids only."""
    global _tracer
    _tracer = tracer


def span(
    name: str, *, parent: str | None = None, links: Sequence[str] = (), **attributes: Any
) -> AbstractContextManager[Span]:
    """Start a span below `parent` (a traceparent), else below the current one. Attributes that are
    None are left out."""
    if _tracer is None:
        return _Unrecorded(parent)
    return _recorded(_tracer, name, (parent, links), attributes)


def past_span(name: str, started_ns: int, error: str | None, **attributes: Any) -> None:
    """Record a span below the current one for something that has just ended, begun at `started_ns` (Unix time), if it
    is only worth a span once its result is known. `error` is its kind, or None if it succeeded."""
    if _tracer is None:
        return
    made = _tracer.start_span(name, start_time=started_ns)
    annotate(made, **attributes)
    if error is not None:
        made.set_status(Status(StatusCode.ERROR, error))
    made.end()


def new_trace(name: str, **attributes: Any) -> str:
    """Return the traceparent of a span that starts a new trace, linked to the current one and ended at once: for one
    of many items that arrived together and go separate ways."""
    if _tracer is None:
        return _traceparent(SpanContext(random.getrandbits(128), random.getrandbits(64), False, _SAMPLED))
    around = trace.get_current_span().get_span_context()
    links = [Link(around)] if around.is_valid else []
    made = _tracer.start_span(name, contexts.Context(), links=links)
    annotate(made, **attributes)
    made.end()
    return _traceparent(made.get_span_context())


def batch_span(name: str, traceparents: Sequence[str | None], **attributes: Any) -> AbstractContextManager[Span]:
    """Start a span over a batch: in the trace of its entries if they share one, else in its own, with
    links to theirs."""
    given = [item for item in traceparents if item]
    if given and all(item[3:35] == given[0][3:35] for item in given):
        return span(name, parent=given[0], **attributes)
    return span(name, links=list(dict.fromkeys(given))[:MOST_LINKS] if _tracer else (), **attributes)


def one_of(values: Sequence[Any]) -> Any:
    """Return the value shared by a whole batch, for its span or log line; None if they differ."""
    return values[0] if values and all(value == values[0] for value in values) else None


class _Unrecorded:
    """A span of ids only: in its parent's trace, or at the head of a new one."""

    __slots__ = ("_parent", "_token")

    def __init__(self, parent: str | None) -> None:
        self._parent = parent

    def __enter__(self) -> Span:
        above = _context_of(self._parent) or trace.get_current_span().get_span_context()
        made = SpanContext(
            above.trace_id if above.is_valid else random.getrandbits(128),
            random.getrandbits(64),
            is_remote=False,
            trace_flags=above.trace_flags if above.is_valid else _SAMPLED,
            trace_state=above.trace_state,
        )
        current = NonRecordingSpan(made)
        self._token = contexts.attach(trace.set_span_in_context(current))
        return current

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        contexts.detach(self._token)


@contextmanager
def _recorded(
    tracer: Tracer, name: str, above: tuple[str | None, Sequence[str]], attributes: dict[str, Any]
) -> Iterator[Span]:
    parent = _context_of(above[0])
    context = trace.set_span_in_context(NonRecordingSpan(parent)) if parent else None
    links = [Link(made) for made in map(_context_of, above[1]) if made is not None]
    # an exception's message may quote an address, so only its type is recorded
    with tracer.start_as_current_span(
        name, context, links=links, record_exception=False, set_status_on_exception=False
    ) as current:
        annotate(current, **attributes)
        try:
            yield current
        except BaseException as error:
            current.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise


def annotate(current: Span, **attributes: Any) -> None:
    """Set attributes that become known late; None is left out, and addresses are redacted."""
    if not current.is_recording():
        return
    for key, value in attributes.items():
        if value is not None:
            current.set_attribute(key, value if isinstance(value, int | float | bool) else masked_key(str(value)))


def mark_outcome(current: Span, outcome: str, *, failed: bool) -> None:
    """Record the outcome of a send, for a collector's tail rule: the attribute `depesche.outcome`, an error if it
    failed."""
    annotate(current, **{"depesche.outcome": outcome})
    if failed:
        current.set_status(Status(StatusCode.ERROR, outcome))


def _context_of(traceparent: str | None) -> SpanContext | None:
    """Parse the context of a traceparent; None if it is invalid. Later versions may be longer."""
    if traceparent is None or len(traceparent) < 55 or traceparent[2:36:33] != "--" or traceparent[52] != "-":
        return None
    try:
        trace_id, span_id = int(traceparent[3:35], 16), int(traceparent[36:52], 16)
        flags = TraceFlags(int(traceparent[53:55], 16))
    except ValueError:
        return None
    made = SpanContext(trace_id, span_id, is_remote=True, trace_flags=flags)
    return made if made.is_valid and traceparent[:2] != "ff" else None


def current_traceparent() -> str | None:
    """Return the traceparent of the current span, for outbox rows and queue entries; None outside a trace."""
    context = trace.get_current_span().get_span_context()
    return _traceparent(context) if context.is_valid else None


def _traceparent(context: SpanContext) -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags & 0xFF:02x}"


def current_trace_id() -> str | None:
    """The trace id in hex; None outside a trace."""
    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else None
