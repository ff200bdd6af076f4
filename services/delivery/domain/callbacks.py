"""What providers report afterwards: receipts about messages, and customers' replies."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from libs.contracts.outcomes import Channel, ReceiptKind
from libs.contracts.reasons import Reason


@dataclass(frozen=True, slots=True)
class Callback:
    """A request as it arrived. `url` is the public one, with its raw query: signatures cover it. Header names in lower
    case."""

    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Opinion:
    """A vendor's own classification of a refusal: a second opinion beside the server's text that it quotes."""

    vendor_class: str  # in its own words: Permanent/NoEmail, hard_bounce, 10
    category: str | None = None  # the matching category of `bounce`, if there is exactly one
    permanent: bool | None = None  # whether it says that retrying is pointless


@dataclass(frozen=True, slots=True)
class ReceiptNews:
    """Something happened to a message after it was handed over. (provider, event_id) deduplicates it."""

    provider: str
    event_id: str
    notification_id: UUID
    address_id: int
    attempt: int
    kind: ReceiptKind
    at: datetime
    reason: Reason = Reason.NONE  # of FAILED and BOUNCED
    error: str | None = None  # the provider's own code
    detail: str | None = None
    reply_code: int | None = None
    enhanced: str | None = None
    opinion: Opinion | None = None


@dataclass(frozen=True, slots=True)
class ReplyNews:
    """A customer replied. `address` is the sender's, bare: it is hashed before it goes anywhere."""

    provider: str
    event_id: str
    channel: Channel
    address: str
    text: str
    at: datetime


News = ReceiptNews | ReplyNews
