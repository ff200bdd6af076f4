"""The events that history consumes, and where it stores them. It emits none; writes are idempotent and commutative.

Not consumed: `notification.requested` (it carries variables) and `request.settled` (a sum of transitions).
"""

from collections.abc import Sequence
from dataclasses import replace

from libs.contracts.access import TenantChanged, TopicChanged
from libs.contracts.audit import ActionRecorded
from libs.contracts.bounce import BounceClassified, SuppressionChanged
from libs.contracts.delivery import (
    HoldLifted,
    HoldPlaced,
    MessageRecorded,
    MessageRejected,
    ReceiptRecorded,
    ReplyReceived,
    RequestAdjusted,
)
from libs.contracts.envelope import Envelope
from libs.contracts.orders_notification import DecisionRecorded, ReleasePublished
from libs.contracts.templates import TemplatePublished
from libs.contracts.tokens import DeviceRetired, RecipientChanged, RecipientErased
from libs.messaging.bus import Subscriptions
from services.history.domain.documents import document_of
from services.history.ports import History


async def record_messages(deps: History, batch: Sequence[Envelope]) -> None:
    """Transitions."""
    await deps.timeline.record_messages(batch)
    await deps.audit.record_messages(batch)


async def record_receipts(deps: History, batch: Sequence[Envelope]) -> None:
    """Record receipts."""
    await deps.timeline.record_receipts(batch)
    await deps.audit.record_receipts(batch)


async def record_rejections(deps: History, batch: Sequence[Envelope]) -> None:
    """Record the refusing replies of providers."""
    await deps.timeline.record_rejections(batch)
    await deps.audit.record_rejections(batch)


async def record_decisions(deps: History, batch: Sequence[Envelope]) -> None:
    """Record what each communication decided about an event."""
    await deps.audit.record_decisions(batch)


async def record_documents(deps: History, batch: Sequence[Envelope]) -> None:
    """Record every other event."""
    await deps.audit.record_documents([document_of(envelope) for envelope in batch])


async def forget_recipients(deps: History, batch: Sequence[Envelope]) -> None:
    """Make an erased recipient's rows nameless in both stores; the erasure itself stays, without the name."""
    erased = [(e.tenant, e.mode, e.data.recipient, e.data.at) for e in batch]
    await deps.timeline.forget(erased)
    await deps.audit.forget(erased)
    await deps.audit.record_documents([replace(document_of(e), recipient=None) for e in batch])


SUBSCRIPTIONS: Subscriptions = {
    MessageRecorded: record_messages,
    MessageRejected: record_rejections,
    ReceiptRecorded: record_receipts,
    RequestAdjusted: record_documents,
    DecisionRecorded: record_decisions,
    BounceClassified: record_documents,
    SuppressionChanged: record_documents,
    ActionRecorded: record_documents,
    RecipientChanged: record_documents,
    RecipientErased: forget_recipients,
    DeviceRetired: record_documents,
    ReplyReceived: record_documents,
    HoldPlaced: record_documents,
    HoldLifted: record_documents,
    ReleasePublished: record_documents,
    TemplatePublished: record_documents,
    TenantChanged: record_documents,
    TopicChanged: record_documents,
}
