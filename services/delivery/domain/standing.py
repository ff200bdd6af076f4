"""Where a notification or a message stands: the values of reads, and in words what it waits for."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from libs.contracts.outcomes import Status
from libs.contracts.reasons import Reason


class QueuedWork(NamedTuple):
    """A work row that contains a recipient."""

    due_at: datetime
    attempt: int
    plan_step: int
    reason: Reason
    calling: bool
    leased: bool
    held: bool
    held_sender: int | None
    asks: bool = False  # its provider is queried about the attempt


@dataclass(slots=True)
class MessageRow:
    """A row of the ledger, with its request's identity."""

    notification_id: UUID
    address_id: int
    request_id: UUID
    ordinal: int
    status: Status
    reason: Reason
    channel: int
    sender: int
    plan_step: int
    locale: str | None
    attempt: int
    duplicates: int
    provider_ref: str | None
    detail: str | None
    digest: bytes | None
    address_hash: bytes | None
    claimed_at: datetime
    recorded_at: datetime | None
    tenant: int
    mode: int
    communication: str
    from_address: str | None
    recipient: str = ""
    erased: bool = False  # known until the request's body is wiped
    attempts: list[dict[str, Any]] = field(default_factory=list)
    receipts: list[dict[str, Any]] = field(default_factory=list)

    @property
    def ordinal_key(self) -> tuple[UUID, int]:
        """Its recipient: the request, and the index in it."""
        return self.request_id, self.ordinal


@dataclass(slots=True)
class Standing:
    """One notification: its messages and its queued work. Without either, it is not ours."""

    notification_id: UUID
    request_id: UUID | None = None
    recipient: str = ""
    expires_at: datetime | None = None
    subject: str | None = None
    communication: str = ""
    messages: list[MessageRow] = field(default_factory=list)
    work: list[QueuedWork] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Explained:
    """What a notification waits for. `until`: when it is checked again, if that is known."""

    state: str  # waiting | held | calling | unknown | final
    reason: Reason
    until: datetime | None
    detail: str


def explain(standing: Standing, now: datetime) -> Explained:
    """Explain the notification in words: waiting work comes before what has ended."""
    if standing.work:
        return _waiting(min(standing.work, key=lambda work: work.due_at), now)
    statuses = {message.status for message in standing.messages}
    if not standing.messages:
        return Explained("final", Reason.DUPLICATE, None, "Another request already asked for the same notification.")
    first = min(standing.messages, key=lambda m: (m.status not in (Status.UNKNOWN, Status.SENDING), m.address_id))
    if Status.UNKNOWN in statuses:
        return Explained("unknown", first.reason, None, _sentence(first))
    return Explained("final", first.reason, None, _sentence(first))


def _sentence(message: MessageRow) -> str:
    return message.reason.text.sentence.replace("{detail}", message.detail or "")


def _waiting(work: QueuedWork, now: datetime) -> Explained:
    if work.asks:
        return Explained("waiting", Reason.VERIFYING, work.due_at, Reason.VERIFYING.text.sentence)
    if work.held:
        whom = f"A hold on sender {work.held_sender}" if work.held_sender else "A hold"
        return Explained("held", Reason.HELD, None, f"{whom} stops it; lift the hold and it continues.")
    if work.leased:
        return Explained("calling", Reason.NONE, None, "A worker is processing it right now.")
    number = f"attempt {work.attempt}" + (f", step {work.plan_step + 1} of the plan" if work.plan_step else "")
    if work.due_at <= now:
        return Explained("waiting", Reason.NONE, work.due_at, f"It is due ({number}) and waiting for a worker.")
    detail = f"{work.reason.text.sentence} It is retried ({number})."
    return Explained("waiting", work.reason, work.due_at, detail.replace("{detail}", ""))
