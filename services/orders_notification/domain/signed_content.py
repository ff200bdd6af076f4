"""The content that a sender signs: usually the body as received, sometimes with the time and URL, or only a few fields.

A definition gives it as a text with placeholders: `{body}`, `{timestamp}.{body}`, `{method}{url}{body}{timestamp}`
(HubSpot), `{url}{form}` (Twilio, Mandrill), `{body.eventCreated}.{body.eventId}` (Ecwid). A placeholder without a value
is empty, and the signature will hardly match.
"""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

from libs import exact_json
from libs.errors import BadRequest
from libs.rendering.values import stringify
from services.orders_notification.domain.delivery import Delivery

PLACES = ("body", "timestamp", "method", "url", "form")
NAMED_PLACES = ("body", "header", "query")
_PLACE = re.compile(r"\{([a-z]*)(?:\.([^{}]+))?\}")
_MAX_PARSED = 1 << 20
_MAX_FORM = 4 << 20  # Mandrill sends up to a thousand events at once
_OF_THE_SENDER = ("{body", "{form}", "{query.")  # the sender's content; without one of them every delivery matches


def problem_of_signed(signed: str) -> str | None:
    """Return what is wrong with such a text, as a sentence; None: nothing."""
    for found in _PLACE.finditer(signed):
        if found[1] not in (PLACES if found[2] is None else NAMED_PLACES):
            known = ", ".join([f"{{{name}}}" for name in PLACES] + [f"{{{name}.…}}" for name in NAMED_PLACES])
            return f"`signed` has no placeholder {found[0]}; use one of {known}."
    if not any(place in signed for place in _OF_THE_SENDER):
        return "`signed` must contain {body}, {form}, {body.…} or {query.…}; otherwise any body would match."
    return None


def signed_content(signed: str, delivery: Delivery, timestamp: str = "") -> bytes:
    """Return the signed bytes, for a text without problems."""
    fields = _parsed(delivery.body) if "{body." in signed else None
    places: dict[str, Callable[[], bytes]] = {
        "body": lambda: delivery.body,
        "timestamp": timestamp.encode,
        "method": delivery.method.encode,
        "url": delivery.url.encode,
        "form": lambda: _form(delivery.body),
    }
    made, at = [], 0
    for found in _PLACE.finditer(signed):
        made.append(signed[at : found.start()].encode())
        name = found[2]
        match found[1]:
            case place if name is None:
                made.append(places[place]())
            case "body":
                made.append(_at(fields, name).encode())
            case "header":
                made.append(delivery.headers.get(name.lower(), "").encode())
            case _:
                made.append(delivery.query.get(name, "").encode())
        at = found.end()
    return b"".join([*made, signed[at:].encode()])


def field_of(body: bytes, path: str) -> str:
    """Return the text at a path of a JSON body (`items.0.signature`); empty if there is none."""
    return _at(_parsed(body), path)


def _parsed(body: bytes) -> Any:
    if len(body) > _MAX_PARSED:  # the sender is not authenticated yet: it must not make us parse large bodies
        return None
    try:
        return exact_json.loads(body)
    except BadRequest:
        return None


def _at(value: Any, path: str) -> str:
    at = value
    for name in path.split("."):
        if isinstance(at, Mapping):
            at = at.get(name)
        elif isinstance(at, list) and name.isascii() and name.isdigit() and int(name) < len(at):
            at = at[int(name)]
        else:
            return ""
    return stringify(at) if isinstance(at, str | int | Decimal) else ""


def _form(body: bytes) -> bytes:
    """Return a form's fields sorted by name, names and values concatenated."""
    if len(body) > _MAX_FORM:
        return b""
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=1_000, errors="strict")
    except ValueError:
        return b""
    return "".join(name + value for name, value in sorted(pairs)).encode()
