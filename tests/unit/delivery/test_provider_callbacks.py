"""Callbacks: unsigned ones are refused, signed ones are read completely."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode
from uuid import UUID

import pytest

from libs import standard_webhooks
from libs.contracts.outcomes import Channel, ReceiptKind
from libs.contracts.reasons import Reason
from libs.errors import BadRequest, Invalid, Unauthorized
from services.delivery.adapters.simulator_callbacks import SimulatorCallbacks
from services.delivery.adapters.twilio_callbacks import TwilioCallbacks, signature
from services.delivery.domain.callbacks import Callback, News, ReceiptNews, ReplyNews

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
NOTIFICATION = UUID("01936b1e-7c00-8000-8000-000000000001")
MESSAGE = f"{NOTIFICATION}.17"
URL = f"https://depesche.example/delivery/v1/callbacks/twilio?sender=9&message={MESSAGE}&attempt=2"
FORM = "application/x-www-form-urlencoded"
KEY = b"s" * 32


def twilio(
    fields: dict[str, str] | list[tuple[str, str]], url: str = URL, token: str = "token", signed: str | None = None
) -> Callback:
    pairs = list(fields.items()) if isinstance(fields, dict) else fields
    given = signature(token, signed or url, pairs).decode()
    return Callback(url, {"content-type": FORM, "x-twilio-signature": given}, urlencode(pairs).encode())


def read(callback: Callback, *tokens: str) -> list[News]:
    return list(TwilioCallbacks(tokens or ("token",)).read(callback, NOW))


def test_the_signature_matches_twilios() -> None:
    """The example of Twilio's documentation, digit for digit."""
    fields = [
        ("CallSid", "CA1234567890ABCDE"),
        ("Caller", "+14158675309"),
        ("Digits", "1234"),
        ("From", "+14158675309"),
        ("To", "+18005551212"),
    ]
    url = "https://mycompany.com/myapp.php?foo=1&bar=2"
    assert signature("12345", url, fields) == b"RSOYDt4T1cUTdK1PDd93/VVr8B8="


def test_a_status_becomes_a_receipt() -> None:
    [news] = read(twilio({"MessageSid": "SM1", "MessageStatus": "delivered", "To": "+491511234567"}))
    assert news == ReceiptNews("twilio", "SM1:delivered", NOTIFICATION, 17, 2, ReceiptKind.DELIVERED, NOW)


def test_a_failure_carries_its_reason() -> None:
    [news] = read(twilio({"MessageSid": "SM1", "MessageStatus": "undelivered", "ErrorCode": "30005"}))
    assert isinstance(news, ReceiptNews)
    assert (news.kind, news.reason, news.error) == (ReceiptKind.FAILED, Reason.ADDRESS_INVALID, "30005")


@pytest.mark.parametrize("status", ["queued", "sending", "sent", "accepted"])
def test_acceptance_by_twilio_becomes_an_accepted_receipt(status: str) -> None:
    [news] = read(twilio({"MessageSid": "SM1", "MessageStatus": status}))
    assert isinstance(news, ReceiptNews)
    assert news.kind is ReceiptKind.ACCEPTED


def test_an_unknown_status_is_ignored() -> None:
    assert read(twilio({"MessageSid": "SM1", "MessageStatus": "teleported"})) == []


def test_stop_is_a_reply() -> None:
    """The reply carries the customer's words, unless Twilio has already read them as an opt-out."""
    plain = {
        "MessageSid": "SM2",
        "From": "+491511234567",
        "To": "+4930123",
        "Body": "Stop bitte 🙏",
        "SmsStatus": "received",
    }
    [news] = read(twilio(plain, url="https://depesche.example/delivery/v1/callbacks/twilio?sender=9"))
    assert news == ReplyNews("twilio", "SM2", Channel.SMS, "+491511234567", "Stop bitte 🙏", NOW)
    [news] = read(twilio(plain | {"Body": "arrêt", "OptOutType": "STOP"}))
    assert isinstance(news, ReplyNews)
    assert news.text == "STOP"


@pytest.mark.parametrize(
    "change",
    [
        {"url": URL.replace("attempt=2", "attempt=3")},
        {"url": URL.replace("https", "http")},
        {"body": urlencode({"MessageSid": "SM1", "MessageStatus": "failed"}).encode()},
        {"headers": {"content-type": FORM}},
        {"headers": {"content-type": FORM, "x-twilio-signature": "☃"}},
    ],
)
def test_a_changed_callback_is_refused(change: dict[str, object]) -> None:
    good = twilio({"MessageSid": "SM1", "MessageStatus": "delivered"})
    fields = {"url": good.url, "headers": good.headers, "body": good.body} | change
    with pytest.raises(Unauthorized):
        read(Callback(**fields))  # type: ignore[arg-type]


