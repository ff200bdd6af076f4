"""Transitions of messages, in the form of events."""

from datetime import datetime

from libs.contracts.delivery import Transition
from libs.contracts.outcomes import Status
from libs.contracts.reasons import Reason
from services.delivery.domain.work import Message, channel_of


def transition(
    message: Message, change: tuple[Status, Status], reason: Reason, at: datetime, provider_ref: str | None = None
) -> Transition:
    """`change` is (was, is); the message's own `detail` is included."""
    was, now = change
    return Transition(
        notification_id=message.notification_id,
        address_id=message.address_id,
        recipient=message.recipient,
        attempt=message.row.attempt,
        was=was.word,
        is_=now.word,
        reason=reason.word,
        at=at,
        channel=channel_of(message),
        sender=message.sender,
        step=message.step,
        locale=message.locale,
        provider_ref=provider_ref,
        address_hash=message.hash,
        digest=message.digest,
        detail=message.detail,
    )
