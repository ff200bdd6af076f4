"""Owns the case that a verdict is about: one notification for one recipient, and everything known about it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from libs.contracts.outcomes import Status
from libs.contracts.reasons import Reason
from libs.ids import time_of
from services.history.domain.facts import Decision, Document, Message


@dataclass(frozen=True, slots=True)
class Waiting:
    """What delivery says a notification waits for. `ended`: final there; history has not received the event yet."""

    reason: Reason
    until: datetime | None = None
    detail: str | None = None
    ended: Status | None = None


@dataclass(frozen=True, slots=True)
class Rendered:
    """The text rendered again from its release. `digest`: equal, differs, or not_reproducible; `why`: a sentence where
    it is not equal."""

    digest: str
    why: str | None = None
    parts: dict[str, object] | None = None


@dataclass(frozen=True, slots=True)
class KeptRejection:
    """An event that intake refused and stored."""

    at: datetime
    sentence: str
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class Trace:
    """What intake knows about events that history has no record of."""

    events: tuple[Decision, ...] = ()  # accepted, with the decisions made meanwhile
    undecided: tuple[str, ...] = ()  # ids of accepted events without a decision
    rejections: tuple[KeptRejection, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """One notification (or one refusing decision) and everything known about it.

    `twins`: other notifications of the same communication for the same recipient and order that were sent.
    """

    communication: str | None
    recipient: str | None
    cause_id: UUID | None
    notification_id: UUID | None
    messages: tuple[Message, ...] = ()
    decisions: tuple[Decision, ...] = ()
    documents: tuple[Document, ...] = ()
    twins: tuple[tuple[Message, ...], ...] = ()
    waiting: Waiting | None = None
    lost: bool = False  # delivery was asked and has no record of it
    rendered: Rendered | None = None

    @property
    def began(self) -> datetime:
        """When its cause was accepted."""
        known = self.cause_id or self.notification_id
        if known is not None:
            return time_of(known)
        return min(d.at for d in self.decisions)


@dataclass(slots=True)
class _Pile:
    messages: list[Message] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)


def cases_of(messages: Iterable[Message], decisions: Iterable[Decision]) -> list[Case]:
    """Return one case per notification or refusing decision, newest first."""
    piles: dict[tuple[object, ...], _Pile] = {}
    for message in messages:
        piles.setdefault(("notification", message.notification_id), _Pile()).messages.append(message)
    for decision in decisions:
        piles.setdefault(_key(decision), _Pile()).decisions.append(decision)
    return sorted((_case(pile) for pile in piles.values()), key=_newness, reverse=True)


def _key(decision: Decision) -> tuple[object, ...]:
    if decision.notification_id is not None:
        return "notification", decision.notification_id
    return "decision", decision.cause_id, decision.communication, decision.recipient


def _newness(case: Case) -> tuple[bool, datetime, int]:
    """Sort key: newest first; within an event, requested before not applicable; events without a communication last."""
    heard = case.communication is not None
    return heard, case.began, 2 if case.messages else 1 if any(d.requested for d in case.decisions) else 0


def _case(pile: _Pile) -> Case:
    messages = tuple(sorted(pile.messages, key=lambda m: m.address_id))
    decisions = tuple(sorted(pile.decisions, key=lambda d: d.at))
    first = messages[0] if messages else None
    decided = decisions[0] if decisions else None
    return Case(
        communication=first.communication if first else decided.communication if decided else None,
        recipient=first.recipient if first else decided.recipient if decided else None,
        cause_id=first.cause_id if first else decided.cause_id if decided else None,
        notification_id=first.notification_id if first else decided.notification_id if decided else None,
        messages=messages,
        decisions=decisions,
    )


def twins_of(case: Case, others: Sequence[Case]) -> tuple[tuple[Message, ...], ...]:
    """Other notifications of the same communication for the same recipient and order."""
    subject = case.messages[0].subject if case.messages else None
    if subject is None or case.recipient is None:
        return ()
    return tuple(
        other.messages
        for other in others
        if other.notification_id != case.notification_id
        and other.messages
        and (other.communication, other.recipient, other.messages[0].subject)
        == (case.communication, case.recipient, subject)
    )
