"""Mailgun's webhooks: one event each, with its signature beside it in the body.

Sources: documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks (HMAC-SHA-256 over timestamp
and token; parent-signature for subaccounts), …/webhooks/webhook-retries (for 8 hours; 406 ends them),
…/webhooks/webhooks (kinds), …/sending-messages (X-Mailgun-Variables come back as user-variables).

The signature does not cover the event. So its token is a nonce: valid for the first body that it came with.
"""

import hashlib
import hmac
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from libs.contracts.outcomes import ReceiptKind
from libs.errors import BadRequest, FieldError, Unauthorized
from services.delivery.adapters.vendors.reading import (
    Said,
    enhanced,
    moment,
    own_id,
    path_in,
    read_each,
    reply_code,
    require_fresh,
    seconds,
    words,
)
from services.delivery.domain.callbacks import Callback, Opinion
from services.delivery.domain.mail_vendors import MailNews, Reading, WebhookKeys

_WINDOW = timedelta(hours=9)
_LONGEST_TOKEN = 100
_KINDS: dict[str, ReceiptKind | None] = {
    "accepted": ReceiptKind.ACCEPTED,
    "delivered": ReceiptKind.DELIVERED,
    "failed": ReceiptKind.BOUNCED,  # severity and reason say more
    "rejected": ReceiptKind.FAILED,  # by Mailgun, before anything was sent
    "opened": ReceiptKind.OPENED,
    "clicked": ReceiptKind.CLICKED,
    "complained": ReceiptKind.COMPLAINED,
    "unsubscribed": ReceiptKind.UNSUBSCRIBED,
    "stored": None,
    "email_validation": None,
    "list_member_uploaded": None,
    "list_member_upload_error": None,
    "list_uploaded": None,
}


class _Signature(msgspec.Struct):
    timestamp: str | int  # a number in the page's table, a string in its example
    token: str
    signature: str = ""
    parent_signature: str = msgspec.field(default="", name="parent-signature")


class _Webhook(msgspec.Struct):
    signature: _Signature
    event: msgspec.Raw = msgspec.field(name="event-data")


class _DeliveryStatus(msgspec.Struct):
    code: int | str | None = None
    message: str | None = None
    description: str | None = None
    enhanced_code: str | None = msgspec.field(default=None, name="enhanced-code")


class _Envelope(msgspec.Struct):
    sender: str = ""


class _Client(msgspec.Struct):
    bot: str | None = None  # `apple`, `gmail`, `generic`: a machine that fetched, no customer who read


class _Reject(msgspec.Struct):
    reason: str | None = None


class _Event(msgspec.Struct):
    event: str
    id: str = ""
    timestamp: float | None = None
    severity: str | None = None
    reason: str | None = None
    user_variables: Any = msgspec.field(default=None, name="user-variables")
    envelope: _Envelope | None = None
    delivery_status: _DeliveryStatus | None = msgspec.field(default=None, name="delivery-status")
    reject: _Reject | None = None
    client_info: _Client | None = msgspec.field(default=None, name="client-info")


_outer = msgspec.json.Decoder(_Webhook, strict=False).decode
_decode = msgspec.json.Decoder(_Event, strict=False).decode


class MailgunWebhooks:
    """Reads single events; the keys are HTTP webhook signing keys."""

    async def read(self, callback: Callback, keys: WebhookKeys, now: datetime) -> Reading:
        """See the port."""
        try:
            webhook = _outer(callback.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise BadRequest(f"This is not a Mailgun webhook: {error}.") from error
        _verify(webhook.signature, keys.keys, now)
        reading = read_each([webhook.event], _decode, lambda event: _translate(event, now))
        reading.unreadable = [FieldError("/event-data", error.detail) for error in reading.unreadable]
        reading.nonce = webhook.signature.token
        return reading


def header(path: str) -> str:
    """Return the variable that comes back with each event."""
    return f'X-Mailgun-Variables: {{"depesche": "{path}"}}\r\n'


def signature(key: str, timestamp: str, token: str) -> str:
    """Return Mailgun's signature, in hexadecimal digits."""
    return hmac.new(key.encode(), f"{timestamp}{token}".encode(), hashlib.sha256).hexdigest()


def _verify(given: _Signature, keys: Sequence[str], now: datetime) -> None:
    timestamp = str(given.timestamp)
    at = seconds(timestamp)
    offered = [one.lower().encode("utf-8", "replace") for one in (given.signature, given.parent_signature) if one]
    wanted = [signature(key, timestamp, given.token).encode() for key in keys]
    matches = [hmac.compare_digest(one, other) for one in offered for other in wanted]
    if not any(matches) or not 0 < len(given.token) <= _LONGEST_TOKEN or not given.token.isalnum():
        raise Unauthorized("Mailgun's signature is wrong: check the HTTP webhook signing key in the sender's account.")
    require_fresh(at, now, _WINDOW)


def _translate(event: _Event, now: datetime) -> MailNews | Said:
    if event.event not in _KINDS:
        return Said.NEW_TO_US
    kind = _KINDS[event.event]
    if kind is None or (event.client_info is not None and event.client_info.bot):
        return Said.NOTHING
    if kind is ReceiptKind.BOUNCED:
        kind = _failed(event)
    at = moment(event.timestamp, now)
    status = event.delivery_status or _DeliveryStatus()
    variables = event.user_variables if isinstance(event.user_variables, dict) else None
    return MailNews(
        # Mailgun's ids are unique within a day
        event_id=f"{own_id(event.id)}:{at.astimezone(UTC):%Y%m%d}",
        paths=(path_in(variables), event.envelope.sender if event.envelope else ""),
        kind=kind,
        at=at,
        text=words(status.message or status.description or (event.reject.reason if event.reject else None)),
        reply_code=reply_code(status.code),
        enhanced=enhanced(status.enhanced_code),
        opinion=_opinion(event),
    )


def _failed(event: _Event) -> ReceiptKind:
    if event.severity == "temporary":
        return ReceiptKind.DEFERRED
    return ReceiptKind.DROPPED if (event.reason or "").startswith("suppress-") else ReceiptKind.BOUNCED


def _opinion(event: _Event) -> Opinion | None:
    if event.event != "failed":
        return None
    vendor_class = "/".join(filter(None, (event.severity, event.reason))) or "failed"
    if event.reason == "old":  # tried until it expired: "permanent" only means that this mail is given up
        return Opinion(vendor_class, "expired", False)
    return Opinion(vendor_class, None, {"permanent": True, "temporary": False}.get(event.severity or ""))
