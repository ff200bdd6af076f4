"""CloudEvents 1.0 (JSON format and HTTP binding): turns a client's input into a `BusinessEvent`, or says what is wrong.

Stricter than the specification in three places, each of which would cause trouble later: lengths are limited, `time`
must have an offset, and control characters are refused. `null` counts as absent, as the JSON format says.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec

from libs import exact_json
from libs.errors import BadRequest, FieldError, Invalid
from services.orders_notification.domain.recipients import BadRecipient, recipient_key

MAX_TYPE = 200
MAX_ID = 512
MAX_SOURCE = 512
MAX_SUBJECT = 256
MAX_EXTENSIONS = 32
MAX_EXTENSION_VALUE = 2_000

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ufdd0-\ufdef\ufffe\uffff]")
_NO_URI = re.compile('[\\s<>"{}|\\\\^`]')
_NAME = re.compile("[a-z0-9]{1,60}")
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:)(\d\d)(\.\d{1,30})?([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)", re.ASCII
)
_TRACEPARENT = re.compile("[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_JSON_TYPE = re.compile(r"\s*[a-z0-9!#$&^_.+-]+/(?:[a-z0-9!#$&^_.-]+\+)?json\s*(?:;.*)?", re.IGNORECASE)
_KNOWN = frozenset(
    ("specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema", "data", "data_base64")
)


class BusinessEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One business fact as received. `data` is exact JSON (Decimals, long integers); `body` the same as bytes."""

    id: str
    source: str
    type: str
    occurred_at: datetime
    time: str  # as written, with the sender's own offset
    subject: str | None = None
    data: Any = None
    body: bytes = b"null"
    recipient: str | None = None  # the extension `recipient`, or a source's mapping of it
    traceparent: str | None = None
    extensions: dict[str, Any] | None = None


def is_json(content_type: str) -> bool:
    """Whether a media type is JSON: `application/json`, `…+json`, any parameters."""
    return _JSON_TYPE.fullmatch(content_type) is not None


def problem_of_source(source: str) -> str | None:
    """Return what is wrong with an event's source, as a sentence; None: nothing."""
    if _NO_URI.search(source) or _CONTROL.search(source):
        return "The source is not a URI reference: percent-encode spaces and quotes."
    return None


def traceparent_of(value: Any) -> str | None:
    """Return a sender's traceparent (W3C Trace Context); None if it is malformed."""
    return value if isinstance(value, str) and _TRACEPARENT.fullmatch(value) else None


def from_structured(document: Any, received_at: datetime) -> BusinessEvent:
    """Parse an event in the JSON format. Raises Invalid naming every attribute that is wrong."""
    if not isinstance(document, dict):
        raise Invalid("A CloudEvent is a JSON object with specversion, id, source and type.", pointer="")
    errors: list[FieldError] = []
    try:
        data = _data_of(document)
    except Invalid as error:
        errors.extend(error.errors)
        data = None
    return _built(document, data, received_at, errors)


def from_binary(headers: Mapping[str, str], body: bytes, received_at: datetime) -> BusinessEvent:
    """Parse an event whose attributes are `ce-` headers (lower-case names) and whose data is the body."""
    attributes = {name[3:]: _header_text(name, value) for name, value in headers.items() if name.startswith("ce-")}
    content_type = headers.get("content-type", "")
    for reserved in ("data", "data_base64", "datacontenttype"):
        attributes.pop(reserved, None)
    if content_type:
        attributes["datacontenttype"] = content_type
    return _built(attributes, _binary_data(body, content_type), received_at, [])


