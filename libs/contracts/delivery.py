"""Contracts of `delivery`: the command it accepts, and every event it publishes about messages.

All of them carry batches: the results of a chunk are one event, never one event per message. Times are UTC. `message`
fields are `notification_id.address_id`.
"""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

import msgspec

from libs.contracts.envelope import Event, declared


class RequestedRecipient(msgspec.Struct, frozen=True, kw_only=True):
    """One recipient of a request. `variables` belong to this recipient alone (campaigns); they shadow nothing."""

    key: str  # customer:<id> or installation:<id>
    notification_id: UUID
    variables: dict[str, Any] | None = None


@declared
class NotificationRequested(Event, frozen=True, kw_only=True):
    """Command: send one release to 1 to 1,000 recipients, each named once. The request id is the inbox mark.

    `event` is what CEL and Liquid see as `event`: id, type, source, subject, time, data. It has no address and no
    name."""

    TYPE: ClassVar[str] = "notification.requested"
    SOURCE: ClassVar[str] = "orders-notification"
    request_id: UUID
    cause_id: UUID
    cause_kind: str  # event | wave | digest | redrive | action | delay
    release_id: UUID
    communication: str
    lane: str  # transactional | bulk
    on_unknown: str  # leave | resend | verify
    expires_at: datetime
    event: dict[str, Any]
    recipients: tuple[RequestedRecipient, ...]
    parent_id: UUID | None = None
    variant: int = 0
    secret: bool = False  # the event has x-secret fields (a one-time code): wipe its body once every message is final


class Transition(msgspec.Struct, frozen=True, kw_only=True):
    """A message went from `was` to `is`. `address_id` 0: no address was found, or none was looked up."""

    notification_id: UUID
    address_id: int
    recipient: str
    attempt: int
    was: str
    is_: str = msgspec.field(name="is")
    reason: str
    at: datetime
    channel: str | None = None
    sender: int = 0
    step: int = 0
    locale: str | None = None
    provider_ref: str | None = None
    address_hash: bytes | None = None
    digest: bytes | None = None  # SHA-256 of the rendered content
    detail: str | None = None  # the provider's words, or the {detail} of a reason's sentence


@declared
class MessageRecorded(Event, frozen=True, kw_only=True):
    """Status transitions of the messages of one request. Counters add deltas, so order does not matter."""

    TYPE: ClassVar[str] = "message.recorded"
    SOURCE: ClassVar[str] = "delivery"
    MAY_WAIT: ClassVar[bool] = True
    request_id: UUID
    cause_id: UUID
    release_id: UUID
    communication: str
    transitions: tuple[Transition, ...]


class Rejection(msgspec.Struct, frozen=True, kw_only=True):
    """A provider's refusal, with its text. `final`: this attempt will not be retried."""

    message: str
    recipient: str
    attempt: int
    channel: str
    sender: int
    address_id: int
    address_hash: bytes
    final: bool
    text: str
    at: datetime
    reply_code: int | None = None
    enhanced_code: str | None = None
    error: str | None = None  # the provider's own code: UNREGISTERED, 21211 …
    retire: bool = False  # the provider says that this address is dead (devices)
    domain: str | None = None  # an e-mail's domain, to check whether it exists; never the address
    from_domain: str | None = None  # the From domain that the mail was sent with


@declared
class MessageRejected(Event, frozen=True, kw_only=True):
    """Provider refusals for one request's messages; `bounce` classifies them, `tokens` retires dead devices."""

    TYPE: ClassVar[str] = "message.rejected"
    SOURCE: ClassVar[str] = "delivery"
    request_id: UUID
    rejections: tuple[Rejection, ...]
    communication: str | None = None


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What was reported about a message after the provider accepted it. `detail` is the text of the recipient's server
    or of the provider. Fields beginning with `vendor` hold the provider's own classification, a second opinion."""

    provider: str
    provider_event_id: str
    message: str
    attempt: int
    kind: str  # a word of outcomes.ReceiptKind
    at: datetime
    recipient: str | None = None
    address_hash: bytes | None = None
    detail: str | None = None
    reply_code: int | None = None
    enhanced_code: str | None = None
    vendor_class: str | None = None  # in its own words: Permanent/NoEmail, hard_bounce, 10
    vendor_category: str | None = None  # the matching category of `bounce`, if there is exactly one
    vendor_permanent: bool | None = None  # whether it says that retrying is pointless
    erased: bool = False  # the recipient was erased: the words may be read, and are not to be stored


@declared
class ReceiptRecorded(Event, frozen=True, kw_only=True):
    """Receipts that have been verified, deduplicated and applied."""

    TYPE: ClassVar[str] = "receipt.recorded"
    SOURCE: ClassVar[str] = "delivery"
    MAY_WAIT: ClassVar[bool] = True
    receipts: tuple[Receipt, ...]


@declared
class ReplyReceived(Event, frozen=True, kw_only=True):
    """A customer replied: an SMS with STOP, a mail to the reply address. The text is PII."""

    TYPE: ClassVar[str] = "reply.received"
    SOURCE: ClassVar[str] = "delivery"
    provider: str
    provider_event_id: str
    channel: str
    address_hash: bytes
    text: str
    at: datetime


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """The counters of a request; their sum is recipients + extra."""

    recipients: int
    extra: int
    pending: int
    sent: int
    failed: int
    skipped: int
    suppressed: int
    unknown: int


@declared
class RequestSettled(Event, frozen=True, kw_only=True):
    """No message of a request is pending any more; published once, with `unknown` among the counters."""

    TYPE: ClassVar[str] = "request.settled"
    SOURCE: ClassVar[str] = "delivery"
    MAY_WAIT: ClassVar[bool] = True
    request_id: UUID
    cause_id: UUID
    release_id: UUID
    communication: str
    account: Account
    at: datetime


@declared
class RequestAdjusted(Event, frozen=True, kw_only=True):
    """The account of a settled request changed: a receipt resolved an unknown message, or revoked a sent one."""

    TYPE: ClassVar[str] = "request.adjusted"
    SOURCE: ClassVar[str] = "delivery"
    MAY_WAIT: ClassVar[bool] = True
    request_id: UUID
    cause_id: UUID
    account: Account
    at: datetime


@declared
class HoldPlaced(Event, frozen=True, kw_only=True):
    """Nothing of this cause, release, sender or tenant is sent until the hold is lifted."""

    TYPE: ClassVar[str] = "hold.placed"
    SOURCE: ClassVar[str] = "delivery"
    kind: str  # cause | release | sender | tenant
    target: str
    version: int
    at: datetime
    note: str | None = None


@declared
class HoldLifted(Event, frozen=True, kw_only=True):
    """A hold ended; the work it stopped continues."""

    TYPE: ClassVar[str] = "hold.lifted"
    SOURCE: ClassVar[str] = "delivery"
    kind: str
    target: str
    version: int
    at: datetime
    note: str | None = None
