"""What publishing checks in a definition before anything is released."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from services.orders_notification.domain.communications import (
    ChannelUse,
    Communication,
    Definition,
    Step,
    Surroundings,
    bundle_of,
    digest_of,
    problems_of_expressions,
    problems_of_plan,
)
from services.orders_notification.handlers.publishing import problems_of

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["customer"],
    "properties": {
        "customer": {"type": "string"},
        "carrier": {"type": "string"},
        "items": {"type": "array", "items": {"type": "object", "properties": {"price": {"type": "number"}}}},
    },
}
PLAN = (Step("all", (ChannelUse("push", "parcel.push"),)),)
DEFINITION = Definition("parcel.shipped", PLAN, "transactional", recipient="event.data.customer")
PUSH = {"channel": "push", "version": 3, "locales": {"en": {"title": "T", "body": "{{ event.data.carrier }}"}}}


def around(**changes: Any) -> Surroundings:
    return replace(Surroundings({"parcel.push": PUSH}, {}, "en", "UTC", SCHEMA), **changes)


@pytest.mark.parametrize(
    ("condition", "known"),
    [
        ("event.data.carrier == 'DHL'", True),
        ("has(event.data.carrier) && event.subject != ''", True),
        ("event.data.carier == 'DHL'", False),
        ("has(event.data.coupon)", False),
        ("event.data.items.exists(i, i.price > 10)", True),
        ("event.data.itmes.exists(i, i.price > 10)", False),
        ("event.data['carrier'] == 'DHL'", True),
        ("event.number == 1", False),
        ("true", True),
        ("'x'", False),
        ("1 + 1", False),
        ("1 / 0 == 1", False),
    ],
)
def test_a_condition_may_read_only_fields_of_the_schema(condition: str, known: bool) -> None:
    found = list(problems_of_expressions(replace(DEFINITION, condition=condition), SCHEMA))

    assert [problem.pointer for problem in found] == ([] if known else ["/condition"])


def test_without_a_schema_only_the_envelope_is_checked() -> None:
    free = replace(DEFINITION, condition="event.data.anything == event.nothing")

    assert [problem.pointer for problem in problems_of_expressions(free, None)] == ["/condition"]


def test_all_problems_are_reported_at_once() -> None:
    broken = replace(DEFINITION, condition="event.data.carrier ==", category="marketing", topic=None)
    typo = PUSH | {"locales": {"en": {"title": "{{ event.data.x }}", "body": "{{ name }}"}}}

    found = {problem.pointer for problem in problems_of(broken, around(templates={"parcel.push": typo}))}

    assert found == {
        "/condition",
        "/topic",
        "/templates/parcel.push/locales/en/title",
        "/templates/parcel.push/locales/en/body",
    }


def test_a_template_without_the_default_locale_is_refused() -> None:
    assert [p.pointer for p in problems_of_plan(DEFINITION, around(default_locale="de"))] == [
        "/plan/0/channels/0/template"
    ]
    assert list(problems_of_plan(DEFINITION, around(default_locale="en-GB"))) == []


def test_a_bundle_lists_optional_fields_and_its_digest_follows_its_templates() -> None:
    draft = Communication("parcel", DEFINITION, 1, None, None, None, None, datetime(2027, 3, 1, tzinfo=UTC))
    bundle = bundle_of(draft, around(), (1, "live"))
    newer = bundle_of(draft, around(templates={"parcel.push": PUSH | {"version": 4}}), (1, "live"))

    assert bundle["templates"]["parcel.push"]["optional"] == ["event.data.carrier"]
    assert digest_of(DEFINITION, bundle) != digest_of(DEFINITION, newer)
    assert digest_of(DEFINITION, bundle) == digest_of(DEFINITION, bundle_of(draft, around(), (1, "live")))
