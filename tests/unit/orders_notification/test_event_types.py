"""Event types: schemas validate exactly, leak no values, reach no network; marks are found at any depth."""

from decimal import Decimal
from typing import Any

import pytest

from libs.errors import Invalid
from services.orders_notification.domain.event_types import HIDDEN, From, check_marks, event_type, marked, without

ORDER = {
    "type": "object",
    "required": ["number"],
    "properties": {
        "number": {"type": "string"},
        "total": {"type": "number", "minimum": 0.01},
        "id": {"type": "integer"},
        "customer": {"$ref": "#/$defs/person"},
        "lines": {"type": "array", "items": {"properties": {"engraving": {"x-pii": True}}}},
    },
    "allOf": [{"properties": {"code": {"x-secret": True}}}],
    "$defs": {"person": {"properties": {"email": {"type": "string", "x-pii": True}}}},
}


MARK = {"x-secret": True}


def test_exact_numbers_are_validated_as_numbers() -> None:
    declared = event_type("order.placed", 1, ORDER)
    assert declared.errors_of({"number": "1", "total": Decimal("19.90"), "id": 820982911946154508}) == []


def test_errors_name_the_pointer_and_never_the_value() -> None:
    declared = event_type("order.placed", 1, ORDER)
    errors = declared.errors_of({"total": "very secret", "lines": [1]})
    assert {error.pointer for error in errors} == {"/data/total", "/data"}
    assert "very secret" not in str(errors)


def test_marks_are_found_through_references_items_and_compositions() -> None:
    assert set(marked(ORDER, "x-pii")) == {("customer", "email"), ("lines", From(), "engraving")}
    assert marked(ORDER, "x-secret") == (("code",),)


def test_marked_values_are_masked_in_a_copy() -> None:
    data = {"customer": {"email": "a@b.c", "n": 1}, "lines": [{"engraving": "Zoë"}, 5], "code": "1"}
    hidden = without(data, (*marked(ORDER, "x-pii"), *marked(ORDER, "x-secret")))
    assert hidden == {
        "customer": {"email": "********", "n": 1},
        "lines": [{"engraving": "********"}, 5],
        "code": "********",
    }
    assert data["code"] == "1"
    assert without({"other": 1}, marked(ORDER, "x-pii")) == {"other": 1}


OLD = "http://json-schema.org/draft-07/schema#"
OF_CODE = {"properties": {"code": MARK}}
SENT, SHOWN = {"id": 1, "code": "4711"}, {"id": 1, "code": HIDDEN}


@pytest.mark.parametrize(
    ("schema", "data", "hidden"),
    [
        ({"additionalProperties": MARK, "properties": {"id": {}}}, SENT, SHOWN),
        ({"unevaluatedProperties": MARK, "properties": {"id": {}}}, SENT, SHOWN),
        ({"patternProperties": {"^c": MARK}, "properties": {"id": {}}}, SENT, SHOWN),
        ({"if": {}, "then": OF_CODE}, SENT, SHOWN),
        ({"else": OF_CODE}, SENT, SHOWN),
        ({"dependentSchemas": {"id": OF_CODE}}, SENT, SHOWN),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"additionalProperties": MARK}}}, {"code": "1"}, {"code": HIDDEN}),
        ({"properties": {"l": {"prefixItems": [{}, MARK]}}}, {"l": [1, "a", 2]}, {"l": [1, HIDDEN, 2]}),
        ({"properties": {"l": {"prefixItems": [{}], "items": MARK}}}, {"l": [1, 2, 3]}, {"l": [1, HIDDEN, HIDDEN]}),
        ({"properties": {"l": {"contains": MARK}}}, {"l": ["a", "b"]}, {"l": [HIDDEN, HIDDEN]}),
        (
            {"$schema": OLD, "properties": {"l": {"items": [{}, MARK], "additionalItems": MARK}}},
            {"l": [1, 2, 3]},
            {"l": [1, HIDDEN, HIDDEN]},
        ),
    ],
)
def test_secret_marks_apply_under_every_schema_keyword(
    schema: dict[str, Any], data: dict[str, Any], hidden: dict[str, Any]
) -> None:
    """A code whose mark is missed would be stored, and shown, for a month."""
    assert without(data, event_type("a.b", 1, schema).secret) == hidden


def test_a_recursive_schema_terminates() -> None:
    tree: dict[str, Any] = {"properties": {"child": {"$ref": "#"}, "name": {"x-pii": True}}}
    deep: dict[str, Any] = {"name": "Zoë"}
    for _ in range(50):
        deep = {"child": deep, "name": "Zoë"}
    assert "Zoë" not in str(without(deep, marked(tree, "x-pii")))
    assert event_type("t", 1, tree).errors_of({"child": {"child": {}}}) == []


def test_a_wide_recursive_schema_costs_nothing_where_it_has_no_marks() -> None:
    names = [f"p{n}" for n in range(12)]
    wide = {"properties": {name: {"$ref": "#"} for name in names}}
    assert marked(wide, "x-pii") == ()  # walked path by path it would be 12 to the power of 10


@pytest.mark.parametrize(
    ("schema", "pointer"),
    [
        ({"properties": {f"p{n}": MARK for n in range(501)}}, "/schema"),
        ({"properties": {f"p{n}": {"$ref": "#"} for n in range(12)} | {"code": MARK}}, "/schema"),
        (
            {"properties": {"a": {"$ref": "#code"}}, "$defs": {"c": MARK | {"$anchor": "code"}}},
            "/schema/properties/a/$ref",
        ),
        ({"properties": {"a": {"$dynamicRef": "#c"}, "b": MARK}}, "/schema/properties/a/$dynamicRef"),
    ],
)
def test_a_schema_whose_marks_cannot_all_be_followed_is_refused(schema: dict[str, Any], pointer: str) -> None:
    """What is marked and not hidden would be stored and shown."""
    with pytest.raises(Invalid) as caught:
        check_marks(schema)
    assert [error.pointer for error in caught.value.errors] == [pointer]


def test_of_a_stored_schema_with_too_many_marks_everything_is_hidden() -> None:
    schema = {"properties": {f"p{n}": MARK for n in range(501)}}
    assert without({"p500": "1"}, event_type("t", 1, schema).secret) == HIDDEN


def test_many_marks_are_followed() -> None:
    schema = {
        "properties": {f"p{n}": MARK for n in range(500)} | {"l": {"$ref": "#/allOf/0"}},
        "allOf": [{"items": {}}],
    }
    check_marks(schema)
    assert len(marked(schema, "x-secret")) == 500
    check_marks(None)


@pytest.mark.parametrize(
    "schema",
    [{"type": "strin"}, {"$ref": "https://example.org/a.json"}, {"$ref": "file:///etc/passwd"}, {"pattern": "(?=a)"},
     {"properties": []}, {"$schema": "https://example.org/mine"}],
)  # fmt: skip
def test_an_unusable_schema_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as refused:
        event_type("t", 1, schema)
    assert refused.value.errors[0].pointer.startswith("/schema")
