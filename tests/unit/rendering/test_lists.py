"""Filters on lists and words read as in Shopify where a value is null, missing, or exactly as long as allowed."""

from decimal import Decimal
from typing import Any

import pytest

from libs.errors import Invalid
from libs.rendering.environment import ChannelEnvironment
from libs.rendering.limits import RenderFailed
from libs.rendering.text import Text, Wanted

DATA: dict[str, Any] = {
    "nothing": None, "yes": True, "title": "Teapot made of glass", "letters": ["b", "A", None, "c"], "card": "123",
    "items": [
        {"name": "Tea", "at": 2, "price": Decimal("9.90"), "note": None},
        {"name": "cup", "at": None, "price": 4, "note": "z"},
        {"name": "Pot", "at": 1, "price": 19, "note": "B"},
        {"name": "lid", "price": 3, "note": "a"},
    ],
    "mixed": [1, "one"],
}  # fmt: skip


def render(source: str) -> str:
    text = Text(source, Wanted(ChannelEnvironment("text", "en", {"event.data.gone"}), "/part"))
    recipient = {"first_name": "Ada", "last_name": None, "zone": "UTC"}
    return text.render({"event": {"data": DATA}, "recipient": recipient, "links": {}})


@pytest.mark.parametrize(
    ("words", "reads"),
    [
        ("5", "Teapot made of glass"),
        ("4", "Teapot made of glass"),
        ("3", "Teapot made of..."),
        ("'2', '…'", "Teapot made…"),
        ("0", "Teapot..."),
    ],
)
def test_a_text_with_no_more_words_than_allowed_is_not_cut(words: str, reads: str) -> None:
    assert render(f"{{{{ event.data.title | truncatewords: {words} }}}}") == reads


@pytest.mark.parametrize(
    ("source", "reads"),
    [
        ("{{ recipient.first_name | slice: 0 }}.{{ recipient.last_name | slice: 0 }}", "A."),
        ("{{ recipient.last_name | slice: 0, 3 }}{{ event.data.gone | slice: 1, 3 }}", ""),
        ("{{ event.data.yes | slice: 0, 2 }}", "tr"),
        ("{{ event.data.card | slice: -4, 4 }}|{{ event.data.card | slice: -3, 9 }}", "|123"),
        ("{{ event.data.card | slice: 2, 9 }}|{{ event.data.card | slice: 3 }}{{ event.data.card | slice: 9 }}", "3|"),
        ("{{ event.data.letters | slice: 1, 3 | join: '-' }}{{ (1..9) | slice: 2, 2 | join }}", "A--c3 4"),
    ],
)
def test_a_part_of_nothing_is_nothing(source: str, reads: str) -> None:
    assert render(source) == reads


@pytest.mark.parametrize("filters", ["reverse", "sort", "sort_natural", "uniq", "sort: 'x'", "slice: 0, 2", "compact"])
@pytest.mark.parametrize("missing", ["nothing", "gone"])
def test_a_list_that_is_null_or_missing_has_no_items(filters: str, missing: str) -> None:
    source = f"{{% assign l = event.data.{missing} | {filters} %}}{{% for i in l %}}row{{% else %}}none{{% endfor %}}"

    assert render(source) == "none"


@pytest.mark.parametrize("missing", ["nothing", "gone"])
def test_a_list_joined_to_nothing_is_that_list(missing: str) -> None:
    assert (
        render(f"{{{{ event.data.{missing} | concat: event.data.items | map: 'name' | join }}}}") == "Tea cup Pot lid"
    )


def names(filters: str) -> str:
    return render(f"{{{{ event.data.items | {filters} | map: 'name' | join }}}}")


def test_what_has_nothing_to_be_sorted_by_comes_last() -> None:
    assert names("sort: 'at'") == "Pot Tea cup lid"
    assert names("sort: 'price'") == "lid cup Tea Pot"
    assert names("sort_natural: 'note'") == "lid Pot cup Tea"
    assert render("{{ event.data.letters | sort | join: '-' }}") == "A-b-c-"
    assert render("{{ event.data.letters | sort_natural | join: '-' }}") == "A-b-c-"


def test_items_that_lack_a_field_are_left_out_like_those_where_it_is_null() -> None:
    assert names("compact: 'at'") == "Tea Pot"


def test_a_list_of_different_types_cannot_be_sorted_and_the_error_says_so() -> None:
    with pytest.raises((Invalid, RenderFailed), match="cannot sort values of different types"):
        render("{{ event.data.mixed | sort | join }}")
