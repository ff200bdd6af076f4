"""Events of `bounce`: facts about addresses, and the suppressions that follow."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from libs.contracts.envelope import Event, declared


@declared
class BounceClassified(Event, frozen=True, kw_only=True):
    """A bounce, complaint or reply became a fact about one address. Recipient and message are set if VERP identified
    them."""

    TYPE: ClassVar[str] = "bounce.classified"
    SOURCE: ClassVar[str] = "bounce"
    bounce_id: UUID
    category: str  # unknown-user, mailbox-full, complaint, unsubscribe …
    group: str  # hard | soft | block | other
    address_hash: bytes
    at: datetime
    message_id: str | None = None
    attempt: int | None = None
    recipient: str | None = None
    reply_code: int | None = None
    enhanced_code: str | None = None
    text: str | None = None
    origin: str = "mail"  # mail | session | receipt | manual


@declared
class SuppressionChanged(Event, frozen=True, kw_only=True):
    """A suppression was placed or lifted. Versions increase per (tenant, mode, address, scope); ignore older ones."""

    TYPE: ClassVar[str] = "suppression.changed"
    SOURCE: ClassVar[str] = "bounce"
    suppression_id: UUID
    address_hash: bytes
    scope: str  # all | marketing
    reason: str  # a word of libs.contracts.reasons
    active: bool
    version: int
    at: datetime
    bounce_id: UUID | None = None
    message_id: str | None = None
    note: str | None = None
    recipient: str | None = None
