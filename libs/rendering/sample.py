"""A plausible value for a JSON Schema: for previews without a sample, and the trial render before publishing."""

import re
from collections.abc import Mapping
from typing import Any

_FORMATS = {
    "date-time": "2026-03-01T09:30:00Z",
    "date": "2026-03-01",
    "time": "09:30:00Z",
    "uri": "https://shop.example/",
    "email": "anna@example.com",
    "uuid": "0190a0b0-0000-7000-8000-000000000000",
}
# what a text usually is, by the end of its name
_NAMED = (
    (re.compile(r"currency(_?code)?$", re.IGNORECASE), "EUR"),
    (re.compile(r"(amount|price|total|tax|discount|balance|subtotal|fee)$", re.IGNORECASE), "19.90"),
    (re.compile(r"(ur[li]|link|image)$", re.IGNORECASE), "https://shop.example/"),
    (re.compile(r"(_at|_on|At|[dD]ate|[tT]ime)$"), "2026-03-01T09:30:00Z"),
    (re.compile(r"e?mail$", re.IGNORECASE), "anna@example.com"),
)
_MAX_DEPTH = 8


def sample_event(type_: str, schema: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return an event of this type as an expression or template sees it."""
    return {
        "id": "sample-1",
        "type": type_,
        "source": "preview",
        "subject": "sample",
        "time": "2026-03-01T09:30:00Z",
        "data": sample_value(schema or {}, depth=0) if schema else {},
    }


def sample_recipient(locale: str = "en") -> dict[str, Any]:
    """Return a recipient for previews."""
    return {
        "key": "customer:sample",
        "first_name": "Anna",
        "last_name": "Beispiel",
        "locale": locale,
        "zone": "Europe/Berlin",
        "attributes": {},
    }


def sample_value(schema: Mapping[str, Any], *, depth: int, name: str = "") -> Any:
    """Return an example, default, enum member, or the simplest value of the schema's type; a text by its name."""
    if schema.get("examples"):
        return schema["examples"][0]
    for word in ("example", "const", "default"):
        if word in schema:
            return schema[word]
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    if kind == "array" or "items" in schema:
        items = schema.get("items")
        return [sample_value(items, depth=depth + 1)] if isinstance(items, Mapping) and depth < _MAX_DEPTH else []
    match kind:
        case "string":
            named = next((value for pattern, value in _NAMED if pattern.search(name)), "sample")
            return _FORMATS.get(str(schema.get("format")), named)
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
        case "null":
            return None
    properties = schema.get("properties")
    if isinstance(properties, Mapping) and depth < _MAX_DEPTH:
        return {
            name: sample_value(below, depth=depth + 1, name=name)
            for name, below in properties.items()
            if isinstance(below, Mapping)
        }
    return {}
