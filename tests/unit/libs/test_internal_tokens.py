"""The suite's services know one another by a token that names tenant and mode, and that is worth nothing later."""

import base64

import pytest

from libs.auth import InternalTokens, Principal
from libs.contracts.outcomes import Mode
from libs.errors import Unauthorized

KEY = b"k" * 32


def tokens(now: float, key: bytes = KEY) -> InternalTokens:
    return InternalTokens(key, lambda: now)


@pytest.mark.parametrize("later", [0, 60])
def test_a_token_names_service_tenant_and_mode_for_a_minute(later: float) -> None:
    made = tokens(1_000.0).make("delivery", 7, Mode.TEST)
    assert tokens(1_000.0 + later).read(made) == Principal(7, Mode.TEST, "service:delivery")


def test_an_old_token_is_refused() -> None:
    made = tokens(1_000.0).make("delivery", 7, Mode.TEST)
    with pytest.raises(Unauthorized, match="has expired"):
        tokens(1_061.0).read(made)


def test_a_token_signed_with_another_secret_or_changed_is_refused() -> None:
    made = tokens(1_000.0).make("delivery", 7, Mode.TEST)
    raw = base64.urlsafe_b64decode(made)
    other_tenant = raw.replace(b":7:", b":1:")
    other_mac = bytes([raw[31] ^ 1])
    for forged in (other_tenant, raw[:31] + other_mac + raw[32:]):
        with pytest.raises(Unauthorized, match="not signed"):
            tokens(1_000.0).read(base64.urlsafe_b64encode(forged).decode())
    with pytest.raises(Unauthorized, match="not signed"):
        tokens(1_000.0, b"j" * 32).read(made)


@pytest.mark.parametrize("text", ["", "====", "ä", "AAAA"])
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(Unauthorized):
        tokens(1_000.0).read(text)
