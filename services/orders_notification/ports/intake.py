"""Writes events and rejections, in one transaction per batch."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

import msgspec

from libs.contracts.outcomes import Mode
from libs.storage.erasures import Erased
from services.orders_notification.domain.intake import Kept, Prepared, Submission, Verdict
from services.orders_notification.domain.releases import Catalogue

TenantMode = tuple[int, Mode]


class EventStore(Protocol):
    """The event table with its keys and outbox rows."""

    async def store(self, prepared: Sequence[Prepared], kept: Sequence[Kept], now: datetime) -> "Stored":
        """Write all in one transaction."""
        ...

    async def settle(self, requests: Collection[tuple[UUID, UUID]]) -> None:
        """Record (cause, request) pairs that are accounted for; an event is settled when it has all."""
        ...

    async def erase(self, erased: Sequence[Erased]) -> None:
        """Wipe the bodies of these recipients' events; those that are on their way are stored without."""
        ...


class Stored(msgspec.Struct, frozen=True):
    """The state of the database after a write."""

    causes: Mapping[UUID, UUID]  # event key → cause: an earlier one's for a duplicate
    rejections: Mapping[UUID, UUID]  # kept id → the row's: an earlier one's if the same bytes arrived before


class Catalogues(Protocol):
    """The current catalogues; their versions are checked before each batch."""

    async def current(self, wanted: Iterable[TenantMode]) -> Mapping[TenantMode, Catalogue]: ...


class Committer(Protocol):
    """Lets single events that arrive together share one commit."""

    async def submit(self, submission: Submission) -> Verdict:
        """Return the verdict after the batch has committed. Raises Unavailable when too many wait."""
        ...
