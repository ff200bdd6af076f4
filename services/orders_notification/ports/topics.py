"""Who hears topics: the sidecar of this worker, and what all workers last said."""

from collections.abc import Mapping, Sequence
from typing import Protocol
from uuid import UUID

from libs.messaging.bus import Topic
from services.orders_notification.domain.topics import Hearing, Report, Subscribed


class SidecarControl(Protocol):
    """The sidecar beside this worker. Raises Unavailable where it does not answer."""

    async def subscribed(self) -> Subscribed: ...

    async def restart(self) -> None:
        """Asks it to end when it has finished what it has begun; whoever keeps it running starts it again."""


class Listening(Protocol):
    """What workers say of topics, for the API to tell."""

    async def report(self, worker: UUID, states: Mapping[Topic, Hearing]) -> None:
        """All that this worker has to say; what it said before of other topics is gone."""

    async def reports(self) -> Sequence[Report]:
        """Of workers that have said something in the last minute."""
        ...