def parse_time(text: str) -> datetime:
    """Parse an RFC 3339 timestamp as UTC. Raises ValueError. Digits beyond microseconds are dropped."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError("not RFC 3339")
    day, clock, seconds, fraction, offset = match.groups()
    leap = seconds == "60"  # RFC 3339 allows a leap second; datetime does not
    moment = datetime.fromisoformat(
        f"{day}T{clock}{'59' if leap else seconds}{(fraction or '')[:7]}{'+00:00' if offset in 'Zz' else offset}"
    )
    try:
        return moment.astimezone(UTC) + (timedelta(seconds=1) if leap else timedelta())
    except OverflowError as error:
        raise ValueError("outside the calendar") from error


def _data_of(document: dict[str, Any]) -> Any:
    encoded = document.get("data_base64")
    if encoded is None:
        return document.get("data")
    if document.get("data") is not None:
        raise Invalid("data and data_base64 exclude each other; send one.", pointer="/data_base64")
    try:
        raw = base64.b64decode(encoded, validate=True) if isinstance(encoded, str) else None
    except (binascii.Error, ValueError):
        raw = None
    if raw is None:
        raise Invalid("data_base64 is not base64 (RFC 4648).", pointer="/data_base64")
    content_type = document.get("datacontenttype")
    if content_type is not None and not (isinstance(content_type, str) and is_json(content_type)):
        return encoded  # not JSON: conditions see the text as received
    try:
        return exact_json.loads(raw)
    except BadRequest as error:
        raise Invalid(f"data_base64 does not contain JSON: {error.detail}", pointer="/data_base64") from error


def _binary_data(body: bytes, content_type: str) -> Any:
    if not body:
        return None
    if not content_type or is_json(content_type):
        return exact_json.loads(body)
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return base64.b64encode(body).decode()
    return base64.b64encode(body).decode() if "\0" in text else text


def _header_text(name: str, value: str) -> str:
    # HTTP binding §3.1.3.2: unquote a quoted string, then percent-decode once, then UTF-8
    if len(value) >= 2 and value[0] == value[-1] == '"':
        value = re.sub(r"\\(.)", r"\1", value[1:-1])
    if "%" not in value and value.isascii():
        return value
    try:
        return unquote_to_bytes(value.encode("latin-1", "strict") if value.isascii() else _raw(value)).decode()
    except UnicodeError as error:
        raise BadRequest(f"The header {name} is not percent-encoded UTF-8.", pointer=name) from error


def _raw(value: str) -> bytes:
    # servers decode headers as Latin-1; clients that forget to encode mostly send UTF-8
    return value.encode("latin-1")


def _built(attributes: Mapping[str, Any], data: Any, received_at: datetime, errors: list[FieldError]) -> BusinessEvent:
    version = attributes.get("specversion")
    if version != "1.0":
        told = "is missing" if version is None else f"is {str(version)[:20]!r}"
        errors.append(FieldError("/specversion", f'specversion {told}; Depesche reads CloudEvents "1.0".'))
    id_ = _text(attributes, "id", MAX_ID, errors)
    source = _text(attributes, "source", MAX_SOURCE, errors)
    type_ = _text(attributes, "type", MAX_TYPE, errors)
    subject = _text(attributes, "subject", MAX_SUBJECT, errors, required=False)
    if source and (problem := problem_of_source(source)):
        errors.append(FieldError("/source", problem))
    _text(attributes, "datacontenttype", MAX_SOURCE, errors, required=False)
    schema = _text(attributes, "dataschema", MAX_EXTENSION_VALUE, errors, required=False)
    if schema and _NO_URI.search(schema):
        errors.append(FieldError("/dataschema", "dataschema is not a URI: percent-encode spaces and quotes."))
    time, occurred_at = _time(attributes, received_at, errors)
    extensions = _extensions(attributes, errors) if not attributes.keys() <= _KNOWN else {}
    recipient = _recipient(extensions.pop("recipient", None), errors)
    traceparent = extensions.pop("traceparent", None)
    if errors:
        raise Invalid.many(errors)
    return BusinessEvent(
        id=id_ or "",
        source=source or "",
        type=type_ or "",
        subject=subject,
        time=time,
        occurred_at=occurred_at,
        data=data,
        body=exact_json.dumps(data),
        recipient=recipient,
        traceparent=traceparent_of(traceparent),
        extensions=extensions or None,
    )


def _text(
    attributes: Mapping[str, Any], name: str, limit: int, errors: list[FieldError], *, required: bool = True
) -> str | None:
    value = attributes.get(name)
    if value is None:
        if required:
            errors.append(FieldError(f"/{name}", f"{name} is missing; every CloudEvent needs it."))
        return None
    if not isinstance(value, str):
        errors.append(FieldError(f"/{name}", f"{name} is not a string."))
    elif not value:
        errors.append(FieldError(f"/{name}", f"{name} is empty."))
    elif len(value) > limit:
        errors.append(FieldError(f"/{name}", f"{name} has {len(value)} characters; {limit} are allowed."))
    elif _CONTROL.search(value):
        errors.append(FieldError(f"/{name}", f"{name} contains a control character; remove it."))
    else:
        return value
    return None


def _time(attributes: Mapping[str, Any], received_at: datetime, errors: list[FieldError]) -> tuple[str, datetime]:
    value = attributes.get("time")
    if value is None:
        return received_at.isoformat(), received_at
    try:
        if not isinstance(value, str):
            raise ValueError
        return value, parse_time(value)
    except ValueError:
        errors.append(
            FieldError("/time", "time is not an RFC 3339 timestamp with an offset, like 2026-03-01T09:30:00+01:00.")
        )
        return "", received_at


def _extensions(attributes: Mapping[str, Any], errors: list[FieldError]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in attributes.items():
        if name in _KNOWN or value is None:
            continue
        pointer = "/" + name[:60].replace("~", "~0").replace("/", "~1")
        if not _NAME.fullmatch(name):
            errors.append(FieldError(pointer, "An extension attribute's name has lower-case letters and digits only."))
        elif not isinstance(value, str | int):  # bool is an int; the type system has nothing else
            errors.append(FieldError(pointer, "An extension attribute is a string, an integer or a boolean."))
        elif len(str(value)) > MAX_EXTENSION_VALUE:
            errors.append(FieldError(pointer, f"An extension may have at most {MAX_EXTENSION_VALUE} characters."))
        else:
            found[name] = value
    if len(found) > MAX_EXTENSIONS:
        errors.append(FieldError("", f"There are more than {MAX_EXTENSIONS} extension attributes."))
    return found


def _recipient(value: Any, errors: list[FieldError]) -> str | None:
    if value is None:
        return None
    try:
        return recipient_key(value)
    except BadRecipient as error:
        errors.append(FieldError("/recipient", str(error)))
        return None
