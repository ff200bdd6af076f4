"""Twilio's callbacks: the status of an SMS, and customers' replies.

Verified as in twilio.com/docs/usage/security: HMAC-SHA1 with the account's token over the public URL and the sorted
form fields. Message and attempt are in the URL that we gave Twilio, so the signature covers them.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime
from urllib.parse import parse_qs, parse_qsl, urlsplit

from libs.contracts.outcomes import Channel, ReceiptKind
from libs.contracts.reasons import Reason
from libs.errors import BadRequest, Invalid, Unauthorized
from libs.ids import parse_message_id
from services.delivery.domain.callbacks import Callback, News, ReceiptNews, ReplyNews
from services.delivery.domain.refusals.twilio import reason_of

PROVIDER = "twilio"
_FIELDS_LIMIT = 200

# MessageStatus → its meaning; "queued" and the like already mean that Twilio accepted it
_KINDS = {
    "accepted": ReceiptKind.ACCEPTED,
    "scheduled": ReceiptKind.ACCEPTED,
    "queued": ReceiptKind.ACCEPTED,
    "sending": ReceiptKind.ACCEPTED,
    "sent": ReceiptKind.ACCEPTED,
    "delivered": ReceiptKind.DELIVERED,
    "read": ReceiptKind.OPENED,
    "undelivered": ReceiptKind.FAILED,
    "failed": ReceiptKind.FAILED,
    "canceled": ReceiptKind.FAILED,
}


def receipts_of(sid: str) -> list[tuple[str, str]]:
    """Return all receipts that may come about a message, by their deduplication keys."""
    return [(PROVIDER, _event_id(sid, status)) for status in _KINDS]


def _event_id(sid: str, status: str) -> str:
    return f"{sid}:{status}"


class TwilioCallbacks:
    """Reads callbacks of one account. `tokens`: the auth token, and the next one during rotation."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self._tokens = tokens

    def read(self, callback: Callback, now: datetime) -> list[News]:
        """Return the news; nothing for an unknown status. Raises Unauthorized, BadRequest, Invalid."""
        fields = _fields(callback)
        self._verify(callback, fields)
        values = dict(fields)
        sid = values.get("MessageSid") or values.get("SmsSid")
        if not sid:
            raise Invalid("The callback has no MessageSid; send Twilio's.", pointer="/MessageSid")
        if "MessageStatus" not in values:
            return [_reply(values, sid, now)] if "Body" in values else []
        return _receipt(callback, values, sid, now)

    def _verify(self, callback: Callback, fields: Sequence[tuple[str, str]]) -> None:
        given = callback.headers.get("x-twilio-signature", "").encode()
        sums = parse_qs(urlsplit(callback.url).query).get("bodySHA256")
        if sums:
            # for a JSON body, the URL contains only its digest, and the signature covers the URL alone
            if not hmac.compare_digest(hashlib.sha256(callback.body).hexdigest().encode(), sums[0].lower().encode()):
                raise Unauthorized("The body's SHA-256 is not the one in the URL; send the body unchanged.")
            fields = ()
        matches = [
            hmac.compare_digest(given, signature(token, url, fields))
            for token in self._tokens
            for url in _spellings(callback.url)
        ]
        if not any(matches):
            raise Unauthorized("X-Twilio-Signature is wrong: check the auth token and the callback's public URL.")


def signature(token: str, url: str, fields: Sequence[tuple[str, str]]) -> bytes:
    """Return Twilio's signature of a callback."""
    text = url + "".join(name + value for name, value in sorted(set(fields)))
    return base64.b64encode(hmac.digest(token.encode(), text.encode(), "sha1"))


def _spellings(url: str) -> list[str]:
    """Return the URL with and without its standard port: Twilio signs either, depending on the product."""
    parts = urlsplit(url)
    port = {"https": 443, "http": 80}.get(parts.scheme, 0)
    host = parts.netloc.removesuffix(f":{port}")
    plain = parts.port is None or parts.port == port
    netlocs = [host, f"{host}:{port}"] if plain else [parts.netloc]
    _, _, rest = url.partition(parts.netloc)  # not rebuilt from its parts, so that escapes stay as they came
    return [f"{parts.scheme}://{netloc}{rest}" for netloc in netlocs]


def _fields(callback: Callback) -> list[tuple[str, str]]:
    if not callback.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return []
    try:
        return parse_qsl(
            callback.body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_FIELDS_LIMIT
        )
    except ValueError as error:  # too many fields, or bytes that are not UTF-8
        raise BadRequest(f"The form cannot be parsed: {error}.") from error


def _reply(values: dict[str, str], sid: str, now: datetime) -> ReplyNews:
    # OptOutType is Twilio's own detection of STOP and HELP in the customer's language
    text = values.get("OptOutType") or values["Body"]
    return ReplyNews(PROVIDER, sid, Channel.SMS, values.get("From", ""), text, now)


def _receipt(callback: Callback, values: dict[str, str], sid: str, now: datetime) -> list[News]:
    status = values["MessageStatus"]
    kind = _KINDS.get(status)
    query = dict(parse_qsl(urlsplit(callback.url).query))
    if kind is None or "message" not in query:
        return []
    try:
        notification, address = parse_message_id(query["message"])
        attempt = int(query.get("attempt", ""))
    except ValueError as error:
        raise Invalid("The URL's message or attempt is not one of ours.", pointer="message") from error
    error_code = values.get("ErrorCode") or None
    failed = kind is ReceiptKind.FAILED
    detail = values.get("ErrorMessage") or (f"Twilio says {status}, error {error_code}" if error_code else None)
    return [
        ReceiptNews(
            provider=PROVIDER,
            event_id=_event_id(sid, status),
            notification_id=notification,
            address_id=address,
            attempt=attempt,
            kind=kind,
            at=now,
            reason=reason_of(error_code) if failed else Reason.NONE,
            error=error_code,
            detail=detail,
        )
    ]
