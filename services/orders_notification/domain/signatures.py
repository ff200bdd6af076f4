"""Authenticates senders of webhooks: one verifier per scheme, over the raw bytes, in constant time.

Every active secret is tried, and every comparison is made, so that timing reveals nothing and secrets can be rotated.
Schemes after: Shopify and WooCommerce (HMAC in a header), Stripe (`t=…,v1=…`), Standard Webhooks 1.0 (a shared secret
`whsec_`, or the sender's public key `whpk_`), Adobe Commerce and Wise (the sender's public key), bearer tokens and
Basic authentication for senders that sign nothing.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from libs.errors import Unauthorized
from services.orders_notification.domain.cloudevents import parse_time
from services.orders_notification.domain.delivery import Delivery
from services.orders_notification.domain.public_keys import public_key, signs
from services.orders_notification.domain.signed_content import field_of, signed_content

_PUBLIC = "whpk_"


class Scheme(StrEnum):
    HMAC_HEX = "hmac-hex"
    HMAC_BASE64 = "hmac-base64"
    TIMESTAMPED = "timestamped"
    STANDARD_WEBHOOKS = "standard-webhooks"
    PUBLIC_KEY = "public-key"
    TOKEN = "token"
    BASIC = "basic"


@dataclass(frozen=True, slots=True)
class Verification:
    """How a source's sender is authenticated. Header names in lower case."""

    scheme: Scheme
    header: str = ""
    field: str | None = None  # a path in the body, instead of the header
    query: str | None = None  # a query parameter instead of the header
    prefix: str = ""  # precedes the signature or token: "sha256=", "Bearer "
    algorithm: str = "sha256"
    tolerance_seconds: int = 300
    encoding: str | None = None  # of the signature; default: hex, for a public key's base64
    timestamp_header: str | None = None  # if the time has a header of its own
    signed: str | None = None  # the signed content; default: _SIGNED
    key: str = "text"  # encoding of the secret: text (its bytes are the key), hex, base64


_MAX_SIGNATURES = 10  # of a public key: each costs more than all of a shared secret's
_TIME_NAMES = ("t", "ts", "timestamp")
_URL_SAFE = str.maketrans("-_", "+/")
_SIGNED = {Scheme.TIMESTAMPED: "{timestamp}.{body}"}


def verify(verification: Verification, secrets: Sequence[str], delivery: Delivery, now: datetime) -> int:
    """Return the index of the secret that verifies. Raises Unauthorized saying what is wrong, never what is right."""
    if not secrets:
        raise Unauthorized("This source has no active secret, so nothing can be verified. Add one.")
    match verification.scheme:
        case Scheme.HMAC_HEX | Scheme.HMAC_BASE64:
            return _verify_hmac(verification, secrets, delivery)
        case Scheme.TIMESTAMPED:
            return _verify_timestamped(verification, secrets, delivery, now)
        case Scheme.STANDARD_WEBHOOKS:
            return _verify_standard(verification, secrets, delivery, now)
        case Scheme.PUBLIC_KEY:
            return _verify_public(verification, secrets, delivery, now)
        case Scheme.TOKEN:
            given = _given_token(verification, delivery)
            return _matching([secret.encode() for secret in secrets], [given], "The token")
        case Scheme.BASIC:
            return _verify_basic(secrets, delivery)


def carries_signature(verification: Verification, delivery: Delivery) -> bool:
    """Whether there is anything where this sender signs, right or wrong: an unsigned first call has nothing there."""
    if verification.query:
        return verification.query in delivery.query
    if verification.field:
        return field_of(delivery.body, verification.field) != ""
    match verification.scheme:
        case Scheme.STANDARD_WEBHOOKS:
            names = ["webhook-signature", "svix-signature"]
        case _:
            names = [verification.header or "authorization"]
    return any(name in delivery.headers for name in names)


