"""A signature is found where its sender writes it: in the address, or after the time in one header."""

import hmac
from datetime import UTC, datetime
from typing import Any

import pytest

from libs.errors import Invalid, Unauthorized
from services.orders_notification.domain.delivery import Delivery
from services.orders_notification.domain.signatures import Verification, verify
from services.orders_notification.domain.sources import source

NOW = datetime(2027, 3, 1, 9, 30, tzinfo=UTC)
AT = str(int(NOW.timestamp()))
SECRET = "hush-hush"
BODY = '{"name": "Zoë",  "n": 1.0}\r\n'.encode()


def told(**verification: Any) -> Verification:
    compiled = source("x", 1, {"verification": verification, "mapping": {"type": "'t'", "id": "'1'"}}).verification
    assert compiled is not None
    return compiled


def signed(content: bytes, secret: str = SECRET) -> str:
    return hmac.digest(secret.encode(), content, "sha256").hex()


def test_a_signature_in_the_address() -> None:  # PandaDoc
    verification = told(scheme="hmac-hex", query="signature")

    assert verify(verification, [SECRET], Delivery(BODY, {}, {"signature": signed(BODY), "a": "1"}), NOW) == 0
    for query in ({"signature": signed(BODY + b" ")}, {"signature": ""}, {}):
        with pytest.raises(Unauthorized):
            verify(verification, [SECRET], Delivery(BODY, {}, query), NOW)


@pytest.mark.parametrize("milliseconds", ["", "000"])
def test_a_time_followed_by_its_signatures(milliseconds: str) -> None:  # Recurly
    verification, at = told(scheme="timestamped", header="recurly-signature"), AT + milliseconds
    content = at.encode() + b"." + BODY
    rotating = f"{at},{signed(content, 'the old secret')},{signed(content)}"

    assert verify(verification, [SECRET], Delivery(BODY, {"recurly-signature": rotating}, {}), NOW) == 0
    late = datetime.fromtimestamp(int(AT) + 301, UTC)
    for header, now in ((rotating, late), (at, NOW), (f"{at},{signed(BODY)}", NOW), (f"{signed(content)},{at}", NOW)):
        with pytest.raises(Unauthorized):
            verify(verification, [SECRET], Delivery(BODY, {"recurly-signature": header}, {}), now)


@pytest.mark.parametrize("name", ["t", "ts", "timestamp"])
def test_a_named_time_beside_its_named_signatures(name: str) -> None:  # Ordergroove, Buildkite
    verification = told(scheme="timestamped", header="x-sign", prefix="sig")
    header = f"{name}={AT},sig=00,sig={signed(AT.encode() + b'.' + BODY)}"

    assert verify(verification, [SECRET], Delivery(BODY, {"x-sign": header}, {}), NOW) == 0


@pytest.mark.parametrize(
    "verification",
    [
        {"scheme": "hmac-hex", "header": "x", "query": "y"},
        {"scheme": "hmac-base64", "field": "x", "query": "y"},
        {"scheme": "timestamped", "query": "y"},
    ],
)
def test_a_signature_has_one_place(verification: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        told(**verification)
