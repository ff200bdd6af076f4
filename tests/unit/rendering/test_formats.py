"""Money, numbers and dates read as a shop means them."""

from typing import Any

import pytest

from libs.rendering.environment import ChannelEnvironment
from libs.rendering.text import Text, Wanted


def render(source: str, zone: str = "UTC", data: dict[str, Any] | None = None) -> str:
    compiled = Text(source, Wanted(ChannelEnvironment("text", "en"), "/part"))
    return compiled.render({"event": {"data": data or {}}, "recipient": {"zone": zone}})


@pytest.mark.parametrize(
    ("amount", "reads"),
    [
        ("2.5", "€2.50 2.50 3"),
        ("0.125", "€0.13 0.13 0"),
        ("-0.125", "-€0.13 -0.13 0"),
        ("19.985", "€19.99 19.99 20"),
        ("-0.001", "€0.00 0.00 0"),
        ("1" * 40 + ".125", "€" + "1" + ",111" * 13 + ".13 " + "1" + ",111" * 13 + ".13 " + "1" + ",111" * 13),
    ],
)
def test_half_a_cent_rounds_up(amount: str, reads: str) -> None:
    assert render(f"{{{{ '{amount}' | money: 'EUR' }}}} {{{{ '{amount}' | number: 2 }}}} "
                  f"{{{{ '{amount}' | number: 0 }}}}") == reads  # fmt: skip


@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Europe/Berlin", "Pacific/Auckland"])
@pytest.mark.parametrize(
    "day",
    ["2026-03-01", "20260301", "2026/03/01", "March 1, 2026", "1 Mar 2026", "2026-W09-7"],
)
def test_a_day_is_the_same_day_in_every_zone(zone: str, day: str) -> None:
    made = render("{{ event.data.day | date: '%Y-%m-%d' }}", zone, {"day": day})

    assert made == "2026-03-01"


def test_a_time_without_separators_is_not_taken_for_seconds() -> None:
    assert render("{{ '20260301093000' | date: '%Y-%m-%d %H:%M', 'UTC' }}") == "2026-03-01 09:30"


@pytest.mark.parametrize(
    ("directives", "reads"),
    [
        ("%g-W%V %G", "26-W53 2026"),
        ("%-l:%M%#p %#a %^b", "9:05pm SUN JAN"),
        ("%z %:z %::z", "+0000 +00:00 +00:00:00"),
    ],
)
def test_directives_are_those_of_shopify(directives: str, reads: str) -> None:
    assert render(f"{{{{ '2027-01-03T21:05:00Z' | date: '{directives}' }}}}") == reads
