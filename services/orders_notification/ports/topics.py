"""Consumption of topics: this worker's sidecar, and all workers' latest reports."""

from collections.abc import Mapping, Sequence
from typing import Protocol
from uuid import UUID

from libs.messaging.bus import Topic
from services.orders_notification.domain.topics import Hearing, Report, Subscribed


class SidecarControl(Protocol):
    """The sidecar beside this worker. Raises Unavailable if it does not answer."""

    async def subscribed(self) -> Subscribed: ...

    async def restart(self) -> None:
        """Ask it to shut down gracefully; its supervisor starts it again."""


class Listening(Protocol):
    """The workers' reports on topics, for the API."""

    async def report(self, worker: UUID, states: Mapping[Topic, Hearing]) -> None:
        """Store all of this worker's states; its earlier reports on other topics are removed."""

    async def reports(self) -> Sequence[Report]:
        """Return the reports of workers that reported in the last minute."""
        ...
