"""Maps a verified delivery to an event by its source's expressions, or says which of them failed.

A topic's source without expressions expects CloudEvents: in JSON, one or an array, or with their attributes in the
message's headers (Kafka's binding, `ce_`). Pure; on failure the caller stores the raw bytes, which can be replayed once
the mapping is fixed.
"""

import base64
import binascii
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from libs import exact_json
from libs.errors import BadRequest, FieldError, Invalid
from libs.expressions import Context, EvaluationFailed, Expression, Needs
from services.orders_notification.domain.cloudevents import BusinessEvent, from_binary, from_structured
from services.orders_notification.domain.delivery import Delivery
from services.orders_notification.domain.reading import MAX_EVENTS_PER_DELIVERY, Unmappable, json_of, read_body
from services.orders_notification.domain.sources import Envelope, EventMapping, Source
from services.orders_notification.domain.times import rfc3339

_IN_HEADERS = "ce_"


@dataclass(frozen=True, slots=True)
class Mapped:
    """The result of a delivery: events, and the number of parts that the filter dropped."""

    events: tuple[BusinessEvent, ...]
    filtered: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a sender reads with 200: nothing, JSON (Event Grid, Adobe Commerce), or a text (Microsoft Graph, Meta)."""

    content: bytes = b""
    media_type: str | None = None


def handshake(source: Source, delivery: Delivery) -> Answer | None:
    """Return the answer to a sender's first call. None: the delivery is no such call."""
    if source.handshake is None:
        return None
    try:
        answer = _json(source.handshake.evaluate(_context(delivery, read_body(delivery))), "/handshake")
    except Invalid:  # Unmappable and EvaluationFailed: not the shape of a handshake
        return None
    match answer:
        case dict():
            return Answer(exact_json.dumps(answer), "application/json")
        case str() if answer:
            return Answer(answer.encode(errors="replace"), "text/plain")
        case True:
            return Answer()
        case _:
            return None


def answer_of(source: Source) -> Answer | None:
    """Return what a source's sender must read for a delivery to count. None: our own answer will do."""
    match source.answer:
        case None:
            return None
        case str() as text:
            return Answer(text.encode(), "application/xml" if text.startswith("<") else "text/plain")
        case value:
            return Answer(exact_json.dumps(value), "application/json")


def map_delivery(source: Source, delivery: Delivery, received_at: datetime) -> Mapped:
    """Return all events of a delivery; a JSON array counts as many. Raises Unmappable naming each failed expression."""
    mapping = source.mapping
    if mapping is None and any(name.startswith(_IN_HEADERS) for name in delivery.headers):
        return Mapped((_from_headers(delivery, received_at),))
    body = read_body(delivery)
    parts = _unwrapped(source, delivery, body if isinstance(body, list) else [body])
    if mapping is None:
        return Mapped(tuple(_from_json(part, received_at) for part in parts))
    events = [_map_one(source, mapping, (delivery, part), received_at) for part in parts]
    made = tuple(event for event in events if event is not None)
    _refuse_shared_ids(made)
    return Mapped(made, len(events) - len(made))


def _refuse_shared_ids(events: tuple[BusinessEvent, ...]) -> None:
    """A mapping that takes the delivery's id for each event in it would lose all but the first, as duplicates."""
    first: dict[str, BusinessEvent] = {}
    for event in events:
        other = first.setdefault(event.id, event)
        # not their bytes: a map that an expression makes has its fields in any order
        if (other.type, other.subject, other.data) != (event.type, event.subject, event.data):
            raise Unmappable(
                "Two events of this delivery differ but have one id: the second would be lost as a duplicate. "
                "Make the id of something that each event has for itself.",
                pointer="/mapping/id",
            )


def _from_json(part: Any, received_at: datetime) -> BusinessEvent:
    try:
        return from_structured(part, received_at)
    except (Invalid, BadRequest) as error:
        raise _unmappable(list(error.errors) or [FieldError("", error.detail)]) from error


def _from_headers(delivery: Delivery, received_at: datetime) -> BusinessEvent:
    attributes = {
        # Kafka's headers are plain UTF-8, while HTTP's are percent-encoded
        f"ce-{name.removeprefix(_IN_HEADERS)}": quote(value)
        for name, value in delivery.headers.items()
        if name.startswith(_IN_HEADERS)
    }
    attributes["content-type"] = delivery.headers.get("content-type", "")
    try:
        return from_binary(attributes, delivery.body, received_at)
    except (Invalid, BadRequest) as error:
        raise _unmappable(list(error.errors) or [FieldError("", error.detail)]) from error


def _map_one(
    source: Source, mapping: EventMapping, came: tuple[Delivery, Any], received_at: datetime
) -> BusinessEvent | None:
    delivery, body = came
    evaluation = _Evaluation(_context(delivery, body, mapping.needs))
    if mapping.filter is not None and not evaluation.wanted(mapping.filter, "/mapping/filter"):
        return None
    type_ = evaluation.value(mapping.type, "/mapping/type")
    document = {
        "specversion": "1.0",
        "source": source.event_source,
        "type": mapping.types.get(type_, type_) if isinstance(type_, str) else type_,
        "id": _plain(evaluation.value(mapping.id, "/mapping/id")),
        "subject": _plain(evaluation.optional(mapping.subject, "/mapping/subject")),
        "time": rfc3339(evaluation.optional(mapping.time, "/mapping/time")),
        "recipient": evaluation.optional(mapping.recipient, "/mapping/recipient"),
        "data": body if mapping.data is None else evaluation.tree(mapping.data, "/mapping/data"),
    }
    evaluation.conclude()
    _refuse_unstorable(document)
    return _event(document, received_at)


