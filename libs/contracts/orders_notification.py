"""Events of `orders_notification`: new releases, and the decisions about each event."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

import msgspec

from libs.contracts.envelope import Event, declared


@declared
class ReleasePublished(Event, frozen=True, kw_only=True):
    """A communication was published. Subscribers fetch the bundle by id: its sources are too big for a topic."""

    TYPE: ClassVar[str] = "release.published"
    SOURCE: ClassVar[str] = "orders-notification"
    release_id: UUID
    communication: str
    version: int
    digest: str  # hex SHA-256 of the bundle
    active: bool = True  # False: retired, nothing of it is sent any more


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """One communication's decision about one event and, if there is one, one recipient."""

    communication: str | None
    outcome: str  # "requested", or the reason's word
    recipient: str | None = None
    release_id: UUID | None = None
    notification_id: UUID | None = None
    detail: str | None = None


@declared
class DecisionRecorded(Event, frozen=True, kw_only=True):
    """An event was accepted (or stored as rejected), and every communication has decided about it."""

    TYPE: ClassVar[str] = "decision.recorded"
    SOURCE: ClassVar[str] = "orders-notification"
    MAY_WAIT: ClassVar[bool] = True
    cause_id: UUID
    event_id: str
    event_type: str
    event_source: str
    received_at: datetime
    decisions: tuple[Decision, ...]
    occurred_at: datetime | None = None
