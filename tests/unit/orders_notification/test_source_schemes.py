"""A definition can describe any signature scheme: senders that shops deal with, as they document them."""

import base64
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from libs.errors import Invalid, Unauthorized
from services.orders_notification.domain.delivery import Delivery
from services.orders_notification.domain.signatures import Verification, verify
from services.orders_notification.domain.sources import check_secrets, source

NOW = datetime(2027, 3, 1, 9, 30, tzinfo=UTC)
AT = str(int(NOW.timestamp()))
URL = "https://depesche.shop.example/orders-notification/v1/sources/x?a=1&b=%20"


def told(verification: dict[str, Any]) -> Verification:
    compiled = source("x", 1, {"verification": verification, "mapping": {"type": "'t'", "id": "'1'"}})
    assert compiled.verification is not None
    return compiled.verification


def base64_of(secret: bytes, content: bytes, algorithm: str = "sha256") -> str:
    return base64.b64encode(hmac.digest(secret, content, algorithm)).decode()


def hex_of(secret: bytes, content: bytes) -> str:
    return hmac.digest(secret, content, "sha256").hex()


@dataclass(frozen=True)
class Case:
    """A sender: its definition, its secret, and a delivery it signed. `bound`: the whole body is signed."""

    verification: dict[str, Any]
    secret: str
    body: bytes
    headers: dict[str, str]
    query: dict[str, str] = field(default_factory=dict)
    url: str = URL
    bound: bool = True
    now: datetime = NOW

    def delivery(self) -> Delivery:
        return Delivery(self.body, self.headers, self.query, "POST", self.url)


