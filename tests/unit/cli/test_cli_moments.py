"""Promise: every option for a time takes a date, a time with its zone, and 24h or 7d ago; anything else is refused."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import typer

from cli.main import app
from cli.moments import moment


def options(group: Any) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from ((f"{name} {below}", option) for below, option in options(command))
        else:
            yield from ((name, option) for option in command.params)


def test_every_period_is_given_in_the_same_forms() -> None:
    named = [
        (name, option)
        for name, option in options(typer.main.get_command(app))
        if {"--since", "--until", "--from", "--to"} & set(option.opts) and option.metavar != "URL"
    ]
    assert len(named) >= 10
    assert [name for name, option in named if option.metavar != "TIME"] == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2027-03-01", "2027-03-01T00:00:00Z"),
        ("2027-03-01T09:30:00+01:00", "2027-03-01T09:30:00+01:00"),
        ("2027-03-01T09:30:00Z", "2027-03-01T09:30:00Z"),
    ],
)
def test_dates_and_times_are_taken_as_they_are(text: str, said: str) -> None:
    assert moment(text) == said


@pytest.mark.parametrize(("text", "ago"), [("90m", 90), ("24h", 1_440), ("7d", 10_080), ("4w", 40_320)])
def test_spans_count_back_from_now(text: str, ago: int) -> None:
    expected = datetime.now(UTC) - timedelta(minutes=ago)
    assert abs(datetime.fromisoformat(moment(text)) - expected) < timedelta(minutes=1)


@pytest.mark.parametrize("text", ["", "d", "7", "7y", "-7d", "yesterday", "9" * 12 + "w", "²d"])
def test_anything_else_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is not a time"):
        moment(text)
