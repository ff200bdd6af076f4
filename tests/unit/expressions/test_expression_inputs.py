"""The engine gets the values that an expression reads, and no others; the results are the same."""

from typing import Any

import pytest

from libs.expressions import Context, EvaluationFailed, compile_expression, needed


def test_what_is_only_tested_or_passed_through_is_not_converted() -> None:
    """The engine copies an object each time that one of its fields is read."""
    order = {"number": "7", "items": object()}  # the engine would refuse to convert it
    texts = [
        "has(event.order) && has(event.order.items) && event.order.number == '7'",
        "has(event.order.items) ? event.order.number : event.order.items",
        "has(event.gone) || event.order.number != '7' ? null : event.order",
    ]
    expressions = [compile_expression(text, variables={"event"}) for text in texts]
    context = Context({"event": {"order": order}}, needed(expressions))

    assert [expression.evaluate(context) for expression in expressions] == [True, "7", order]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("has(event.x) && has(event.x.y) && has(event.x.y.z)", True),
        ("has(event.x) && event.x == {'y': {'z': 1}}", True),
        ("has(event.x.y) && size(event.x) == 1", True),
        ("has(event.none) ? event.gone : event.x.y.z", None),
        ("event.x.y.z == 1 ? event.list : event.gone", [1]),
        ("event.x.y.z == 2 ? event.gone : (event.list)", [1]),
        ("has(event.no) ? event.no : has(event.x) ? event.long : null", 10**30),
        ("has(event.x) ? event.long : null", 10**30),
        ("(has(event.x) ? event.list : event.list)[0]", 1),
        ("{'a': has(event.x) ? event.list : null}", {"a": [1]}),
    ],
)
def test_testing_and_choosing_give_what_the_engine_would(text: str, expected: Any) -> None:
    event = {"x": {"y": {"z": 1}}, "none": None, "list": [1], "long": 10**30, "gone": None}
    assert compile_expression(text, variables={"event"}).evaluate(Context({"event": event})) == expected


def test_reading_a_field_of_a_list_says_how_to_read_its_first_item() -> None:
    with pytest.raises(EvaluationFailed, match=r"reads a field of null, of a text or of a list.*\[0\]"):
        compile_expression("event.list.number", variables={"event"}).evaluate(Context({"event": {"list": [{}]}}))


def test_a_condition_that_is_neither_true_nor_false_chooses_nothing() -> None:
    with pytest.raises(EvaluationFailed, match="combines types"):
        compile_expression("event.x ? event.y : null", variables={"event"}).evaluate(
            Context({"event": {"x": 1, "y": 2}})
        )
