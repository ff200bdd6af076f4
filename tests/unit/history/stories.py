"""Builders of stories for the tests of verdicts."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from libs.contracts.outcomes import Channel, Status
from libs.contracts.reasons import Reason
from libs.ids import first_id_at, notification_id
from services.history.domain.case import Case, cases_of
from services.history.domain.facts import Decision, Message, Transition
from services.history.domain.verdict import Verdict, decide

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
KIM = "customer:1042"


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def cause(seconds: float = 0) -> UUID:
    return first_id_at(at(seconds))


def moved(
    was: Status, status: Status, seconds: float = 1, *, attempt: int = 1, reason: Reason = Reason.NONE, **more: Any
) -> Transition:
    return Transition(at(seconds), attempt, was, status, reason, Channel.PUSH, **more)


def message(
    *transitions: Transition, address: int = 17, of: UUID | None = None, name: str = "parcel-shipped", **more: Any
) -> Message:
    of = of or cause()
    return Message(
        notification_id(of, name, KIM), address, name, of, uuid4(), uuid4(), KIM, "A-1042", transitions, **more
    )


def decided(reason: Reason = Reason.NONE, *, of: UUID | None = None, name: str | None = "parcel-shipped") -> Decision:
    of = of or cause()
    requested = notification_id(of, name, KIM) if name and reason is Reason.NONE else None
    return Decision(NOON, of, "e-1", "parcel.shipped", "shop", reason, "A-1042", name, KIM, requested, detail=None)


def story(*messages: Message, decisions: tuple[Decision, ...] = ()) -> Case:
    return cases_of(messages, decisions)[0]


SENT = moved(Status.SENDING, Status.SENT)


def verdict(*messages: Message) -> Verdict:
    return decide(story(*messages))


LOST = moved(Status.SENDING, Status.UNKNOWN, 1, reason=Reason.TIMED_OUT)
AGAIN = moved(Status.SENDING, Status.SENT, 9, attempt=2)
