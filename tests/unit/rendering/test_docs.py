"""The page on templates agrees with the code."""

import re
from pathlib import Path

import pytest

from libs.expressions.functions import CORE, FUNCTIONS
from libs.rendering import check_template
from libs.rendering.environment import ChannelEnvironment
from libs.rendering.parts import OPTIONAL, REQUIRED
from libs.rendering.schema import EVENT_FIELDS, LINK_FIELDS, RECIPIENT_FIELDS

PAGE = (Path(__file__).parents[3] / "docs" / "what-you-write.md").read_text()


def words(section: str) -> set[str]:
    """The words in backticks of a section; of `money: "EUR"` the first."""
    text = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    return {found.split(":")[0] for found in re.findall(r"`([^`]+)`", text)}


def test_the_page_lists_exactly_the_filters() -> None:
    environment = ChannelEnvironment("text", "en")
    not_filters = {"now", "short", "medium", "long", "full", "time", "datetime_medium"}

    found = {word for word in words("Filters") if re.fullmatch(r"[a-z0-9_]+", word)} - not_filters

    assert found == set(environment.filters)


def test_every_tag_is_on_the_page() -> None:
    hidden = {"#", "literal", "content", "output", "illegal"}
    tags = {name for name in ChannelEnvironment("html", "en").tags if re.fullmatch("[a-z]+", name)} - hidden

    assert words("Tags") - {"raw"} == tags - {"raw"}


def test_every_function_is_on_the_page() -> None:
    text = PAGE.split("Functions: ")[1].split("\n## ")[0]

    assert set(re.findall(r"`([^`]+)`", text)) == CORE | FUNCTIONS.keys()


@pytest.mark.parametrize("channel", sorted(REQUIRED))
def test_every_part_is_on_the_page(channel: str) -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| {channel} |"))

    assert {*REQUIRED[channel], *OPTIONAL[channel]} <= set(re.findall(r"`([a-z_]+)`", row))


@pytest.mark.parametrize(
    ("name", "fields"), [("event", EVENT_FIELDS), ("recipient", RECIPIENT_FIELDS), ("links", LINK_FIELDS)]
)
def test_every_variable_is_on_the_page(name: str, fields: frozenset[str]) -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{name}`"))

    assert set(re.findall(r"`([a-z_]+)`", row)) - {name} == fields


def moves() -> list[tuple[list[str], list[str]]]:
    """The rows of the table on other platforms: what they write, and what is written here."""
    section = PAGE.split("\n## Coming from ")[1].split("\n## ")[0]
    rows = [
        line.replace("\\|", "\0").strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| `")
    ]
    return [tuple(re.findall(r"`([^`]+)`", cell.replace("\0", "|")) for cell in row) for row in rows]  # type: ignore[misc]


def test_what_to_write_instead_of_another_platforms_liquid_is_right() -> None:
    there = [word if re.match(r"\{[{%#]", word) else f"{{{{ {word} }}}}" for row in moves() for word in row[0]]
    here = [word for row in moves() for word in row[1] if word != "strip_html"]

    assert len(there) > 20
    assert len(here) > 10
    for source in here:
        assert check_template("email", {"en": {"subject": "s", "html": source}}) == [], source
    for source in there:
        assert check_template("email", {"en": {"subject": "s", "html": source.replace("…", "x")}}), source
