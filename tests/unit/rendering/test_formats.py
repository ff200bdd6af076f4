"""Money, numbers and dates read as a shop means them."""

from typing import Any

import pytest

from libs.rendering import RenderFailed
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


@pytest.mark.parametrize(
    ("currency", "reads"),
    [("EUR", "€1,234.50"), ("JPY", "¥1,234"), ("KWD", "KWD1,234.496"), ("CLF", "CLF1,234.4955")],
)
def test_an_amount_has_the_decimals_of_its_currency(currency: str, reads: str) -> None:
    assert render(f"{{{{ '1234.4955' | money: '{currency}' }}}}") == reads


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


@pytest.mark.parametrize(
    ("source", "zone", "reads"),
    [
        ("{{ event.data.at | date: '%d %H:%M' }}", "Europe/Vienna", "28 23:30"),
        ("{{ event.data.at | date: '%d %H:%M' }}", "Asia/Tokyo", "01 07:30"),
        ("{{ event.data.at | date: '%d %H:%M', 'America/New_York' }}", "Asia/Tokyo", "28 17:30"),
        ("{{ event.data.at | date: '%d %H:%M', event.data.zone }}", "Asia/Tokyo", "28 12:30"),
        ("{{ event.data.at | date: 'time' }}|{{ event.data.at | date: 'datetime_short' }}", "Asia/Tokyo",
         "7:30\u202fAM|3/1/26, 7:30\u202fAM"),
        ("{{ event.data.at | date: 'long' }}|{{ event.data.at | date }}", "Asia/Tokyo", "March 1, 2026|Mar 1, 2026"),
        ("{{ event.data.at | date: '%c|%x|%X|%z' }}", "Asia/Kolkata",
         "Mar 1, 2026, 4:00:00\u202fAM|3/1/26|4:00:00\u202fAM|+0530"),
        ("{% assign t = event.data.at | date: '%R' %}{{ t }}{% if true %}{{ event.data.at | date: '%H' }}{% endif %}",
         "Asia/Tokyo", "07:3007"),
    ],
)  # fmt: skip
def test_a_time_is_the_recipients_unless_the_text_names_a_zone(source: str, zone: str, reads: str) -> None:
    assert render(source, zone, {"at": "2026-02-28T22:30:00Z", "zone": "Pacific/Honolulu"}) == reads


@pytest.mark.parametrize(
    "at",
    [
        "2026-03-29T00:30:00Z",
        "2026-03-29T00:30:00",
        "2026-03-29 00:30:00 UTC",
        "2026-03-28T19:30:00-05:00",
        "Sun, 29 Mar 2026 02:30:00 +0200",
        "20260329003000",
        "2026/03/29 00:30",
        1774744200,
        "1774744200",
        1774744200000,
    ],
)
def test_one_moment_is_one_moment_however_it_is_written(at: object) -> None:
    assert render("{{ event.data.at | date: '%F %R' }}", "Europe/Vienna", {"at": at}) == "2026-03-29 01:30"


@pytest.mark.parametrize(
    ("at", "reads"),
    [("2026-03-29T00:59:00Z", "01:59 +0100"), ("2026-03-29T01:00:00Z", "03:00 +0200"),
     ("2026-10-25T00:30:00Z", "02:30 +0200"), ("2026-10-25T01:30:00Z", "02:30 +0100")],
)  # fmt: skip
def test_summer_time_begins_and_ends(at: str, reads: str) -> None:
    assert render("{{ event.data.at | date: '%R %z' }}", "Europe/Vienna", {"at": at}) == reads


@pytest.mark.parametrize("zone", ["Europe/Wien", "CET+1", "../etc/passwd", "Mars/Olympus"])
def test_an_unknown_zone_fails_instead_of_meaning_another(zone: str) -> None:
    with pytest.raises(RenderFailed, match="is not a time zone; use a name like Europe/Berlin"):
        render("{{ event.data.at | date: '%R' }}", zone, {"at": "2026-03-29T00:59:00Z"})


def test_a_recipient_without_a_zone_reads_utc() -> None:
    compiled = Text("{{ event.data.at | date: '%R %Z' }}", Wanted(ChannelEnvironment("text", "en"), "/part"))

    made = compiled.render({"event": {"data": {"at": "2026-03-29T00:59:00Z"}}, "recipient": {"zone": None}})

    assert made == "00:59 UTC"
