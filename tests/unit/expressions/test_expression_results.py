"""Results that would be wrong are refused, and no error repeats a value of the input."""

import pytest

from libs.expressions import Context, EvaluationFailed, compile_expression

NAME = "Zoë Müller"


def failure(text: str, body: object) -> str:
    with pytest.raises(EvaluationFailed) as refused:
        compile_expression(text, variables={"body"}).evaluate(Context({"body": body}))
    return refused.value.detail


@pytest.mark.parametrize("text", ["string(body.id)", "'order:' + string(body.id)"])
def test_a_long_integer_is_not_rounded_to_a_text(text: str) -> None:
    """Two ids of 30 digits became one text, and the second event a duplicate."""
    assert "beyond 64 bits" in failure(text, {"id": 123456789012345678901234567890})
    for id_ in (2**64 - 1, -(2**63), 820982911946154508):
        made = compile_expression(text, variables={"body"}).evaluate(Context({"body": {"id": id_}}))
        assert made.removeprefix("order:") == str(id_)


@pytest.mark.parametrize(
    "text",
    [
        "duration(body.name)",
        "timestamp(body.name)",
        "int(body.name)",
        "double(body.name)",
        "timestamp('2027-03-01T09:30:00Z').getHours(body.name)",
        "body.prices[body.name]",
        "body.name.substring(1, 99)",
    ],
)
def test_an_error_does_not_repeat_what_the_input_says(text: str) -> None:
    told = failure(text, {"name": NAME, "prices": {}})
    assert not [word for word in NAME.split() if word in told]


@pytest.mark.parametrize(
    "text", ["has(body.customer.id)", "body.customer.id", "has(body.customer) ? body.customer.id : null"]
)
def test_a_field_of_null_is_said_to_need_a_guard(text: str) -> None:
    assert "guard null" in failure(text, {"customer": None})