def test_tokens_can_be_rotated() -> None:
    callback = twilio({"MessageSid": "SM1", "MessageStatus": "sent"}, token="new")
    assert read(callback, "old", "new")
    with pytest.raises(Unauthorized):
        read(callback, "old")


@pytest.mark.parametrize(
    ("signed", "seen"),
    [
        ("https://d.example:443/c?a=%7E1", "https://d.example/c?a=%7E1"),
        ("https://d.example/c", "https://d.example:443/c"),
    ],
)
def test_the_default_port_does_not_affect_the_signature(signed: str, seen: str) -> None:
    """Twilio signs with the port or without it, depending on the product."""
    assert read(twilio({"MessageSid": "SM1", "Body": "x"}, url=seen, signed=signed))


def test_a_json_body_is_signed_by_its_digest() -> None:
    body = b'{"a":1}'
    url = f"https://d.example/c?bodySHA256={hashlib.sha256(body).hexdigest()}"
    given = base64.b64encode(hmac.digest(b"token", url.encode(), "sha1")).decode()
    headers = {"content-type": "application/json", "x-twilio-signature": given}
    with pytest.raises(Invalid):  # it is authentic, and names no message
        read(Callback(url, headers, body))
    with pytest.raises(Unauthorized):
        read(Callback(url, headers, b'{"a":2}'))


@pytest.mark.parametrize("query", ["message=nonsense&attempt=1", f"message={MESSAGE}&attempt=x", f"message={MESSAGE}"])
def test_a_callback_for_an_unknown_message_is_refused(query: str) -> None:
    with pytest.raises(Invalid):
        read(twilio({"MessageSid": "SM1", "MessageStatus": "sent"}, url=f"https://d.example/c?{query}"))


@pytest.mark.parametrize("body", [b"\xff=\xff", b"&".join(b"a%d=1" % n for n in range(500))])
def test_an_unreadable_form_is_refused(body: bytes) -> None:
    with pytest.raises((BadRequest, Unauthorized)):
        read(Callback(URL, {"content-type": FORM, "x-twilio-signature": "x"}, body))


# ---- the simulator


def signed(document: object, *, key: bytes = KEY, at: datetime = NOW) -> Callback:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return Callback("", standard_webhooks.sign([key], "e1", int(at.timestamp()), body), body)


def test_the_simulators_receipts_are_read() -> None:
    one = {"id": "r1", "message": MESSAGE, "attempt": 2, "channel": "push", "kind": "delivered", "detail": None}
    two = one | {"id": "r2", "kind": "failed", "at": "2026-11-23T13:00:00+02:00", "detail": "gave up"}
    assert SimulatorCallbacks([KEY]).read(signed([one, two]), NOW) == [
        ReceiptNews("simulator", "r1", NOTIFICATION, 17, 2, ReceiptKind.DELIVERED, NOW),
        ReceiptNews(
            "simulator",
            "r2",
            NOTIFICATION,
            17,
            2,
            ReceiptKind.FAILED,
            datetime(2026, 11, 23, 11, 0, tzinfo=UTC),
            Reason.PROVIDER_GAVE_UP,
            None,
            "gave up",
        ),
    ]


@pytest.mark.parametrize(
    "callback",
    [
        signed({"id": "r1"}, key=b"x" * 32),
        signed({"id": "r1"}, at=NOW - timedelta(minutes=6)),
        signed({"id": "r1"}, at=NOW + timedelta(minutes=6)),
        Callback("", {}, b"{}"),
        Callback("", signed({"id": "r1"}).headers, b'{"id":"r2"}'),
    ],
)
def test_an_unsigned_old_or_changed_receipt_is_refused(callback: Callback) -> None:
    with pytest.raises(Unauthorized):
        SimulatorCallbacks([KEY]).read(callback, NOW)


@pytest.mark.parametrize(
    "document",
    [
        {"id": "r1", "message": "x", "kind": "delivered"},
        {"id": "r1", "message": MESSAGE, "kind": "exploded"},
        {"message": MESSAGE},
        {"id": 1},
        "text",
        b"{",
        b"\xff",
        b"[" * 100_000,
        [{"id": "r"}] * 1_001,
    ],
)
def test_an_unreadable_receipt_is_refused(document: object) -> None:
    with pytest.raises((Invalid, BadRequest)):
        SimulatorCallbacks([KEY]).read(signed(document), NOW)
