"""Promise: a variable that an event cannot have is found at publishing, and the one that was meant is named."""

import pytest

from libs.rendering import PushContent, RenderFailed, compile_template, optional_variables
from libs.rendering.schema import unknown_path

SCHEMA = {
    "properties": {
        "order_id": {},
        "lines": {"items": {"$ref": "#/$defs/line"}},
        "customer": {"allOf": [{"properties": {"first_name": {}}}, {"properties": {"city": {}}}]},
    },
    "$defs": {"line": {"properties": {"quantity": {}, "name": {}}}},
}


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        (("order_ids",), " Did you mean 'order_id'?"),
        (("lines", "first", "quantitty"), " Did you mean 'quantity'?"),
        (("customer", "firstname"), " Did you mean 'first_name'?"),
        (("zzz",), ""),
    ],
)
def test_an_unknown_variable_names_the_one_that_was_meant(path: tuple[str, ...], meant: str) -> None:
    said = unknown_path(("event", "data", *path), SCHEMA)
    assert said == f"The event type's schema has no {'.'.join(('event', 'data', *path))!r}.{meant}"


CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
NULLABLE = {
    "properties": {
        "address": CITY | {"type": ["object", "null"]},
        "either": {"oneOf": [CITY, {"type": "null"}]},
        "lines": {"type": "array", "items": {"properties": {"to": CITY | {"type": ["object", "null"]}}}},
        "home": CITY,
    },
    "required": ["address", "either", "lines", "home"],
}


def said(source: str, **data: object) -> str:
    parts = {"title": "t", "body": f"[{source}]"}
    optional = frozenset(optional_variables("push", {"en": parts}, NULLABLE))
    made = compile_template("push", "en", parts, optional=optional).render({"event": {"data": data}})
    assert isinstance(made, PushContent)
    return made.body


@pytest.mark.parametrize(
    ("source", "data"),
    [
        ("{{ event.data.address.city | upcase }}", {"address": None}),
        ("{{ event.data.either.city }}", {"either": None}),
        ("{% for line in event.data.lines %}{{ line.to.city }}{% endfor %}", {"lines": [{"to": None}, {}]}),
        ("{% assign to = event.data.address %}{{ to.city }}", {"address": None}),
        ("{{ event.data.lines[2].to.city }}{{ event.data.lines.first.to.city }}", {"lines": []}),
    ],
)
def test_an_event_that_fits_its_schema_fails_no_text(source: str, data: dict[str, object]) -> None:
    assert said(source, **data) == "[]"


@pytest.mark.parametrize(
    "source", ["{{ event.data.home.city }}", "{% assign h = event.data.home %}{{ h.city }}", "{{ event.data.address }}"]
)
def test_what_the_schema_requires_is_not_left_out_in_silence(source: str) -> None:
    with pytest.raises(RenderFailed, match="is missing"):
        said(source, home={})
