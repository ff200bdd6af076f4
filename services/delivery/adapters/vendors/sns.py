"""Amazon SNS over HTTPS: what is signed, by which certificate, and how a subscription is confirmed.

Sources: docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html (SignatureVersion 1 is SHA-1, 2 is
SHA-256, the certificate is fetched over https from Amazon alone, unexpected topics are rejected),
…/sns-verify-signature-of-message-verify-message-signature.html (the string to sign),
…/sns-message-delivery-retries.html (3,600 seconds of retries at most).
"""

import asyncio
import base64
import re
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from libs.errors import BadRequest, Unauthorized, Unavailable
from libs.telemetry import get_logger
from services.delivery.adapters.vendors.reading import require_fresh

log = get_logger(__name__)

Fetch = Callable[[str], Awaitable[bytes]]

_HOST = re.compile(r"sns\.[a-z0-9-]+\.amazonaws\.com(\.cn)?")
_CERTIFICATE_PATH = re.compile(r"/SimpleNotificationService-[0-9A-Za-z]{1,64}\.pem")
_WINDOW = timedelta(hours=2)
_WRONG = "The SNS message is not signed by Amazon, or not from one of this sender's topics."
_HASHES: dict[str, hashes.HashAlgorithm] = {"1": hashes.SHA1(), "2": hashes.SHA256()}
_NOTIFICATION = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
_CONFIRMATION = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
_SIGNED = {
    "Notification": _NOTIFICATION,
    "SubscriptionConfirmation": _CONFIRMATION,
    "UnsubscribeConfirmation": _CONFIRMATION,
}


class Envelope(msgspec.Struct, frozen=True):
    """An SNS message as posted; the names are Amazon's."""

    Type: str
    MessageId: str
    TopicArn: str
    Message: str
    Timestamp: str
    SignatureVersion: str
    Signature: str
    SigningCertURL: str
    Subject: str | None = None
    Token: str | None = None
    SubscribeURL: str | None = None


_decode = msgspec.json.Decoder(Envelope).decode


def string_to_sign(message: Envelope) -> bytes:
    """Return names and values, each on its own line, in the order of the names; absent ones are left out."""
    values = ((name, getattr(message, name)) for name in _SIGNED[message.Type])
    return "".join(f"{name}\n{value}\n" for name, value in values if value is not None).encode()


class Sns:
    """Verifies messages of topics. Certificates are cached; `fetch` raises Unavailable."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._certificates = _Certificates(fetch)

    async def verified(self, body: bytes, topics: Sequence[str], now: datetime) -> Envelope:
        """Return the message, of one of the topics and signed by Amazon. Raises Unauthorized, BadRequest, Unavailable.

        The cheap checks come first: a stranger cannot make us fetch anything for a topic that is not ours, nor from
        a host that is not Amazon's in that topic's region."""
        try:
            message = _decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise BadRequest(f"This is not an SNS message: {error}.") from error
        if message.TopicArn not in topics or message.Type not in _SIGNED:
            raise Unauthorized(_WRONG)
        require_fresh(_published(message), now, _WINDOW)
        if not _is_amazons(message.SigningCertURL, message.TopicArn, _CERTIFICATE_PATH):
            raise Unauthorized(_WRONG)
        certificate = await self._certificates.at(message.SigningCertURL)
        _check(message, certificate, now)
        return message

    async def confirm(self, message: Envelope) -> None:
        """Subscribe to one of the sender's topics, at Amazon and nowhere else. Raises Unauthorized, Unavailable."""
        url = message.SubscribeURL or ""
        query = parse_qs(urlsplit(url).query) if _is_amazons(url, message.TopicArn, re.compile(r"/?")) else {}
        if query.get("Action") != ["ConfirmSubscription"] or query.get("TopicArn") != [message.TopicArn]:
            raise Unauthorized(_WRONG)
        await self._fetch(url)
        log.info("sns_subscription_confirmed", detail=message.TopicArn)


class _Certificates:
    """Signing certificates by URL. Fetches one at a time, and only so many per minute: forged messages with unknown
    certificates must not become a flood of calls to Amazon."""

    _MOST_KEPT = 16
    _MOST_A_MINUTE = 10
    _KEPT_SECONDS = 24 * 3_600.0

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._known: OrderedDict[str, tuple[float, x509.Certificate]] = OrderedDict()
        self._fetched: deque[float] = deque(maxlen=self._MOST_A_MINUTE)
        self._one = asyncio.Lock()

    async def at(self, url: str) -> x509.Certificate:
        """Return a certificate. Raises Unauthorized if there is none, Unavailable if it cannot be fetched now."""
        if (known := self._remembered(url)) is not None:
            return known
        async with self._one:
            if (known := self._remembered(url)) is not None:  # another request has fetched it meanwhile
                return known
            now = time.monotonic()
            if len(self._fetched) == self._MOST_A_MINUTE and self._fetched[0] > now - 60:
                raise Unavailable("Too many unknown signing certificates; try again in a minute.", retry_after=60)
            self._fetched.append(now)
            try:
                certificate = x509.load_pem_x509_certificate(await self._fetch(url))
            except ValueError as error:
                raise Unauthorized(_WRONG) from error
            self._known[url] = (now + self._KEPT_SECONDS, certificate)
            if len(self._known) > self._MOST_KEPT:
                self._known.popitem(last=False)
            return certificate

    def _remembered(self, url: str) -> x509.Certificate | None:
        until, certificate = self._known.get(url, (0.0, None))
        return certificate if until > time.monotonic() else None


def _published(message: Envelope) -> datetime:
    try:
        at = datetime.fromisoformat(message.Timestamp)
    except ValueError as error:
        raise Unauthorized(_WRONG) from error
    if at.tzinfo is None:
        raise Unauthorized(_WRONG)
    return at


def _is_amazons(url: str, topic: str, path: re.Pattern[str]) -> bool:
    """Whether a URL is https at SNS in the topic's own region, on the standard port, with such a path."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        plain = parts.scheme == "https" and parts.netloc == host and not parts.fragment and url.isprintable()
    except ValueError:
        return False
    region = topic.split(":")[3]
    return bool(plain and _HOST.fullmatch(host) and host.split(".")[1] == region and path.fullmatch(parts.path))


def _check(message: Envelope, certificate: x509.Certificate, now: datetime) -> None:
    key, algorithm = certificate.public_key(), _HASHES.get(message.SignatureVersion)
    valid = certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc
    if not isinstance(key, rsa.RSAPublicKey) or algorithm is None or not valid:
        raise Unauthorized(_WRONG)
    try:
        signature = base64.b64decode(message.Signature, validate=True)
        key.verify(signature, string_to_sign(message), padding.PKCS1v15(), algorithm)
    except (InvalidSignature, ValueError) as error:
        raise Unauthorized(_WRONG) from error
