"""SparkPost's webhooks: lists of events, without a signature; Basic credentials, a token or a header of our choice.

Sources: developers.sparkpost.com/api/webhooks and docs.bird.com/api/email-api/webhooks (batches, `event_id`, only 200
ends the retries of 8 hours), support.sparkpost.com/docs/deliverability/bounce-classification-codes,
developers.sparkpost.com/api/smtp (X-MSYS-API; the metadata comes back as rcpt_meta). We do not support its OAuth 2.0:
it would request a token from us.
"""

from datetime import datetime
from typing import Any

import msgspec

from libs.contracts.outcomes import ReceiptKind
from services.delivery.adapters.vendors.reading import (
    Said,
    events_of,
    moment,
    own_id,
    path_in,
    read_each,
    reply_code,
    words,
)
from services.delivery.adapters.vendors.shared_secret import verify
from services.delivery.domain.callbacks import Callback, Opinion
from services.delivery.domain.mail_vendors import MailNews, Reading, WebhookKeys

_KINDS: dict[str, ReceiptKind | None] = {
    "injection": ReceiptKind.ACCEPTED,
    "delivery": ReceiptKind.DELIVERED,
    "delay": ReceiptKind.DEFERRED,
    "bounce": ReceiptKind.BOUNCED,
    "out_of_band": ReceiptKind.BOUNCED,  # after delivery, by mail
    "spam_complaint": ReceiptKind.COMPLAINED,
    "policy_rejection": ReceiptKind.DROPPED,
    "generation_rejection": ReceiptKind.DROPPED,
    "generation_failure": ReceiptKind.FAILED,
    "open": ReceiptKind.OPENED,
    "amp_open": ReceiptKind.OPENED,
    "initial_open": None,  # an open follows
    "amp_initial_open": None,
    "click": ReceiptKind.CLICKED,
    "amp_click": ReceiptKind.CLICKED,
    "list_unsubscribe": ReceiptKind.UNSUBSCRIBED,
    "link_unsubscribe": ReceiptKind.UNSUBSCRIBED,
    "sms_status": None,
    "relay_injection": None,
    "relay_rejection": None,
    "relay_delivery": None,
    "relay_tempfail": None,
    "relay_permfail": None,
    "ab_test_completed": None,
    "ab_test_cancelled": None,
}
_BOUNCED, _NOTHING = ReceiptKind.BOUNCED, None
# bounce_class → what it is, its category, whether it is permanent; the rest are bounces without details
_CLASSES: dict[str, tuple[ReceiptKind | None, str | None, bool | None]] = {
    "1": (_BOUNCED, None, None),
    "10": (_BOUNCED, "unknown-user", True),
    "20": (_BOUNCED, None, False),
    "21": (_BOUNCED, "network", False),
    "22": (_BOUNCED, "mailbox-full", False),
    "23": (_BOUNCED, "too-large", False),
    "24": (_BOUNCED, "expired", False),
    "25": (ReceiptKind.DROPPED, None, None),  # by SparkPost's own policy
    "26": (ReceiptKind.DROPPED, None, None),
    "30": (_BOUNCED, None, True),
    "40": (_BOUNCED, None, False),
    "50": (_BOUNCED, None, False),
    "51": (_BOUNCED, "reputation-block", False),
    "52": (_BOUNCED, "spam-content", False),
    "53": (_BOUNCED, "content-rejected", False),
    "54": (_BOUNCED, "relay-denied", False),
    "60": (_NOTHING, None, None),  # an automatic reply
    "70": (_BOUNCED, None, False),
    "80": (_NOTHING, None, None),
    "90": (ReceiptKind.UNSUBSCRIBED, None, None),
    "100": (_NOTHING, None, None),  # a challenge
}


class _Event(msgspec.Struct):
    type: str
    event_id: str | int | None = None
    timestamp: str | float | None = None
    rcpt_meta: Any = None
    msg_from: str | None = None
    bounce_class: str | int | None = None
    error_code: str | int | None = None
    raw_reason: str | None = None
    reason: str | None = None
    fbtype: str | None = None
    is_prefetched: bool = False  # by a mail program, whoever reads or does not


class _Posted(msgspec.Struct):
    msys: dict[str, _Event]


_decode = msgspec.json.Decoder(_Posted, strict=False).decode


class SparkPostWebhooks:
    """Reads lists of events."""

    async def read(self, callback: Callback, keys: WebhookKeys, now: datetime) -> Reading:
        """See the port."""
        verify(callback.headers, keys.keys)
        return read_each(events_of(callback.body), _decode, lambda posted: _translate(posted, now))


def header(path: str) -> str:
    """Return the metadata that comes back with each event."""
    return f'X-MSYS-API: {{"metadata": {{"depesche": "{path}"}}}}\r\n'


def _translate(posted: _Posted, now: datetime) -> MailNews | Said:
    event = next(iter(posted.msys.values()), None)
    if event is None:  # a ping
        return Said.NOTHING
    if event.type not in _KINDS:
        return Said.NEW_TO_US
    kind, opinion = _KINDS[event.type], None
    if kind is ReceiptKind.BOUNCED:
        bounce_class = str(event.bounce_class or "")
        kind, category, permanent = _CLASSES.get(bounce_class, (kind, None, None))
        opinion = Opinion(bounce_class or event.type, category, permanent)
    if kind is None or event.is_prefetched or (kind is ReceiptKind.COMPLAINED and event.fbtype == "not-spam"):
        return Said.NOTHING
    meta = event.rcpt_meta if isinstance(event.rcpt_meta, dict) else None
    return MailNews(
        event_id=own_id(event.event_id),
        paths=(path_in(meta), event.msg_from or ""),
        kind=kind,
        at=moment(event.timestamp, now),
        text=words(event.raw_reason or event.reason),
        reply_code=reply_code(event.error_code),
        opinion=opinion,
    )
