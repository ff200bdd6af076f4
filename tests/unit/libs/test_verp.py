"""A return path names its message and attempt, survives mail servers' rewriting, and cannot be forged."""

import base64
import hmac
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.verp import ReturnPath, Verp

OURS = ReturnPath(b"k" * 32, "bounce.shop.example")


@given(st.uuids(), st.integers(0, 2**63 - 1), st.integers(1, 255))
def test_a_return_path_round_trips(notification: UUID, address: int, attempt: int) -> None:
    made = OURS.make(notification, address, attempt)
    assert len(made.partition("@")[0]) <= 64
    assert OURS.read(made) == Verp(notification, address, attempt)


@given(st.uuids(), st.integers(0, 2**63 - 1), st.integers(1, 300))
def test_it_equals_base32_and_hmac_of_the_standard_library(notification: UUID, address: int, attempt: int) -> None:
    """A bounce of a mail in flight may reach a later version."""
    body = b"\1" + notification.bytes + address.to_bytes(8) + min(attempt, 255).to_bytes()
    signed = body + hmac.digest(OURS.key, body, "sha256")[:6]
    local = base64.b32encode(signed).decode().rstrip("=").lower()
    assert OURS.make(notification, address, attempt) == f"b-{local}@bounce.shop.example"


def test_case_brackets_and_a_rewritten_domain_are_ignored() -> None:
    made = OURS.make(UUID(int=5), 7, 1)
    local = made.partition("@")[0]
    for form in (made.upper(), f"<{made}>", f" {local}@forwarder.example "):
        assert OURS.read(form) == Verp(UUID(int=5), 7, 1)


@pytest.mark.parametrize(
    "form",
    [
        '"{}"@bounce.shop.example',
        "{}%bounce.shop.example@relay.example",
        "{}+x@bounce.shop.example",
        "prvs=0123abcdef={}@bounce.shop.example",
        "SRS0=Ab12=3K=bounce.shop.example={}@forwarder.example",
        "bounces+SRS=Ab12=3K=bounce.shop.example={}@forwarder.example",
    ],
)
def test_what_servers_and_forwarders_put_around_our_part_is_ignored(form: str) -> None:
    """Forwarders wrap it (SRS, BATV), and what comes back to them may reach us as they wrapped it."""
    local = OURS.make(UUID(int=5), 7, 1).partition("@")[0]
    assert OURS.read(form.format(local)) == OURS.read(form.format(local.upper())) == Verp(UUID(int=5), 7, 1)


@pytest.mark.parametrize("form", ["a{}@x.example", "{}a@x.example", "x@{}.example"])
def test_our_part_is_found_only_whole_and_before_the_at(form: str) -> None:
    assert OURS.read(form.format(OURS.make(UUID(int=5), 7, 1).partition("@")[0])) is None


def test_another_key_or_a_changed_character_is_rejected() -> None:
    made = OURS.make(UUID(int=5), 7, 1)
    assert ReturnPath(b"j" * 32, "bounce.shop.example").read(made) is None
    for at in range(2, made.index("@") - 1):  # the last one has unused bits
        changed = made[:at] + ("a" if made[at] != "a" else "b") + made[at + 1 :]
        assert OURS.read(changed) is None, at


@pytest.mark.parametrize("text", ["", "@", "b-@x", "b-!!@x", "bounce@x.example", "b-" + "a" * 500, "b-ä@x"])
def test_any_other_address_is_rejected(text: str) -> None:
    assert OURS.read(text) is None
