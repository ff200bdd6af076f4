"""Deliveries and events that were rejected and stored."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import msgspec

from libs.contracts.outcomes import Mode
from libs.contracts.reasons import Reason
from libs.errors import FieldError
from services.orders_notification.ports.sources import Author

OPEN = 0
REPLAYED = 1


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """A search for rejections: newest first unless `oldest_first`, `before` or `after` an id, at most `limit`."""

    limit: int
    before: UUID | None = None
    after: UUID | None = None
    oldest_first: bool = False
    source: str | None = None
    type: str | None = None
    reason: Reason | None = None
    state: int | None = None
    ids: Sequence[UUID] | None = None
    subjects: Sequence[str] | None = None


class Rejection(msgspec.Struct, frozen=True, kw_only=True):
    """One rejected delivery or event, as received."""

    id: UUID
    source: str | None
    client: str
    reason: Reason
    errors: tuple[FieldError, ...]
    event_type: str | None
    event_source: str | None
    event_id: str | None
    subject: str | None
    headers: dict[str, Any]
    query: dict[str, Any]
    body: bytes
    times: int
    received_at: datetime
    last_at: datetime
    state: int
    replayed_at: datetime | None


class Rejections(Protocol):
    """The rejections of a tenant and mode."""

    async def find(self, tenant: int, mode: Mode, wanted: Filter) -> list[Rejection]: ...

    async def replayed(self, author: Author, ids: Sequence[UUID]) -> None:
        """Mark them as replayed; they stay on record until they expire."""
        ...

    async def seal_clear(self) -> int:
        """Seal what versions before 0008 stored in clear, of all tenants; return how many."""
        ...
