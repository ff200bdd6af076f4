"""Promise: an unknown field's error names the fields near it, at any depth, and costs little however many there are."""

import time
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from libs.errors import FieldError
from libs.field_errors import field_errors
from libs.near import did_you_mean, near


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class Mail(Strict):
    channel: Literal["email"] = "email"
    subject: str = ""


class Push(Strict):
    channel: Literal["push"] = "push"
    title: str = ""


class Step(Strict):
    content: Annotated[Mail | Push, Field(discriminator="channel")] | None = None
    labels: dict[str, Mail] = {}


class Body(Strict):
    name: str = ""
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    steps: list[Step] = []


def errors_of(document: Any) -> list[FieldError]:
    with pytest.raises(ValidationError) as caught:
        Body.model_validate(document)
    errors = [error | {"loc": ("body", *error["loc"])} for error in caught.value.errors()]
    return field_errors(errors, document, Body)


@pytest.mark.parametrize(
    ("document", "pointer", "said"),
    [
        ({"nam": "x"}, "/nam", " Did you mean 'name'?"),
        ({"Schema": {}}, "/Schema", " Did you mean 'schema'?"),
        ({"steps": [{"contents": {}}]}, "/steps/0/contents", " Did you mean 'content'?"),
        (
            {"steps": [{"content": {"channel": "push", "titel": ""}}]},
            "/steps/0/content/titel",
            " Did you mean 'title'?",
        ),
        ({"steps": [{"labels": {"a": {"subjekt": ""}}}]}, "/steps/0/labels/a/subjekt", " Did you mean 'subject'?"),
        ({"zzz": 1}, "/zzz", ""),
    ],
)
def test_an_unknown_field_names_those_near_it(document: Any, pointer: str, said: str) -> None:
    (error,) = errors_of(document)
    assert error == FieldError(pointer, f"There is no such field.{said} Remove it, or check its name at /docs.")


def test_a_body_of_unknown_fields_is_answered_quickly() -> None:
    started = time.process_time()
    assert len(errors_of({f"name-{n}" * 20: 1 for n in range(20_000)})) == 20_000
    assert time.process_time() - started < 5


def test_names_are_compared_without_case_and_at_most_three_are_named() -> None:
    assert near("PRICE-ALERT", ["price-alerts", "back-in-stock"]) == ["price-alerts"]
    assert len(near("aa", ["aa1", "aa2", "aa3", "aa4"])) == 3
    assert did_you_mean(["a", "b"]) == " Did you mean 'a' or 'b'?"
    assert near("x", []) == []
