"""Postmark's webhooks: one event each, without a signature; Basic credentials or a header of our choice.

Sources: postmarkapp.com/developer/webhooks/webhooks-overview (HTTP auth, custom headers, retries), …/bounce-webhook,
…/subscription-change-webhook, …/api/bounce-api (types of bounces),
postmarkapp.com/support/article/1125-custom-metadata-faq (X-PM-Metadata-*, 80 characters, comes back as Metadata).
"""

from datetime import datetime
from typing import Any

import msgspec

from libs.contracts.outcomes import ReceiptKind
from services.delivery.adapters.vendors.reading import (
    Said,
    events_of,
    made_id,
    moment,
    path_in,
    read_each,
    words,
)
from services.delivery.adapters.vendors.shared_secret import verify
from services.delivery.domain.callbacks import Callback, Opinion
from services.delivery.domain.mail_vendors import MailNews, Reading, WebhookKeys

_BOUNCED, _NOTHING = ReceiptKind.BOUNCED, None
# Type of a bounce → what happened, its category, whether it is permanent
_BOUNCES: dict[str, tuple[ReceiptKind | None, str | None, bool | None]] = {
    "HardBounce": (_BOUNCED, None, True),
    "Transient": (ReceiptKind.DEFERRED, None, False),
    "Unsubscribe": (ReceiptKind.UNSUBSCRIBED, None, None),
    "Subscribe": (_NOTHING, None, None),
    "AutoResponder": (_NOTHING, None, None),
    "AddressChange": (_BOUNCED, "moved", False),  # somebody's claim in a mail, not a server's
    "DnsError": (_BOUNCED, "network", False),
    "SpamNotification": (_BOUNCED, "spam-content", False),
    "OpenRelayTest": (_NOTHING, None, None),
    "Unknown": (_BOUNCED, None, None),
    "SoftBounce": (_BOUNCED, None, False),
    "VirusNotification": (_BOUNCED, "virus", False),
    "ChallengeVerification": (_NOTHING, None, None),
    "BadEmailAddress": (_BOUNCED, "unknown-user", True),
    "SpamComplaint": (ReceiptKind.COMPLAINED, None, None),
    "ManuallyDeactivated": (ReceiptKind.DROPPED, None, None),
    "Unconfirmed": (_NOTHING, None, None),
    "Blocked": (_BOUNCED, None, False),
    "SMTPApiError": (ReceiptKind.FAILED, None, None),
    "InboundError": (_NOTHING, None, None),
    "DMARCPolicy": (_BOUNCED, "auth-failure", False),
    "TemplateRenderingFailed": (ReceiptKind.FAILED, None, None),
}
_RECORDS = {
    "Delivery": ReceiptKind.DELIVERED,
    "Open": ReceiptKind.OPENED,
    "Click": ReceiptKind.CLICKED,
    "SpamComplaint": ReceiptKind.COMPLAINED,
}


class _Event(msgspec.Struct):
    RecordType: str
    ID: int | str | None = None
    MessageID: str | None = None
    Type: str | None = None
    Details: str | None = None
    Description: str | None = None
    Metadata: Any = None
    BouncedAt: str | None = None
    DeliveredAt: str | None = None
    ReceivedAt: str | None = None
    ChangedAt: str | None = None
    OriginalLink: str | None = None
    SuppressSending: bool = False
    SuppressionReason: str | None = None
    Origin: str | None = None

    @property
    def at(self) -> str | None:
        return self.BouncedAt or self.DeliveredAt or self.ReceivedAt or self.ChangedAt


_decode = msgspec.json.Decoder(_Event).decode


class PostmarkWebhooks:
    """Reads single events."""

    async def read(self, callback: Callback, keys: WebhookKeys, now: datetime) -> Reading:
        """See the port."""
        verify(callback.headers, keys.keys)
        return read_each(events_of(callback.body), _decode, lambda event: _translate(event, now))


def header(path: str) -> str:
    """Return the metadata that comes back with each event."""
    return f"X-PM-Metadata-depesche: {path}\r\n"


def _translate(event: _Event, now: datetime) -> MailNews | Said:
    kind, opinion = _RECORDS.get(event.RecordType), None
    match event.RecordType:
        case "Bounce":
            if event.Type is None or event.Type not in _BOUNCES:
                return Said.NEW_TO_US
            kind, category, permanent = _BOUNCES[event.Type]
            opinion = Opinion(event.Type, category, permanent)
        case "SubscriptionChange":
            kind = _unsubscribed(event)
        case _ if kind is None:
            return Said.NEW_TO_US
    if kind is None:
        return Said.NOTHING
    metadata = event.Metadata if isinstance(event.Metadata, dict) else None
    return MailNews(
        event_id=_event_id(event),
        paths=(path_in(metadata),),
        kind=kind,
        at=moment(event.at, now),
        text=words(event.Details or event.Description),
        opinion=opinion,
    )


def _unsubscribed(event: _Event) -> ReceiptKind | None:
    """Recognise the recipient's own wish only: bounces and complaints have webhooks of their own, and an action in
    Postmark's web interface is not the recipient's wish."""
    wished = event.SuppressSending and event.Origin == "Recipient" and event.SuppressionReason == "ManualSuppression"
    return ReceiptKind.UNSUBSCRIBED if wished else None


def _event_id(event: _Event) -> str:
    if event.ID not in (None, "") and event.RecordType in ("Bounce", "SpamComplaint"):
        return f"{event.RecordType}:{event.ID}"
    if not event.MessageID:
        raise ValueError("it has no MessageID")
    return made_id(event.RecordType, event.MessageID, event.at, event.OriginalLink)
