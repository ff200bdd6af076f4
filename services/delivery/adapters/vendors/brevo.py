"""Brevo's transactional webhooks: one event or, batched, a list; Basic credentials, a bearer token or a header.

Sources: developers.brevo.com/docs/transactional-webhooks (kinds and fields; `ts_epoch` is UTC in milliseconds,
`ts_event` is off by the account's time zone), …/docs/marketing-webhooks (`camp_id`; no message-id),
…/docs/secured-webhooks (nothing is signed), …/docs/batch-webhooks (up to 500), …/docs/send-a-transactional-email
(X-Mailin-custom comes back unchanged).
"""

from datetime import datetime

import msgspec

from libs.contracts.outcomes import ReceiptKind
from services.delivery.adapters.vendors.reading import Said, events_of, made_id, moment, read_each, words
from services.delivery.adapters.vendors.shared_secret import verify
from services.delivery.domain.callbacks import Callback, Opinion
from services.delivery.domain.mail_vendors import MailNews, Reading, WebhookKeys

_KINDS: dict[str, ReceiptKind | None] = {
    "request": ReceiptKind.ACCEPTED,
    "sent": ReceiptKind.ACCEPTED,
    "delivered": ReceiptKind.DELIVERED,
    "deferred": ReceiptKind.DEFERRED,
    "hard_bounce": ReceiptKind.BOUNCED,
    "soft_bounce": ReceiptKind.BOUNCED,
    "invalid_email": ReceiptKind.BOUNCED,
    "blocked": ReceiptKind.DROPPED,  # by Brevo's own list
    "error": ReceiptKind.FAILED,
    "spam": ReceiptKind.COMPLAINED,
    "complaint": ReceiptKind.COMPLAINED,
    "opened": ReceiptKind.OPENED,
    "unique_opened": ReceiptKind.OPENED,  # the first time; "opened" comes from the second time on
    "proxy_open": None,  # a mail program that fetches every picture
    "unique_proxy_open": None,
    "click": ReceiptKind.CLICKED,
    "unsubscribed": ReceiptKind.UNSUBSCRIBED,
    "unsubscribe": ReceiptKind.UNSUBSCRIBED,
    "list_addition": None,
    "contact_updated": None,
    "contact_deleted": None,
}
_OPINIONS = {
    "hard_bounce": Opinion("hard_bounce", None, True),
    "soft_bounce": Opinion("soft_bounce", None, False),
    "invalid_email": Opinion("invalid_email", "unknown-user", True),
    "blocked": Opinion("blocked"),
}


class _Event(msgspec.Struct):
    event: str
    message_id: str | None = msgspec.field(default=None, name="message-id")
    camp_id: int | str | None = None
    custom: str | None = msgspec.field(default=None, name="X-Mailin-custom")
    ts_epoch: int | None = None
    ts_event: int | None = None
    reason: str | None = None
    link: str | None = None


_decode = msgspec.json.Decoder(_Event, strict=False).decode


class BrevoWebhooks:
    """Reads single events and batches."""

    async def read(self, callback: Callback, keys: WebhookKeys, now: datetime) -> Reading:
        """See the port."""
        verify(callback.headers, keys.keys)
        return read_each(events_of(callback.body), _decode, lambda event: _translate(event, now))


def header(path: str) -> str:
    """Return the header that comes back with each event."""
    return f"X-Mailin-custom: {path}\r\n"


def _translate(event: _Event, now: datetime) -> MailNews | Said:
    if event.event not in _KINDS:
        return Said.NEW_TO_US
    kind = _KINDS[event.event]
    if kind is None or (event.camp_id and not event.message_id):  # a campaign that Brevo itself sends is none of ours
        return Said.NOTHING
    if not event.message_id:
        raise ValueError("it has no message-id")
    return MailNews(
        # at the first opening older accounts get both kinds
        event_id=made_id(
            event.event.removeprefix("unique_"), event.message_id, event.ts_event, event.ts_epoch, event.link
        ),
        paths=(event.custom or "",),
        kind=kind,
        at=moment(_seconds(event), now),
        text=words(event.reason),
        opinion=_OPINIONS.get(event.event),
    )


def _seconds(event: _Event) -> float | None:
    """Return `ts_epoch`, in milliseconds by its description, in seconds by its example; else `ts_event`."""
    if event.ts_epoch is None:
        return event.ts_event
    return event.ts_epoch / 1_000 if event.ts_epoch > 10**11 else event.ts_epoch
