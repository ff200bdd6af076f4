"""Which address or domain of ours a block names."""

from random import Random

import pytest

from services.bounce.domain import health
from services.bounce.domain.health import blocked_origin


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("554 5.7.1 Service unavailable; client [8.8.4.4] blocked", "8.8.4.4"),
        ("550 5.7.1 [2a00:1450:4001:81c::200e] is listed", "2a00:1450:4001:81c::200e"),
        ("550 5.7.1 from 192.168.1.1 by way of 8.8.4.4", "8.8.4.4"),
        ("550 version 1.2.3.4.5 at 10:20:30", "shop.example"),
        ("550 5.7.1 blocked", "shop.example"),
    ],
)
def test_the_first_public_address_else_the_domain(text: str, origin: str) -> None:
    assert blocked_origin(text, "shop.example") == origin


def test_a_text_without_colons_is_searched_for_ipv4_only() -> None:
    chance = Random(5)
    pieces = ("8.8.4.4", "192.0.2.1", "1.2.3.4.5", ".", "25", "a", "x", "[", "]", " ", "-", ":", "\n", "5.7.1", "::1")
    for _ in range(20_000):
        text = "".join(chance.choices(pieces, k=chance.randint(1, 9)))
        if text.count(":") < 2:
            found = health._ADDRESSES.findall(text)
            assert health._ADDRESSES_V4.findall(text) == found
            assert text.count(".") >= 3 or not found