def signing_key(secret: str) -> bytes | Ed25519PublicKey:
    """Return a Standard Webhooks key: base64 after `whsec_`, or after `whpk_` if the sender signs with Ed25519.

    Raises ValueError.
    """
    if secret.startswith(_PUBLIC):
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(secret.removeprefix(_PUBLIC), validate=True))
    return base64.b64decode(secret.removeprefix("whsec_"), validate=True)


def hmac_key(secret: str, written: str) -> bytes:
    """Decode a secret to the key's bytes. Raises ValueError for a wrong encoding."""
    match written:
        case "hex":
            return bytes.fromhex(secret)
        case "base64":
            return base64.b64decode(secret, validate=True)
        case _:
            return secret.encode()


def _verify_hmac(verification: Verification, secrets: Sequence[str], delivery: Delivery) -> int:
    encoding = "hex" if verification.scheme is Scheme.HMAC_HEX else "base64"
    return _matching(_macs(verification, secrets, delivery), _given(verification, delivery, encoding))


def _verify_timestamped(verification: Verification, secrets: Sequence[str], delivery: Delivery, now: datetime) -> int:
    encoding = verification.encoding or "hex"
    if verification.timestamp_header:
        timestamp = _header(delivery, verification.timestamp_header)
        given = _given(verification, delivery, encoding)
    else:
        parts = [part.strip() for part in re.split("[,;]", _header(delivery, verification.header))]
        if parts[0].isdigit():  # Recurly: the time, then the signatures, without names
            timestamp, signatures = parts[0], parts[1:]
        else:
            pairs = [part.partition("=") for part in parts]  # Paddle: `ts=…;h1=…`
            timestamp = next((value for name, _, value in pairs if name in _TIME_NAMES), "")
            wanted = verification.prefix or "v1"  # v0 and other schemes in the header are ignored, as documented
            signatures = [value for name, _, value in pairs if name == wanted]
        given = [_decoded(signature, encoding) for signature in signatures]
    _check_age(timestamp, verification.tolerance_seconds, now)
    return _matching(_macs(verification, secrets, delivery, timestamp), given)


def _macs(
    verification: Verification, secrets: Sequence[str], delivery: Delivery, timestamp: str = ""
) -> Sequence[bytes]:
    content = _content(verification, delivery, timestamp)
    keys = [hmac_key(secret, verification.key) for secret in secrets]
    return [hmac.digest(key, content, verification.algorithm) for key in keys]


def _content(verification: Verification, delivery: Delivery, timestamp: str) -> bytes:
    return signed_content(verification.signed or _SIGNED.get(verification.scheme, "{body}"), delivery, timestamp)


def _given(verification: Verification, delivery: Delivery, encoding: str) -> list[bytes]:
    """Return the given signatures: several in one header while the sender rotates its secret."""
    if verification.query:
        text = delivery.query.get(verification.query, "")
    elif verification.field:
        text = field_of(delivery.body, verification.field)
    else:
        text = _header(delivery, verification.header)
    return [_decoded(part.removeprefix(verification.prefix), encoding) for part in re.split(r"[,\s]+", text)]


def _verify_public(verification: Verification, secrets: Sequence[str], delivery: Delivery, now: datetime) -> int:
    timestamp = ""
    if verification.timestamp_header:
        timestamp = _header(delivery, verification.timestamp_header)
        _check_age(timestamp, verification.tolerance_seconds, now)
    content = _content(verification, delivery, timestamp)
    given = _given(verification, delivery, verification.encoding or "base64")
    for index, secret in enumerate(secrets):  # public keys are not secret: timing may differ
        key = public_key(secret)
        if any(signs(key, signature, content, verification.algorithm) for signature in given[:_MAX_SIGNATURES]):
            return index
    raise _refused("matches none of the public keys; the body must be signed exactly as it is sent")


