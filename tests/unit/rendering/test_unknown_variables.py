"""Promise: a variable that an event cannot have is found at publishing, and the one that was meant is named."""

import pytest

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