def _refuse_unstorable(document: dict[str, Any]) -> None:
    try:  # a query or an expression may contain what JSON is refused for
        exact_json.refuse_unstorable(document["data"], "/mapping/data")
    except BadRequest as error:
        raise _unmappable(list(error.errors)) from error


def _event(document: dict[str, Any], received_at: datetime) -> BusinessEvent:
    if isinstance(document["recipient"], float | Decimal):
        raise Unmappable(
            "A recipient is a string or an integer, not a number with decimals.", pointer="/mapping/recipient"
        )
    if isinstance(document["recipient"], dict | list):
        raise Unmappable(
            "The recipient is one key or id; for several, a communication has its own recipient expression.",
            pointer="/mapping/recipient",
        )
    try:
        return from_structured(document, received_at)
    except Invalid as error:
        raise _unmappable([FieldError(f"/mapping{e.pointer}", e.detail) for e in error.errors]) from error


class _Evaluation:
    """Evaluates expressions on one context and collects the failures, so that all are reported at once."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._errors: list[FieldError] = []

    def value(self, expression: Expression, pointer: str) -> Any:
        try:
            return expression.evaluate(self._context)
        except EvaluationFailed as error:
            self._errors.append(FieldError(pointer, error.detail))
            return None

    def wanted(self, expression: Expression, pointer: str) -> bool:
        """Return a filter's result; one that fails drops nothing."""
        value = self.value(expression, pointer)
        if not isinstance(value, bool) and not self._errors:
            self._errors.append(FieldError(pointer, "The filter is neither true nor false; compare with something."))
        return value is not False

    def optional(self, expression: Expression | None, pointer: str) -> Any:
        """Evaluate an attribute that an event may lack: shops send "" for none."""
        value = None if expression is None else self.value(expression, pointer)
        return None if value == "" else value

    def tree(self, mapping: Any, pointer: str) -> Any:
        if isinstance(mapping, Mapping):
            return {name: self.tree(inner, f"{pointer}/{name}") for name, inner in mapping.items()}
        try:
            return _json(None if mapping is None else self.value(mapping, pointer), pointer)
        except Unmappable as error:
            self._errors.extend(error.errors)
            return None

    def conclude(self) -> None:
        if self._errors:
            raise _unmappable(self._errors)


def _context(delivery: Delivery, body: Any, needs: Needs | None = None) -> Context:
    return Context({"body": body, "headers": dict(delivery.headers), "query": dict(delivery.query)}, needs)


def _unwrapped(source: Source, delivery: Delivery, parts: list[Any]) -> list[Any]:
    """Return the payloads without their envelopes; a missing envelope is skipped, a list holds many payloads."""
    for index, envelope in enumerate(source.unwrap):
        parts = [found for part in _bounded(parts) for found in _payloads(envelope, index, delivery, part)]
    return _bounded(parts)


def _bounded(parts: list[Any]) -> list[Any]:
    if len(parts) > MAX_EVENTS_PER_DELIVERY:
        raise Unmappable(f"The delivery contains more than {MAX_EVENTS_PER_DELIVERY} events.", pointer="")
    return parts


def _payloads(envelope: Envelope, index: int, delivery: Delivery, part: Any) -> list[Any]:
    try:
        payload = envelope.payload.evaluate(_context(delivery, part))
    except EvaluationFailed:
        return [part]
    if envelope.encoding != "none":
        if not isinstance(payload, str):
            return [part]
        payload = _opened(payload, envelope.encoding, f"/unwrap/{index}/payload")
    elif not isinstance(payload, dict | list):
        return [part]
    return payload if isinstance(payload, list) else [payload]


def _opened(payload: str, encoding: str, pointer: str) -> Any:
    try:
        raw = base64.b64decode(payload, validate=True) if encoding == "base64" else payload.encode()
        return json_of(raw)
    except (BadRequest, binascii.Error, ValueError) as error:
        raise Unmappable("The payload inside the envelope is not JSON.", pointer=pointer) from error


def _plain(value: Any) -> Any:
    # shops number orders and deliveries; CloudEvents' id and subject are strings
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _json(value: Any, pointer: str) -> Any:
    """Convert an expression's result to JSON: timestamps become text. Raises Unmappable for what JSON cannot hold."""
    match value:
        case datetime():
            return value.isoformat()
        case dict():
            return {_name(name): _json(inner, pointer) for name, inner in value.items()}
        case list() | tuple():
            return [_json(inner, pointer) for inner in value]
        case bytes() | timedelta():
            raise Unmappable(
                "The result is bytes or a duration, which JSON does not have; use string().", pointer=pointer
            )
        case float() if not math.isfinite(value):
            raise Unmappable("The result is not a number: it divides by zero, or is too large.", pointer=pointer)
        case _:
            return value


def _name(key: Any) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)


def _unmappable(errors: list[FieldError]) -> Unmappable:
    made = Unmappable.many(errors)
    assert isinstance(made, Unmappable)
    return made
