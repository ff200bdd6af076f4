"""Promise: an unsubscribe link contains exactly what we signed, and nobody else can forge one."""

import pytest

from libs.contracts.outcomes import Channel, Mode
from libs.links import UNSUBSCRIBE_PATH, UnsubscribeLink, read_unsubscribe, sign_unsubscribe, unsubscribe_url

KEY = b"k" * 32
LINK = UnsubscribeLink(7, Mode.TEST, "customer:Ä-4711", "price-alerts", Channel.EMAIL, "0-1.5")


def test_a_signed_link_round_trips() -> None:
    assert read_unsubscribe(KEY, sign_unsubscribe(KEY, LINK)) == LINK


def test_the_url_needs_no_escaping() -> None:
    url = unsubscribe_url(KEY, "https://shop.example/", LINK)
    assert url.startswith("https://shop.example" + UNSUBSCRIBE_PATH)
    assert url.rpartition("/")[2].replace("-", "").replace("_", "").isalnum()


def test_another_key_is_rejected() -> None:
    assert read_unsubscribe(b"x" * 32, sign_unsubscribe(KEY, LINK)) is None


def test_a_changed_character_is_rejected() -> None:
    token = sign_unsubscribe(KEY, LINK)
    for at in range(0, len(token) - 1, 5):
        changed = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        assert read_unsubscribe(KEY, changed) is None


@pytest.mark.parametrize("token", ["", "A", "====", "ü", "a/b+c", "A" * 2_000, "\0", "AQ"])
def test_random_text_is_rejected(token: str) -> None:
    assert read_unsubscribe(KEY, token) is None
