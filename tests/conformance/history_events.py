"""Events for the tests of history's stores."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from libs.contracts.bounce import BounceClassified
from libs.contracts.delivery import (
    MessageRecorded,
    MessageRejected,
    Receipt,
    ReceiptRecorded,
    Rejection,
    Transition,
)
from libs.contracts.envelope import Envelope, Event
from libs.contracts.orders_notification import Decision, DecisionRecorded
from libs.contracts.outcomes import Mode, Status
from libs.contracts.reasons import Reason
from libs.ids import first_id_at, message_id, notification_id, uuid7

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
KIM = "customer:1042"
CAUSE = first_id_at(NOON)
NOTIFICATION = notification_id(CAUSE, "parcel-shipped", KIM)
MESSAGE = message_id(NOTIFICATION, 17)
REQUEST = uuid4()
RELEASE = uuid4()


def heard(event: Event, *, tenant: int = 1, mode: Mode = Mode.LIVE, subject: str | None = "A-1042") -> Envelope:
    return Envelope(
        id=uuid7(),
        type=event.TYPE,
        source="x",
        time=NOON,
        tenant=tenant,
        mode=mode,
        key="k",
        data=event,
        subject=subject,
    )


def moved(
    was: Status, is_: Status, *, attempt: int = 1, recipient: str = KIM, cause: UUID = CAUSE, **more: Any
) -> Transition:
    return Transition(
        notification_id=notification_id(cause, "parcel-shipped", recipient),
        address_id=more.pop("address_id", 17),
        recipient=recipient,
        attempt=attempt,
        was=was.word,
        is_=is_.word,
        reason=more.pop("reason", Reason.NONE).word,
        at=NOON + timedelta(seconds=attempt),
        channel="push",
        sender=3,
        address_hash=more.pop("address_hash", b"h" * 32),
        **more,
    )


def recorded(*transitions: Transition, request: UUID = REQUEST, cause: UUID = CAUSE, **more: Any) -> Envelope:
    event = MessageRecorded(
        request_id=request,
        cause_id=cause,
        release_id=RELEASE,
        communication="parcel-shipped",
        transitions=transitions,
    )
    return heard(event, **more)


BACK = recorded(moved(Status.SENDING, Status.PENDING, reason=Reason.THROTTLED))
SENT = recorded(moved(Status.SENDING, Status.SENT, attempt=2, provider_ref="p-1", locale="de"))
DELIVERED = heard(
    ReceiptRecorded(
        receipts=(Receipt(provider="p", provider_event_id="e1", message=MESSAGE, attempt=2, kind="delivered", at=NOON),)
    )
)
REFUSED = heard(
    MessageRejected(
        request_id=REQUEST,
        rejections=(
            Rejection(
                message=MESSAGE,
                recipient=KIM,
                attempt=1,
                channel="push",
                sender=3,
                address_id=17,
                address_hash=b"h" * 32,
                final=False,
                text="slow down kim@example.com",
                at=NOON,
                reply_code=429,
            ),
        ),
    )
)


def decided(*decisions: Decision, event_id: str = "e-1", cause: UUID = CAUSE) -> Envelope:
    return heard(
        DecisionRecorded(
            cause_id=cause,
            event_id=event_id,
            event_type="parcel.shipped",
            event_source="shop",
            received_at=NOON,
            decisions=decisions,
        )
    )


def bounced() -> Envelope:
    return heard(
        BounceClassified(
            bounce_id=uuid4(),
            category="unknown-user",
            group="hard",
            address_hash=b"h" * 32,
            at=NOON,
            message_id=MESSAGE,
            recipient=KIM,
        )
    )
