"""Changes of requests' accounts, gathered over a transaction and applied once per request."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from libs.contracts.delivery import Rejection, Transition
from libs.contracts.outcomes import Status, counted

COUNTERS = ("extra", "pending", "sent", "failed", "skipped", "suppressed", "unknown")
# where a status is counted; computed once, because every message uses it
_PLACE = {status: COUNTERS.index(counted(status).word) for status in Status}


class Unit(NamedTuple):
    """A recipient whose step may have ended without success: a candidate for the next step."""

    request_id: UUID
    notification_id: UUID
    ordinal: int
    step: int


@dataclass(slots=True)
class Moves:
    """Everything that one transaction changes about accounts, and its events."""

    deltas: dict[UUID, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0] * len(COUNTERS)))
    ended: set[Unit] = field(default_factory=set)
    transitions: dict[UUID, list[Transition]] = field(default_factory=lambda: defaultdict(list))
    rejections: dict[UUID, list[Rejection]] = field(default_factory=lambda: defaultdict(list))

    def touch(self, request_id: UUID) -> None:
        """Check the request even if no counter moves: its last work row may be gone."""
        self.deltas[request_id]

    def move(self, request_id: UUID, was: Status, now: Status, count: int = 1) -> None:
        """Count messages from one status to another."""
        delta = self.deltas[request_id]
        delta[_PLACE[was]] -= count
        delta[_PLACE[now]] += count

    def add(self, request_id: UUID, count: int) -> None:
        """Add pending messages: addresses beyond the first, or a further step."""
        delta = self.deltas[request_id]
        delta[0] += count
        delta[1] += count

    def requests(self) -> Sequence[UUID]:
        """Return the requests, sorted: locks are taken in one order everywhere."""
        return sorted(self.deltas)
