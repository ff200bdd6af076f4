"""Where events and what could not become one are written, in one transaction per batch."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

import msgspec

from libs.contracts.outcomes import Mode
from services.orders_notification.domain.intake import Kept, Prepared, Submission, Verdict
from services.orders_notification.domain.releases import Catalogue

TenantMode = tuple[int, Mode]


class EventStore(Protocol):
    """The event table with its keys and outbox rows."""

    async def store(self, prepared: Sequence[Prepared], kept: Sequence[Kept], now: datetime) -> "Stored":
        """Writes all in one transaction."""
        ...

    async def settle(self, requests: Collection[tuple[UUID, UUID]]) -> None:
        """Notes (cause, request) pairs that have their account; an event is settled when it has all."""
        ...

    async def erase(self, tenant: int, mode: Mode, recipient: str) -> None:
        """Wipes the bodies of a recipient's events."""
        ...


class Stored(msgspec.Struct, frozen=True):
    """What stands in the database now."""

    causes: Mapping[UUID, UUID]  # event key → cause: another's where it was a duplicate
    rejections: Mapping[UUID, UUID]  # kept id → the row's: an earlier one's where the same bytes came before


class Catalogues(Protocol):
    """The current catalogues, looked at by version before each batch."""

    async def current(self, wanted: Iterable[TenantMode]) -> Mapping[TenantMode, Catalogue]: ...


class Committer(Protocol):
    """Lets single events that arrive together share one commit."""

    async def submit(self, submission: Submission) -> Verdict:
        """The verdict, after the batch has committed. Raises Unavailable when too many wait."""
        ...
