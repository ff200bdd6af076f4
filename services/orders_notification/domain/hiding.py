"""What may be shown of a rejected delivery: never a value that a schema marks `x-secret`.

The data did not fit their schema, or no mapping could read them, so a secret may be elsewhere than the schema says:
every field that is named like a secret is hidden, at any depth, also inside strings that contain JSON.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from libs import exact_json
from libs.errors import BadRequest
from services.orders_notification.domain.event_types import HIDDEN, EventType, Path, without
from services.orders_notification.domain.intake import Raw


def showable(raw: Raw, type_: str | None, types: Mapping[str, EventType], *, mapped: bool) -> Raw | None:
    """Return the delivery without its secrets; None if they cannot be told from the rest.

    `type_`: the event's type, None if that is unknown. `mapped`: a source's mapping made the event, and only the
    mapping knows in which of the sender's fields the secret was.
    """
    paths = _secrets(type_, types)
    if not paths:
        return raw
    if type_ is not None and mapped:
        return None
    try:
        document = exact_json.loads(raw.body)
    except BadRequest:
        return None
    names = {named for path in paths if (named := _name(path)) is not None}
    if isinstance(document, dict) and "data" in document and not mapped:
        document = document | {"data": without(document["data"], paths)}
    body = exact_json.dumps(_masked(document, names))
    return Raw(body, _masked(raw.headers, names), _masked(raw.query, names))


def _secrets(type_: str | None, types: Mapping[str, EventType]) -> tuple[Path, ...]:
    if type_ is None:
        return tuple(path for declared in types.values() for path in declared.secret)
    return types[type_].secret if type_ in types else ()


def _name(path: Path) -> str | None:
    """Return the last name on the path: `codes` for every item of that list."""
    return next((part.casefold() for part in reversed(path) if isinstance(part, str)), None)


def _masked(value: Any, names: set[str]) -> Any:
    match value:
        case dict():
            return {n: HIDDEN if n.casefold() in names else _masked(inner, names) for n, inner in value.items()}
        case list():
            return [_masked(inner, names) for inner in value]
        case str() if (inner := _inside(value)) is not None and _masked(inner, names) != inner:
            return HIDDEN
        case _:
            return value


def _inside(text: str) -> Any:
    """Return the JSON object or list that a string contains, as some envelopes do, plain or as base64."""
    for content in (text.encode(), _decoded(text)):
        if content.lstrip()[:1] in (b"{", b"["):
            try:
                return exact_json.loads(content)
            except BadRequest:
                continue
    return None


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
