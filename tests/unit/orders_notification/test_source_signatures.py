"""Signatures as their senders document them; each scheme refuses what it must."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from libs.errors import Unauthorized
from services.orders_notification.domain.delivery import Delivery
from services.orders_notification.domain.signatures import Scheme, Verification, verify

NOW = datetime(2027, 3, 1, 9, 30, tzinfo=UTC)
AT = int(NOW.timestamp())
BODY = '{"name":"Zoë",  "n":1.0}\r\n'.encode()


def delivery(body: bytes = BODY, query: dict[str, str] | None = None, **headers: str) -> Delivery:
    return Delivery(body, {name.replace("_", "-"): value for name, value in headers.items()}, query or {})


def hexed(secret: str, content: bytes = BODY, algorithm: str = "sha256") -> str:
    return hmac.new(secret.encode(), content, algorithm).hexdigest()


def test_hmac_in_hex_with_a_prefix() -> None:  # GitHub's and many others' form
    told = Verification(Scheme.HMAC_HEX, "x-hub-signature-256", prefix="sha256=")
    assert verify(told, ["s1"], delivery(x_hub_signature_256=f"sha256={hexed('s1')}"), NOW) == 0
    assert verify(told, ["s1"], delivery(x_hub_signature_256=f"sha256={hexed('s1').upper()}"), NOW) == 0


@pytest.mark.parametrize("kept", [63, 62, 32, 16, 0])
def test_a_signature_counts_only_to_its_last_digit(kept: int) -> None:
    told = Verification(Scheme.HMAC_HEX, "x-sign")
    right = hexed("s1")
    for forged in (right[:kept], right[:kept] + "".join("f" if digit != "f" else "0" for digit in right[kept:])):
        with pytest.raises(Unauthorized):
            verify(told, ["s1"], delivery(x_sign=forged or "00"), NOW)


def test_a_published_example_verifies() -> None:
    # GitHub's documentation: secret, payload and the expected signature
    told = Verification(Scheme.HMAC_HEX, "x-hub-signature-256", prefix="sha256=")
    expected = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    sent = delivery(b"Hello, World!", x_hub_signature_256=expected)
    assert verify(told, ["It's a Secret to Everybody"], sent, NOW) == 0


def test_a_published_standard_webhooks_example_verifies() -> None:
    told = Verification(Scheme.STANDARD_WEBHOOKS)
    sent = delivery(
        b'{"test": 2432232314}',
        webhook_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        webhook_timestamp="1614265330",
        webhook_signature="v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    )
    at = datetime.fromtimestamp(1614265330, UTC)
    assert verify(told, ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"], sent, at) == 0


def test_standard_webhooks_with_the_senders_public_key() -> None:
    told = Verification(Scheme.STANDARD_WEBHOOKS)
    private = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    public = "whpk_" + base64.b64encode(private.public_key().public_bytes_raw()).decode()
    other = "whpk_" + base64.b64encode(Ed25519PrivateKey.generate().public_key().public_bytes_raw()).decode()
    signature = "v1a," + base64.b64encode(private.sign(f"msg_1.{AT}.".encode() + BODY)).decode()

    def sent(signature: str, body: bytes = BODY) -> Delivery:
        return delivery(body, webhook_id="msg_1", webhook_timestamp=str(AT), webhook_signature=signature)

    shared = "whsec_" + base64.b64encode(b"k" * 24).decode()
    assert verify(told, [other, shared, public], sent(f"v1,AAAA {signature}"), NOW) == 2
    with pytest.raises(Unauthorized):
        verify(told, [public], sent(signature, BODY + b" "), NOW)
    for forged in ("v1,", "v1a,", "v1,!", "v1a,!", signature.replace("v1a", "v1")):
        with pytest.raises(Unauthorized):
            verify(told, [public, shared], sent(forged), NOW)


def test_older_algorithms_are_available_for_senders_without_better() -> None:
    told = Verification(Scheme.HMAC_BASE64, "x-sign", algorithm="sha1")
    mac = base64.b64encode(hmac.digest(b"s", BODY, hashlib.sha1)).decode()
    assert verify(told, ["s"], delivery(x_sign=mac), NOW) == 0


def test_every_active_secret_is_tried() -> None:
    told = Verification(Scheme.HMAC_HEX, "x-sign")
    assert verify(told, ["old", "new"], delivery(x_sign=hexed("new")), NOW) == 1
    assert verify(told, ["new"], delivery(x_sign=f"{hexed('old')}, {hexed('new')}"), NOW) == 0


def test_a_timestamp_in_a_separate_header() -> None:  # Slack's form
    told = Verification(
        Scheme.TIMESTAMPED, "x-slack-signature", prefix="v0=", timestamp_header="x-slack-request-timestamp",
        signed="v0:{timestamp}:{body}",
    )  # fmt: skip
    mac = hexed("s", f"v0:{AT}:".encode() + BODY)
    sent = delivery(x_slack_signature=f"v0={mac}", x_slack_request_timestamp=str(AT))
    assert verify(told, ["s"], sent, NOW) == 0


def test_stripe_may_send_several_signatures_during_a_rotation() -> None:
    told = Verification(Scheme.TIMESTAMPED, "stripe-signature")
    header = f"t={AT},v1={hexed('old', f'{AT}.'.encode() + BODY)},v1={hexed('new', f'{AT}.'.encode() + BODY)}"
    assert verify(told, ["new"], delivery(stripe_signature=header), NOW) == 0


@pytest.mark.parametrize("written", [str(AT), f"{AT}123", "2027-03-01T09:30:00Z", "2027-03-01T10:29:59+01:00"])
def test_a_timestamp_is_read_in_its_senders_format(written: str) -> None:  # Zendesk writes RFC 3339, HubSpot ms
    told = Verification(
        Scheme.TIMESTAMPED, "x-sign", encoding="base64", timestamp_header="x-time", signed="{timestamp}{body}"
    )
    mac = base64.b64encode(hmac.digest(b"s", written.encode() + BODY, "sha256")).decode()
    assert verify(told, ["s"], delivery(x_sign=mac, x_time=written), NOW) == 0


def test_a_timestamped_header_with_semicolons() -> None:  # Paddle's form
    told = Verification(Scheme.TIMESTAMPED, "paddle-signature", prefix="h1", signed="{timestamp}:{body}")
    header = f"ts={AT};h1={hexed('s', f'{AT}:'.encode() + BODY)}"
    assert verify(told, ["s"], delivery(paddle_signature=header), NOW) == 0


@pytest.mark.parametrize(
    "header",
    [
        "",
        "v1=00",
        f"t={AT}",
        f"t={AT},v0={'0' * 64}",
        f"t={AT},v1=",
        "t=,v1=00",
        "t=-5,v1=00",
        "t=१२३,v1=00",
        f"t={'9' * 400},v1=00",
        f"t={AT - 301},v1={'0' * 64}",
        "t=0001-01-01T00:00:00+23:59,v1=00",
        "garbage",
        "t",
    ],
)
def test_a_malformed_timestamped_header_is_refused(header: str) -> None:
    with pytest.raises(Unauthorized):
        verify(Verification(Scheme.TIMESTAMPED, "stripe-signature"), ["s"], delivery(stripe_signature=header), NOW)


@pytest.mark.parametrize(("off", "passes"), [(-301, False), (-300, True), (300, True), (301, False)])
@pytest.mark.parametrize("scheme", [Scheme.TIMESTAMPED, Scheme.STANDARD_WEBHOOKS])
def test_what_was_signed_too_long_ago_or_in_the_future_is_refused(scheme: Scheme, off: int, passes: bool) -> None:
    at, key = AT + off, base64.b64encode(b"a key of 24 bytes or more").decode()
    if scheme is Scheme.TIMESTAMPED:
        secret, sent = "s", delivery(stripe_signature=f"t={at},v1={hexed('s', f'{at}.'.encode() + BODY)}")
    else:
        mac = hmac.digest(base64.b64decode(key), f"id.{at}.".encode() + BODY, "sha256")
        signature = f"v1,{base64.b64encode(mac).decode()}"
        sent = delivery(webhook_id="id", webhook_timestamp=str(at), webhook_signature=signature)
        secret = f"whsec_{key}"
    told = Verification(scheme, "stripe-signature")
    if passes:
        assert verify(told, [secret], sent, NOW) == 0
    else:
        with pytest.raises(Unauthorized, match="300 seconds from now"):
            verify(told, [secret], sent, NOW)


def test_a_signature_covers_its_timestamp() -> None:
    mac = hexed("s", f"{AT}.".encode() + BODY)
    with pytest.raises(Unauthorized):
        verify(
            Verification(Scheme.TIMESTAMPED, "stripe-signature"),
            ["s"],
            delivery(stripe_signature=f"t={AT + 1},v1={mac}"),
            NOW,
        )


def test_tokens_and_passwords_for_senders_without_signatures() -> None:
    bearer = Verification(Scheme.TOKEN, "authorization", prefix="Bearer ")
    assert verify(bearer, ["t0ken"], delivery(authorization="bearer t0ken"), NOW) == 0
    assert verify(Verification(Scheme.TOKEN, query="token"), ["t0ken"], delivery(query={"token": "t0ken"}), NOW) == 0
    credentials = base64.b64encode(b"shop:pass:word").decode()
    assert (
        verify(Verification(Scheme.BASIC), ["shop:pass:word"], delivery(authorization=f"Basic {credentials}"), NOW) == 0
    )


@pytest.mark.parametrize(
    ("told", "sent"),
    [
        (Verification(Scheme.TOKEN, "authorization", prefix="Bearer "), delivery(authorization="Basic t0ken")),
        (Verification(Scheme.TOKEN, "authorization", prefix="Bearer "), delivery(authorization="Digest t0ken")),
        (Verification(Scheme.TOKEN, query="token"), delivery(authorization="t0ken")),
        (Verification(Scheme.TOKEN, "x-token"), delivery(x_token="t0ken ✓")),
        (Verification(Scheme.BASIC), delivery(authorization="Basic !!!")),
        (Verification(Scheme.BASIC), delivery()),
        (Verification(Scheme.HMAC_HEX, "x-sign"), delivery(x_sign="zz")),
        (Verification(Scheme.HMAC_HEX, "x-sign"), delivery(x_sign=hexed("t0ken", BODY.strip()))),
        (Verification(Scheme.STANDARD_WEBHOOKS), delivery(webhook_id="1", webhook_timestamp=str(AT))),
    ],
)
def test_missing_or_wrong_credentials_are_refused(told: Verification, sent: Delivery) -> None:
    with pytest.raises(Unauthorized):
        verify(told, ["t0ken"], sent, NOW)


@pytest.mark.parametrize(
    ("told", "sent", "says"),
    [
        (Verification(Scheme.TOKEN, query="token"), Delivery(BODY, {}, {"token": "guessed"}), "The token is none"),
        (Verification(Scheme.BASIC), delivery(authorization="Basic dTpw"), "user and password is none"),
        (Verification(Scheme.HMAC_HEX, "x-sign"), delivery(x_sign="00"), "The signature matches none"),
    ],
)
def test_the_refusal_names_what_was_given(told: Verification, sent: Delivery, says: str) -> None:
    with pytest.raises(Unauthorized, match=says):
        verify(told, ["t0ken"], sent, NOW)


def test_without_a_secret_nothing_verifies() -> None:
    with pytest.raises(Unauthorized, match="no active secret"):
        verify(Verification(Scheme.HMAC_HEX, "x-sign"), [], delivery(x_sign=hexed("")), NOW)
