"""What goes through the sender: leased queue rows, the messages made from them, and each result.

One object per message lives from prepare to record; everything else in the loop is a tuple or a column.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec

from libs.contracts.outcomes import Channel, Lane, Mode, OnUnknown, Status
from libs.contracts.reasons import Reason
from libs.rendering.contents import Content
from services.delivery.domain.outbound import Sender
from services.delivery.domain.outcomes import Deferred, Rejected

# The queue's third lane, which no request uses: attempts in doubt, whose provider is queried. `attempt` is the one in
# doubt, `returns` counts its queries. It is a separate lane so that no sender takes such a row for a resend.
QUESTIONS = 2
QUEUE_LANES = {lane: Lane(lane).word for lane in Lane} | {QUESTIONS: "verify"}


@dataclass(slots=True)
class Request:
    """What the sender knows of a request."""

    id: UUID
    tenant: int
    mode: Mode
    cause_id: UUID
    release_id: UUID
    communication: str
    subject: str | None
    variant: int
    lane: Lane
    on_unknown: OnUnknown
    expires_at: datetime
    traceparent: str | None
    body: bytes | None
    received_at: datetime
    cancelled: bool = False
    release_active: bool = True
    secret: bool = False  # its variables are shown to nobody


@dataclass(slots=True)
class Queued:
    """A leased queue row. `shared`: by requests of one recipient each; it is done when all are."""

    id: int
    lease: int
    shared: bool = False
    outstanding: int = 0  # calls without an outcome so far


@dataclass(slots=True)
class WorkRow:
    """Leased recipients of one request, at one step and attempt: a queue row, or one request's part of it."""

    id: int  # its index among those leased together
    queued: Queued
    request: Request
    ordinals: Sequence[int]
    plan_step: int
    attempt: int
    returns: int
    crashes: int


@dataclass(slots=True)
class Group:
    """Rows leased together. `leased_at` is time.monotonic() from before the lease was requested."""

    lane: Lane
    rows: list[WorkRow]
    leased_at: float


class Message(msgspec.Struct, eq=False):
    """One notification to one address, on its way through a chunk.

    `status` SENDING: to be called. Anything final: refused during preparation, with its reason; then `address_id`
    is 0 if none was looked up or found. A struct, because one is created for every message."""

    row: WorkRow
    ordinal: int
    notification_id: UUID
    recipient: str
    address_id: int
    status: Status
    reason: Reason = Reason.NONE
    detail: str | None = None
    recipient_id: int | None = None
    channel: Channel | None = None
    sender: int = 0
    step: int = 0
    locale: str | None = None
    digest: bytes | None = None
    hash: bytes | None = None
    marketing: bool = False
    content: Content | None = None
    kind: str = ""
    address: str = ""
    name: str | None = None
    unsubscribe_url: str | None = None
    via: Sender | None = None  # set before the claim, if it is to be called
    was: Status = Status.PENDING  # what it woke from

    @property
    def key(self) -> tuple[UUID, int]:
        """The key of its row; rows are locked in this order."""
        return self.notification_id, self.address_id


def channel_of(message: Message) -> str | None:
    """Return the channel's word; None if no address was looked up."""
    return message.channel.word if message.channel is not None else None


class Later(NamedTuple):
    """Recipients of a row who must wait as a whole; they become a work row of their own."""

    row: WorkRow
    ordinals: Sequence[int]
    due_at: datetime
    reason: Reason


class GiveBack(NamedTuple):
    """A whole row that goes back untouched, for a later turn."""

    row: WorkRow
    due_at: datetime
    reason: Reason


class Rest(NamedTuple):
    """How a woken recipient's pending rows end if no address was resolved for them."""

    row: WorkRow
    ordinal: int
    notification_id: UUID
    recipient: str
    reason: Reason


@dataclass(slots=True)
class Prepared:
    """A group, ready to be claimed: every ordinal of every row is in exactly one of these or in a given-back row."""

    group: Group
    messages: list[Message] = field(default_factory=list)
    later: list[Later] = field(default_factory=list)
    back: list[GiveBack] = field(default_factory=list)
    rest: list[Rest] = field(default_factory=list)
    away: int = 0  # rows whose release or recipients were unavailable

    def put_off(self, messages: Iterable[Message], due_at: datetime, reason: Reason) -> None:
        """Make these messages' recipients wait as a whole; nothing of them is claimed."""
        waiting: dict[int, set[int]] = {}
        rows: dict[int, WorkRow] = {}
        for message in messages:
            waiting.setdefault(message.row.id, set()).add(message.ordinal)
            rows[message.row.id] = message.row
        if not waiting:
            return
        self.messages = [m for m in self.messages if m.ordinal not in waiting.get(m.row.id, ())]
        self.rest = [r for r in self.rest if r.ordinal not in waiting.get(r.row.id, ())]
        self.later += [Later(rows[id_], sorted(ordinals), due_at, reason) for id_, ordinals in waiting.items()]

    def check_complete(self) -> None:
        """Raise AssertionError if a recipient got lost between lease and claim."""
        given = {back.row.id for back in self.back}
        seen: dict[int, set[int]] = {row.id: set() for row in self.group.rows}
        for message in self.messages:
            seen[message.row.id].add(message.ordinal)
        for later in self.later:
            seen[later.row.id].update(later.ordinals)
        for rest in self.rest:
            seen[rest.row.id].add(rest.ordinal)
        for row in self.group.rows:
            if row.id not in given and seen[row.id] != set(row.ordinals):
                raise AssertionError(f"work {row.id}: recipients {set(row.ordinals) ^ seen[row.id]} would be lost")


@dataclass(slots=True)
class Claimed:
    """What may be called now, and what made others wait."""

    messages: list[Message]
    lost: int = 0  # rows whose lease then belonged to another worker
    limited: int = 0  # recipients beyond the throttle


class Result(msgspec.Struct, frozen=True, gc=False):
    """The result of one call, as the ledger records it."""

    message: Message
    status: Status
    reason: Reason
    provider_ref: str | None = None
    detail: str | None = None
    again_at: datetime | None = None  # the next attempt's turn, if there is one
    ask_at: datetime | None = None  # when to query its provider about this attempt
    refusal: Rejected | Deferred | None = None  # a provider's refusal, for `bounce` and `tokens`