def _verify_standard(verification: Verification, secrets: Sequence[str], delivery: Delivery, now: datetime) -> int:
    family = "webhook" if "webhook-id" in delivery.headers else "svix"
    id_ = _header(delivery, f"{family}-id")
    timestamp = _header(delivery, f"{family}-timestamp")
    _check_age(timestamp, verification.tolerance_seconds, now)
    signatures = [part.partition(",") for part in _header(delivery, f"{family}-signature").split()]
    shared = [_decoded(value, "base64") for version, _, value in signatures if version == "v1"]
    public = [_decoded(value, "base64") for version, _, value in signatures if version == "v1a"]
    content = f"{id_}.{timestamp}.".encode() + delivery.body
    keys = [signing_key(secret) for secret in secrets]
    for index, key in enumerate(keys):  # a public key's result is not secret, nor is its timing
        if not isinstance(key, bytes) and any(_signs(key, signature, content) for signature in public):
            return index
    expected = {i: hmac.digest(key, content, "sha256") for i, key in enumerate(keys) if isinstance(key, bytes)}
    return list(expected)[_matching(list(expected.values()), shared)]


def _signs(key: Ed25519PublicKey, signature: bytes, content: bytes) -> bool:
    try:
        key.verify(signature, content)
    except InvalidSignature:
        return False
    return True


def _verify_basic(secrets: Sequence[str], delivery: Delivery) -> int:
    kind, _, value = _header(delivery, "authorization").partition(" ")
    given = _decoded(value.strip(), "base64") if kind.lower() == "basic" else b""
    return _matching([secret.encode() for secret in secrets], [given], "The pair of user and password")


def _given_token(verification: Verification, delivery: Delivery) -> bytes:
    if verification.query:
        return delivery.query.get(verification.query, "").encode()
    text = _header(delivery, verification.header or "authorization")
    prefix = verification.prefix
    if prefix and text[: len(prefix)].lower() != prefix.lower():  # RFC 9110 §11.1: the scheme's case is free
        raise _refused(f"does not begin with {prefix!r}")
    return text[len(prefix) :].strip().encode()


def _header(delivery: Delivery, name: str) -> str:
    value = delivery.headers.get(name)
    if not value:
        raise Unauthorized(f"The header {name}, in which the sender signs, is missing.")
    return value.strip()


def _decoded(text: str, encoding: str) -> bytes:
    # an undecodable signature matches nothing; the comparison still takes place
    try:
        if encoding == "hex":
            return bytes.fromhex(text)
        plain = text.rstrip("=").translate(_URL_SAFE)  # some use the URL-safe alphabet, some omit the padding
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (ValueError, binascii.Error):
        return b""


def _check_age(timestamp: str, tolerance_seconds: int, now: datetime) -> None:
    if abs(now.timestamp() - _seconds(timestamp)) > tolerance_seconds:
        raise _refused(f"is more than {tolerance_seconds} seconds from now: a replay, or one of the clocks is wrong")


def _seconds(timestamp: str) -> float:
    if timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 13:
        return int(timestamp) / 1000 if len(timestamp) == 13 else int(timestamp)
    try:
        return parse_time(timestamp).timestamp()  # Zendesk
    except ValueError:
        raise _refused("has no timestamp: Unix seconds, milliseconds, or RFC 3339") from None


def _matching(expected: Sequence[bytes], given: Sequence[bytes], unsigned: str = "") -> int:
    """Return the index of the one that was given. `unsigned`: what was given, if it is no signature."""
    found = -1
    for index, wanted in enumerate(expected):
        for candidate in given:
            if hmac.compare_digest(wanted, candidate) and found < 0:
                found = index
    if found < 0 and unsigned:
        raise Unauthorized(f"{unsigned} is none of the active secrets.")
    if found < 0:
        raise _refused("matches none of the active secrets; the body must be signed exactly as it is sent")
    return found


def _refused(why: str) -> Unauthorized:
    return Unauthorized(f"The signature {why}.")
