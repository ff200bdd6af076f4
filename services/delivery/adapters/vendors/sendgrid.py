"""SendGrid's Event Webhook: a list of events, signed by ECDSA on P-256 over the timestamp and the raw body.

Sources: twilio.com/docs/sendgrid/for-developers/tracking-events/getting-started-event-webhook-security-features,
…/tracking-events/event (kinds and fields), …/sending-email/unique-arguments (X-SMTPAPI; the arguments come back as
fields of each event). Undelivered webhooks are retried for 24 hours.
"""

import base64
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from libs.contracts.outcomes import ReceiptKind
from libs.errors import Unauthorized
from services.delivery.adapters.vendors.reading import (
    Said,
    enhanced,
    events_of,
    moment,
    own_id,
    read_each,
    require_fresh,
    seconds,
    words,
)
from services.delivery.domain.callbacks import Callback, Opinion
from services.delivery.domain.mail_vendors import MailNews, Reading, WebhookKeys, public_key

_WINDOW = timedelta(hours=25)
_KINDS: dict[str, ReceiptKind | None] = {
    "processed": ReceiptKind.ACCEPTED,
    "delivered": ReceiptKind.DELIVERED,
    "deferred": ReceiptKind.DEFERRED,
    "bounce": ReceiptKind.BOUNCED,
    "dropped": ReceiptKind.DROPPED,
    "open": ReceiptKind.OPENED,
    "click": ReceiptKind.CLICKED,
    "spamreport": ReceiptKind.COMPLAINED,
    "unsubscribe": ReceiptKind.UNSUBSCRIBED,
    "group_unsubscribe": ReceiptKind.UNSUBSCRIBED,
    "group_resubscribe": None,
    "account_status_change": None,
}
# a bounce's type: refused permanently, or not now and not retried
_PERMANENT = {"bounce": True, "blocked": False, "expired": False}
# bounce_classification → its category; "Mailbox Unavailable" and "Technical" have several
_CATEGORIES = {"invalid address": "unknown-user", "reputation": "reputation-block", "frequency/volume": "throttled"}


class _Event(msgspec.Struct):
    event: str
    sg_event_id: str = ""
    timestamp: float | None = None
    depesche: str = ""  # our argument
    reason: str | None = None
    response: str | None = None
    status: str | None = None
    type: str | None = None
    bounce_classification: str | None = None
    sg_machine_open: bool = False


_decode = msgspec.json.Decoder(_Event, strict=False).decode


class SendGridWebhooks:
    """Reads the Event Webhook's posts; the keys are its verification keys."""

    async def read(self, callback: Callback, keys: WebhookKeys, now: datetime) -> Reading:
        """See the port."""
        _verify(callback, keys.keys, now)
        return read_each(events_of(callback.body), _decode, lambda event: _translate(event, now))


def header(path: str) -> str:
    """Return the argument that comes back with each event."""
    return f'X-SMTPAPI: {{"unique_args": {{"depesche": "{path}"}}}}\r\n'


def _verify(callback: Callback, keys: Sequence[str], now: datetime) -> None:
    timestamp = callback.headers.get("x-twilio-email-event-webhook-timestamp", "")
    given = callback.headers.get("x-twilio-email-event-webhook-signature", "")
    at = seconds(timestamp)
    try:
        signature = base64.b64decode(given, validate=True)
    except ValueError:
        signature = b""
    content = timestamp.encode() + callback.body
    if not any([_fits(key, signature, content) for key in keys]):
        raise Unauthorized("SendGrid's signature is wrong: check the verification key, and that the body is unchanged.")
    require_fresh(at, now, _WINDOW)


def _fits(key: str, signature: bytes, content: bytes) -> bool:
    try:
        _loaded(key).verify(signature, content, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


@lru_cache(maxsize=256)
def _loaded(key: str) -> ec.EllipticCurvePublicKey:
    return public_key(key)


def _translate(event: _Event, now: datetime) -> MailNews | Said:
    if event.event not in _KINDS:
        return Said.NEW_TO_US
    kind = _KINDS[event.event]
    if kind is None or event.sg_machine_open:  # a mail program that fetches every picture is not a customer who reads
        return Said.NOTHING
    return MailNews(
        event_id=own_id(event.sg_event_id),
        paths=(event.depesche,),
        kind=kind,
        at=moment(event.timestamp, now),
        text=words(event.reason or event.response),
        enhanced=enhanced(event.status),
        opinion=_opinion(event, kind),
    )


def _opinion(event: _Event, kind: ReceiptKind) -> Opinion | None:
    if kind is ReceiptKind.BOUNCED:
        vendor_class = "/".join(filter(None, (event.type or "bounce", event.bounce_classification)))
        category = (
            "expired" if event.type == "expired" else _CATEGORIES.get((event.bounce_classification or "").lower())
        )
        return Opinion(vendor_class, category, _PERMANENT.get(event.type or ""))
    if kind is ReceiptKind.DROPPED:
        return Opinion(event.reason or event.event)
    return None