ITEM = "notificationItems.0.NotificationRequestItem"
ADYEN_FIELDS = ["pspReference", "originalReference", "merchantAccountCode", "merchantReference"]
ADYEN_FIELDS += ["amount.value", "amount.currency", "eventCode", "success"]
BODY = '{"name": "Zoë",  "n": 1.0}\r\n'.encode()
CASES = {
    # published: docs.adyen.com, "Verify HMAC signatures", the key and signature of its libraries' tests
    "Adyen": Case(
        {
            "scheme": "hmac-base64",
            "field": f"{ITEM}.additionalData.hmacSignature",
            "signed": ":".join(f"{{body.{ITEM}.{name}}}" for name in ADYEN_FIELDS),
            "key": "hex",
        },
        "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056",
        b'{"live":"false","notificationItems":[{"NotificationRequestItem":{"additionalData":{"hmacSignature":'
        b'"coqCmt/IZ4E3CzPvMY8zTjQVL5hYJUiBRg8UU+iCWo0="},"amount":{"currency":"EUR","value":1130},"pspReference":'
        b'"7914073381342284","eventCode":"AUTHORISATION","merchantAccountCode":"TestMerchant","merchantReference":'
        b'"TestPayment-1407325143704","success":"true"}}]}',
        {},
        bound=False,
    ),
    # published: twilio.com/docs/usage/security
    "Twilio": Case(
        {"scheme": "hmac-base64", "header": "X-Twilio-Signature", "algorithm": "sha1", "signed": "{url}{form}"},
        "12345",
        b"CallSid=CA1234567890ABCDE&Caller=%2B14158675309&Digits=1234&From=%2B14158675309&To=%2B18005551212",
        {"x-twilio-signature": "RSOYDt4T1cUTdK1PDd93/VVr8B8="},
        url="https://mycompany.com/myapp.php?foo=1&bar=2",
    ),
    # published: api.slack.com/authentication/verifying-requests-from-slack
    "Slack": Case(
        {
            "scheme": "timestamped",
            "header": "X-Slack-Signature",
            "timestamp_header": "X-Slack-Request-Timestamp",
            "prefix": "v0=",
            "signed": "v0:{timestamp}:{body}",
        },
        "8f742231b10e8888abcd99yyyzzz85a5",
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name="
        b"foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2F"
        b"hooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015."
        b"47445629121.803a0bc887a14d10d2c447fce8b6703c",
        {
            "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
            "x-slack-request-timestamp": "1531420618",
        },
        now=datetime.fromtimestamp(1531420618, UTC),
    ),
    # published: RFC 8032, test 3, as Discord and others write it
    "Ed25519 in hex": Case(
        {"scheme": "public-key", "header": "X-Signature-Ed25519", "encoding": "hex"},
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        b"\xaf\x82",
        {
            "x-signature-ed25519": "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
            "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
        },
    ),
    "Square": Case(
        {"scheme": "hmac-base64", "header": "x-square-hmacsha256-signature", "signed": "{url}{body}"},
        "square-key",
        BODY,
        {"x-square-hmacsha256-signature": base64_of(b"square-key", URL.encode() + BODY)},
    ),
    "HubSpot v3": Case(
        {
            "scheme": "timestamped",
            "header": "X-HubSpot-Signature-v3",
            "timestamp_header": "X-HubSpot-Request-Timestamp",
            "signed": "{method}{url}{body}{timestamp}",
            "encoding": "base64",
        },
        "client-secret",
        BODY,
        {
            "x-hubspot-signature-v3": base64_of(b"client-secret", b"POST" + URL.encode() + BODY + f"{AT}000".encode()),
            "x-hubspot-request-timestamp": f"{AT}000",
        },
    ),
    "Mercado Pago": Case(
        {
            "scheme": "timestamped",
            "header": "x-signature",
            "signed": "id:{query.data.id};request-id:{header.X-Request-Id};ts:{timestamp};",
        },
        "hush-hush",
        BODY,
        {
            "x-signature": f"ts={AT},v1={hex_of(b'hush-hush', f'id:123;request-id:r-1;ts:{AT};'.encode())}",
            "x-request-id": "r-1",
        },
        {"data.id": "123"},
        bound=False,
    ),
    "Ecwid": Case(
        {
            "scheme": "hmac-base64",
            "header": "X-Ecwid-Webhook-Signature",
            "signed": "{body.eventCreated}.{body.eventId}",
        },
        "client-secret",
        b'{"eventId":"80aece08","eventCreated":1469429912,"eventType":"order.created"}',
        {"x-ecwid-webhook-signature": base64_of(b"client-secret", b"1469429912.80aece08")},
        bound=False,
    ),
    "Squarespace": Case(
        {"scheme": "hmac-hex", "header": "Squarespace-Signature", "key": "hex"},
        "00ff10ab" * 8,
        BODY,
        {"squarespace-signature": hex_of(bytes.fromhex("00ff10ab" * 8), BODY)},
    ),
    "Shopware 6": Case(
        {"scheme": "hmac-hex", "header": "shopware-shop-signature"},
        "shop-secret",
        BODY,
        {"shopware-shop-signature": hex_of(b"shop-secret", BODY)},
    ),
    "AfterShip": Case(
        {"scheme": "hmac-base64", "header": "aftership-hmac-sha256"},
        "hush-hush",
        BODY,
        {"aftership-hmac-sha256": base64_of(b"hush-hush", BODY)},
    ),
    "EasyPost": Case(
        {"scheme": "hmac-hex", "header": "X-Hmac-Signature", "prefix": "hmac-sha256-hex="},
        "hush-hush",
        BODY,
        {"x-hmac-signature": "hmac-sha256-hex=" + hex_of(b"hush-hush", BODY)},
    ),
    "Lightspeed": Case(
        {"scheme": "hmac-hex", "header": "X-Signature", "prefix": "signature="},
        "hush-hush",
        BODY,
        {"x-signature": f"signature={hex_of(b'hush-hush', BODY)},algorithm=HMAC-SHA256"},
    ),
    "Shippo": Case(
        {"scheme": "timestamped", "header": "Shippo-Auth-Signature"},
        "hush-hush",
        BODY,
        {"shippo-auth-signature": f"t={AT},v1={hex_of(b'hush-hush', f'{AT}.'.encode() + BODY)}"},
    ),
    "base64 for addresses, without its padding": Case(
        {"scheme": "hmac-base64", "header": "x-sign"},
        "hush-hush",
        BODY,
        {"x-sign": base64_of(b"hush-hush", BODY).translate(str.maketrans("+/", "-_")).rstrip("=")},
    ),
}


