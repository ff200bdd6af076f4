"""The dependencies of this service's handlers, queries and routes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from libs.clock import Clock
from services.orders_notification.domain.topics import Grants
from services.orders_notification.ports.communications import CommunicationStore, Neighbours
from services.orders_notification.ports.events import EventReader
from services.orders_notification.ports.intake import Catalogues, Committer, EventStore
from services.orders_notification.ports.rejections import Rejections
from services.orders_notification.ports.retention import Retention
from services.orders_notification.ports.sources import EventTypes, Sources
from services.orders_notification.ports.topics import Listening, SidecarControl


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one request."""

    event_bytes: int
    batch_bytes: int
    batch_events: int
    stream_lines: int
    stream_chunk: int  # lines per commit


@dataclass(frozen=True, slots=True)
class OrdersNotification:
    """The dependencies; built by app.py, bound to handlers and loops."""

    clock: Clock
    limits: Limits
    catalogues: Catalogues
    committer: Committer
    events: EventStore
    reader: EventReader
    rejections: Rejections
    sources: Sources
    event_types: EventTypes
    retention: Retention
    shipped: Mapping[str, Mapping[str, Any]]  # the sources that Depesche ships, by name
    communications: CommunicationStore
    neighbours: Neighbours
    grants: Grants
    listening: Listening
    sidecar: SidecarControl | None  # None: the suite runs on the embedded bus
    restart_sidecar: bool
