"""Promise: an unsubscribe link contains exactly what we signed, and nobody else can forge one."""

import base64
import hmac
from dataclasses import replace

import msgspec
import pytest

from libs.contracts.outcomes import Channel, Mode
from libs.ids import uuid7
from libs.links import UNSUBSCRIBE_PATH, UnsubscribeLink, read_unsubscribe, sign_unsubscribe, unsubscribe_url
from services.delivery.adapters.smtp.headers import url

KEY = b"k" * 32
LINK = UnsubscribeLink(7, Mode.TEST, "customer:Ä-4711", "price-alerts", Channel.EMAIL, "0-1.5")


def test_a_signed_link_round_trips() -> None:
    assert read_unsubscribe(KEY, sign_unsubscribe(KEY, LINK)) == LINK


def test_the_url_needs_no_escaping() -> None:
    url = unsubscribe_url(KEY, "https://shop.example/", LINK)
    assert url.startswith("https://shop.example" + UNSUBSCRIBE_PATH)
    assert url.rpartition("/")[2].replace("-", "").replace("_", "").isalnum()


LONGEST_MESSAGE = f"{uuid7()}.{2**63 - 1}"


@pytest.mark.parametrize("script", ["\U0010ffff", "\U0001f600", "漢", "ж", "\u0001z"])
def test_the_longest_recipient_in_any_script_fits_into_a_header_line(script: str) -> None:
    recipient = "installation:" + (script * 200)[:200]
    link = UnsubscribeLink(32_767, Mode.LIVE, recipient, "t" * 64, Channel.EMAIL, LONGEST_MESSAGE)
    found = url(unsubscribe_url(KEY, "https://notifications.shop.example", link), "the link")
    assert len(f"List-Unsubscribe: {found}") <= 998
    assert read_unsubscribe(KEY, found.strip("<>").rpartition("/")[2]) == link


def test_a_link_from_a_text_without_a_message_of_ours_round_trips() -> None:
    link = replace(LINK, recipient="customer:" + "漢" * 200)
    assert read_unsubscribe(KEY, sign_unsubscribe(KEY, link)) == link


def test_another_key_is_rejected() -> None:
    assert read_unsubscribe(b"x" * 32, sign_unsubscribe(KEY, LINK)) is None


def test_a_link_of_another_kind_unsubscribes_nobody() -> None:
    body = b"\1" + msgspec.msgpack.encode(("preferences", 7, 2, "customer:1", "price-alerts", 2, ""))
    token = base64.urlsafe_b64encode(body + hmac.digest(KEY, body, "sha256")[:16]).decode().rstrip("=")
    assert read_unsubscribe(KEY, token) is None
    ours = body.replace(b"\xabpreferences", b"\xa1u")
    token = base64.urlsafe_b64encode(ours + hmac.digest(KEY, ours, "sha256")[:16]).decode().rstrip("=")
    assert read_unsubscribe(KEY, token) is not None


def test_a_changed_character_is_rejected() -> None:
    token = sign_unsubscribe(KEY, LINK)
    for at in range(len(token) - 1):
        changed = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        assert read_unsubscribe(KEY, changed) is None


@pytest.mark.parametrize("token", ["", "A", "====", "ü", "a/b+c", "A" * 2_000, "\0", "AQ"])
def test_random_text_is_rejected(token: str) -> None:
    assert read_unsubscribe(KEY, token) is None