@pytest.mark.parametrize("sender", CASES)
def test_a_documented_scheme_verifies_and_rejects_forgeries(sender: str) -> None:
    case = CASES[sender]
    verification, sent = told(case.verification), case.delivery()
    check_secrets(verification, [case.secret])

    assert verify(verification, [case.secret], sent, case.now) == 0
    forged = [replace(sent, headers=dict.fromkeys(sent.headers, "AAAA"))]
    if case.bound:
        forged.append(replace(sent, body=sent.body + b" "))
    if "{url}" in case.verification.get("signed", ""):
        forged.append(replace(sent, url=sent.url + "&c=1"))
    if not case.headers:
        forged = [
            replace(sent, body=sent.body.replace(b"1130", b"1")),
            replace(sent, body=sent.body[:-1] + b',"x":"' + b"x" * (1 << 20) + b'"}'),
            replace(sent, body=b"{"),
            replace(sent, body=b""),
        ]
    for each in forged:
        with pytest.raises(Unauthorized):
            verify(verification, [case.secret], each, case.now)


def rsa_signed() -> tuple[Any, Callable[[bytes], bytes]]:
    private = rsa.generate_private_key(65_537, 2_048)
    return private.public_key(), lambda content: private.sign(content, padding.PKCS1v15(), hashes.SHA256())


def ec_signed() -> tuple[Any, Callable[[bytes], bytes]]:
    private = ec.generate_private_key(ec.SECP256R1())
    return private.public_key(), lambda content: private.sign(content, ec.ECDSA(hashes.SHA256()))


@pytest.mark.parametrize("make", [rsa_signed, ec_signed])
def test_a_public_key_verifies_its_owners_signature(make: Callable[[], Any]) -> None:  # Adobe Commerce, Wise, SendGrid
    key, sign = make()
    other, _ = make()
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    secret, stranger = (base64.b64encode(each.public_bytes(*form)).decode() for each in (key, other))
    verification = told(
        {"scheme": "public-key", "header": "X-Sign", "timestamp_header": "X-Time", "signed": "{timestamp}{body}"}
    )
    check_secrets(verification, [stranger, secret])
    signature = base64.b64encode(sign(AT.encode() + BODY)).decode()
    sent = Delivery(BODY, {"x-sign": signature, "x-time": AT}, {})

    assert verify(verification, [stranger, secret], sent, NOW) == 1
    late = datetime.fromtimestamp(int(AT) + 301, UTC)
    for secrets, delivery, now in (
        ([stranger], sent, NOW),
        ([secret], replace(sent, body=BODY + b" "), NOW),
        ([secret], replace(sent, headers={"x-sign": "", "x-time": AT}), NOW),
        ([secret], sent, late),
    ):
        with pytest.raises(Unauthorized):
            verify(verification, secrets, delivery, now)


@pytest.mark.parametrize(
    ("verification", "secret", "pointer"),
    [
        ({"scheme": "hmac-hex", "header": "x", "key": "hex"}, "no hex at all", "/secrets/0"),
        ({"scheme": "hmac-hex", "header": "x", "key": "base64"}, "no base64!", "/secrets/0"),
        ({"scheme": "public-key", "header": "x"}, "MIIB not a key", "/secrets/0"),
        ({"scheme": "public-key", "header": "x"}, "00" * 16, "/secrets/0"),
        ({"scheme": "hmac-hex", "header": "x", "signed": "{bodi}"}, "hush-hush", "/verification/signed"),
        ({"scheme": "hmac-hex", "header": "x", "signed": "{header.x}{url}"}, "hush-hush", "/verification/signed"),
        ({"scheme": "hmac-hex", "header": "x", "signed": "{body}{url.x}"}, "hush-hush", "/verification/signed"),
        ({"scheme": "hmac-hex"}, "hush-hush", "/verification/header"),
        ({"scheme": "hmac-hex", "header": "x", "field": "sign"}, "hush-hush", "/verification/header"),
        ({"scheme": "timestamped", "field": "sign"}, "hush-hush", "/verification/field"),
    ],
)
def test_a_definition_that_cannot_verify_is_refused(verification: dict[str, Any], secret: str, pointer: str) -> None:
    with pytest.raises(Invalid) as refused:
        check_secrets(told(verification), [secret])

    assert pointer in [error.pointer for error in refused.value.errors]
