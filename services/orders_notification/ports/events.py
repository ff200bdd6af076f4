"""Reads stored events."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import msgspec

from libs.contracts.outcomes import Mode


class EventFilter(msgspec.Struct, frozen=True, kw_only=True):
    """A search for events: newest first, `before` a cause id, at most `limit`."""

    limit: int
    before: UUID | None = None
    subject: str | None = None
    type: str | None = None
    recipient: str | None = None


class EventRow(msgspec.Struct, frozen=True, kw_only=True):
    """An accepted event with its decisions; `body` is None once erased."""

    id: UUID
    type: str
    source: str
    event_id: str
    subject: str | None
    recipient: str | None
    client: str
    occurred_at: datetime
    time: str
    received_at: datetime
    decided_at: datetime
    requested: int
    settled: int
    decisions: list[dict[str, Any]]
    body: bytes | None
    extensions: dict[str, Any] | None
    traceparent: str | None


class EventReader(Protocol):
    """Lookups by id, subject and recipient."""

    async def find(self, tenant: int, mode: Mode, wanted: EventFilter) -> list[EventRow]: ...

    async def by_ids(self, tenant: int, mode: Mode, ids: Sequence[UUID]) -> list[EventRow]: ...

    async def by_subjects(self, tenant: int, mode: Mode, subjects: Sequence[str], limit: int) -> list[EventRow]:
        """Return the newest events of these subjects, at most `limit` each."""
        ...
