"""Stored sources and event types: versions, definitions, sealed secrets."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import msgspec

from libs.contracts.outcomes import Mode
from libs.messaging.bus import Topic
from services.orders_notification.domain.event_types import EventType
from services.orders_notification.domain.sources import Source


class Author(msgspec.Struct, frozen=True):
    """Who edits, for which tenant and mode, and when."""

    tenant: int
    mode: Mode
    actor: str
    at: datetime


class StoredSource(msgspec.Struct, frozen=True, kw_only=True):
    """A source with its owner. `secrets` never leave the service."""

    tenant: int
    mode: Mode
    source: Source
    definition: Mapping[str, Any]
    secrets: tuple[str, ...]
    created_at: datetime
    updated_at: datetime


class Sources(Protocol):
    """Definitions by name; the same name may belong to several tenants and modes."""

    async def named(self, name: str) -> list[StoredSource]: ...

    async def get(self, tenant: int, mode: Mode, name: str) -> StoredSource | None: ...

    async def all(self, tenant: int, mode: Mode, after: str, limit: int) -> list[StoredSource]:
        """Return sources by name, those after `after`."""
        ...

    async def hearing(self, topic: Topic) -> list[StoredSource]:
        """Return the sources that name this topic."""
        ...

    async def topics(self) -> list[tuple[int, Topic]]:
        """Return all topics that sources name, with the tenant of each."""
        ...

    async def put(self, author: Author, source: Source, definition: Mapping[str, Any], secrets: Sequence[str]) -> None:
        """Write `source.version`. Raises PreconditionFailed if somebody wrote that version in the meantime."""
        ...

    async def delete(self, author: Author, name: str, version: int) -> None: ...


class StoredType(msgspec.Struct, frozen=True, kw_only=True):
    """A declared event type."""

    type: str
    version: int
    description: str
    schema: Mapping[str, Any] | None
    updated_at: datetime


class EventTypes(Protocol):
    """Declared event types of a tenant and mode."""

    async def get(self, tenant: int, mode: Mode, type_: str) -> StoredType | None: ...

    async def all(self, tenant: int, mode: Mode, after: str, limit: int) -> list[StoredType]: ...

    async def put(self, author: Author, declared: StoredType) -> None:
        """Write `declared.version`. Raises PreconditionFailed if somebody wrote that version in the meantime."""
        ...

    async def declared(self, tenant: int, mode: Mode) -> list[EventType]:
        """Return all of them, compiled."""
        ...
