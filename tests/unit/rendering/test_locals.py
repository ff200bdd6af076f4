"""Promise: a local that was not assigned on this way is nothing, as in Shopify; what the event lacks is an error."""

from typing import Any

import pytest

from libs.rendering import PushContent, RenderFailed, check_template, compile_template
from libs.rendering.checks import optional_variables, unknown_variables

ITEMS = [
    {"title": "Cup", "quantity": 1, "gift": False},
    {"title": "Card", "quantity": 2, "gift": True, "note": "For Ada"},
]


def said(source: str, optional: tuple[str, ...] = (), **data: Any) -> str:
    template = compile_template("push", "en", {"title": "t", "body": source}, optional=frozenset(optional))
    made = template.render({"event": {"data": {"items": ITEMS} | data}, "recipient": {}, "links": {}})
    assert isinstance(made, PushContent)
    return made.body


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{% if event.data.vip %}{% assign c = 'vip' %}{% endif %}[{{ c }}]", "[]"),
        ("{% if event.data.vip %}{% capture c %}vip{% endcapture %}{% endif %}[{{ c | append: '!' }}]", "[!]"),
        (
            "{% for i in event.data.items %}{{ c }}{{ i.title }}{% assign c = ', ' %}{% endfor %}",
            "Cup, Card",
        ),
        ("{% for i in event.data.items %}{% assign n = n | plus: i.quantity %}{% endfor %}{{ n }}", "3"),
        ("{% assign p = nil %}{% if event.data.x %}{% assign p = event.data.x %}{% endif %}[{{ p.title }}]", "[]"),
        ("{% assign g = event.data.items | where: 'title', 'Hat' | first %}[{{ g.title }}{{ g.image.src }}]", "[]"),
        ("{% assign g = event.data.items | where: 'gift' | first %}{% assign h = g %}{{ h.title }}", "Card"),
    ],
)  # fmt: skip
def test_a_local_without_a_value_is_nothing(source: str, expected: str) -> None:
    assert check_template("push", {"en": {"title": "t", "body": source}}) == []
    assert said(source) == expected


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        ("{% assign a = event.data.address %}{{ a.city }}", "a.city"),
        ("{% assign g = event.data.items | first %}{{ g.image }}", "g.image"),
        ("{% for c in event.data.items %}{{ c.image }}{% endfor %}{% assign c = nil %}", "c.image"),
    ],
)
def test_a_local_does_not_hide_what_the_event_lacks(source: str, missing: str) -> None:
    with pytest.raises(RenderFailed, match=rf"{missing} is missing"):
        said(source, address={"zip": "1010"})


def test_a_name_that_is_never_assigned_is_unknown() -> None:
    source = "{% assign titel = 'x' %}{{ title }}"

    assert (
        "The variable 'title' is not known" in check_template("push", {"en": {"title": "t", "body": source}})[0].detail
    )


SCHEMA = {
    "properties": {
        "items": {
            "type": "array",
            "items": {"properties": {"title": {"type": "string"}, "note": {"type": "string"}}, "required": ["title"]},
        }
    },
    "required": ["items"],
}


@pytest.mark.parametrize(
    "source",
    [
        "{% assign all = event.data.items | sort: 'title' | reverse %}{% for i in all %}{{ i.FIELD }}{% endfor %}",
        "{% assign one = event.data.items | where: 'title', 'Cup' | first %}{{ one.FIELD }}",
    ],
)
def test_the_schema_holds_for_the_items_of_a_sorted_or_filtered_list(source: str) -> None:
    parts = {"title": "t", "body": source.replace("FIELD", "note")}
    misspelt = {"title": "t", "body": source.replace("FIELD", "notte")}

    optional = tuple(optional_variables("push", {"en": parts}, SCHEMA))

    assert said(parts["body"], optional, items=[{"title": "Cup"}]) == ""
    problems = unknown_variables("push", {"en": misspelt}, SCHEMA)
    assert "Did you mean 'note'" in problems[0].detail
