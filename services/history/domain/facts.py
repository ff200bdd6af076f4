"""Owns the facts that history stores, as values: what happened, when, and who says so."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.contracts.outcomes import Channel, Mode, ReceiptKind, Status
from libs.contracts.reasons import Reason
from libs.ids import message_id


@dataclass(frozen=True, slots=True)
class Transition:
    """A message went from `was` to `status` in this attempt."""

    at: datetime
    attempt: int
    was: Status
    status: Status
    reason: Reason
    channel: Channel | None = None
    sender: int = 0
    step: int = 0
    locale: str | None = None
    provider_ref: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was reported about an attempt after it was handed over."""

    at: datetime
    attempt: int
    kind: ReceiptKind
    provider: str
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Rejection:
    """A provider's refusing reply to an attempt."""

    at: datetime
    attempt: int
    final: bool
    text: str
    reply_code: int | None = None
    enhanced_code: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """Everything known about one message; transitions, receipts and rejections ordered by time."""

    notification_id: UUID
    address_id: int
    communication: str
    cause_id: UUID
    release_id: UUID
    request_id: UUID
    recipient: str | None
    subject: str | None
    transitions: tuple[Transition, ...]
    receipts: tuple[Receipt, ...] = ()
    rejections: tuple[Rejection, ...] = ()
    address_key: int | None = None

    @property
    def id(self) -> str:
        return message_id(self.notification_id, self.address_id)

    @property
    def latest(self) -> Transition:
        """The message's current transition: the most advanced one of the highest attempt."""
        return max(self.transitions, key=advance)

    @property
    def ends(self) -> dict[int, Transition]:
        """The current transition of each attempt, by its number."""
        found: dict[int, Transition] = {}
        for transition in self.transitions:
            if transition.attempt not in found or advance(transition) > advance(found[transition.attempt]):
                found[transition.attempt] = transition
        return found


# Transitions may arrive out of order and within one millisecond: within an attempt, the later stage beats the clock.
RANK: dict[Status, int] = {
    Status.PENDING: 0,
    Status.SENDING: 1,
    Status.UNKNOWN: 2,
    Status.SKIPPED: 3,
    Status.SUPPRESSED: 3,
    Status.SENT: 4,
    Status.FAILED: 4,
}


def advance(transition: Transition) -> tuple[int, int, bool, datetime]:
    """Return how far a transition takes its message. One that undoes an end ranks after it, despite the clocks: another
    replica may write the receipt that gives up a sent message."""
    undoes = transition.was in (Status.SENT, Status.FAILED)
    return transition.attempt, stage(transition.was, transition.status), undoes, transition.at


def stage(was: Status, status: Status) -> int:
    """Return how far a transition takes its attempt. Pending after unknown ranks higher: by then the attempt is known
    not to have been sent."""
    return 3 if (was, status) == (Status.UNKNOWN, Status.PENDING) else RANK[status]


@dataclass(frozen=True, slots=True)
class Decision:
    """What one communication decided about one event, and one recipient where there is one."""

    at: datetime
    cause_id: UUID
    event_id: str
    event_type: str
    event_source: str
    reason: Reason  # NONE: requested
    subject: str | None = None
    communication: str | None = None
    recipient: str | None = None
    notification_id: UUID | None = None
    detail: str | None = None

    @property
    def requested(self) -> bool:
        return self.reason is Reason.NONE


@dataclass(frozen=True, slots=True)
class Document:
    """Any other event: a bounce, a suppression, a hold, a user's action. `body` is the event's data."""

    id: UUID
    type: str
    tenant: int
    mode: Mode
    at: datetime
    body: dict[str, Any] = field(default_factory=dict)
    subject: str | None = None
    recipient: str | None = None
    message: str | None = None
    address_key: int | None = None
    actor: str | None = None
    action: str | None = None
    object: str | None = None


def address_key(hashed: bytes | None) -> int | None:
    """Return the 64 bits of an address's keyed hash by which history finds it, as a signed number."""
    return int.from_bytes(hashed[:8], signed=True) if hashed else None
