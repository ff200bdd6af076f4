"""What history needs: two stores, and the services that know more."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from libs.clock import Clock
from libs.contracts.envelope import Envelope
from libs.contracts.outcomes import Mode
from libs.ids import AddressHasher
from libs.storage.erasures import Erased
from services.history.domain.case import Rendered, Trace, Waiting
from services.history.domain.facts import Decision, Document, Message
from services.history.domain.records import Record
from services.history.domain.search import AuditSearch, Group, Grouping


@dataclass(frozen=True, slots=True)
class Search:
    """A search, newest first; every field that is set narrows it.

    `before`: ids older than this one; `since`: documents not older than this one.
    """

    tenant: int
    mode: Mode
    recipient: str | None = None
    subject: str | None = None
    communication: str | None = None
    event_id: str | None = None
    message: str | None = None
    address_key: int | None = None
    notifications: tuple[UUID, ...] = ()
    causes: tuple[UUID, ...] = ()
    before: UUID | None = None
    since: UUID | None = None
    limit: int = 50


class Timeline(Protocol):
    """Documents per message. Writes are idempotent, and arrive in any order."""

    async def record_messages(self, batch: Sequence[Envelope]) -> None: ...

    async def record_receipts(self, batch: Sequence[Envelope]) -> None: ...

    async def record_rejections(self, batch: Sequence[Envelope]) -> None: ...

    async def messages(self, wanted: Search) -> list[Message]: ...

    async def forget(self, erased: Sequence[Erased]) -> None: ...


@dataclass(frozen=True, slots=True)
class RecordPage:
    """Records, newest first. `after`: JSON values that the store accepts for the next page; None: the last page."""

    records: list[Record]
    after: list[Any] | None


class Audit(Protocol):
    """Everything that happened, by id and by search. Writes are idempotent."""

    async def record_messages(self, batch: Sequence[Envelope]) -> None: ...

    async def record_receipts(self, batch: Sequence[Envelope]) -> None: ...

    async def record_rejections(self, batch: Sequence[Envelope]) -> None: ...

    async def record_decisions(self, batch: Sequence[Envelope]) -> None: ...

    async def record_documents(self, documents: Sequence[Document]) -> None: ...

    async def decisions(self, wanted: Search) -> list[Decision]:
        """Return decisions, newest event first, of these causes, this event or this order; the caller applies the rest.

        With a recipient, only those about this recipient or about nobody: one event may have thousands of recipients.
        """
        ...

    async def documents(self, wanted: Search) -> list[Document]: ...

    async def actions(self, wanted: "ActionSearch") -> list[Document]: ...

    async def search(self, wanted: AuditSearch, limit: int, after: list[Any] | None = None) -> RecordPage:
        """Return a page. Over a page sequence, no record comes twice, and none of those at the first page is left out.

        Raises Invalid for a cursor that has expired, and for a query that reads too much.
        """
        ...

    async def counts(self, wanted: AuditSearch, grouping: Grouping) -> list[Group]:
        """Count the records that have all of the fields; ordered by time, else the most frequent first."""
        ...

    async def forget(self, erased: Sequence[Erased]) -> None: ...


@dataclass(frozen=True, slots=True)
class ActionSearch:
    """A search for actions of people, newest first. `after`: time and id of the previous page's last one."""

    tenant: int
    mode: Mode
    limit: int
    actor: str | None = None
    action: str | None = None
    object: str | None = None
    after: tuple[datetime, UUID] | None = None


@dataclass(frozen=True, slots=True)
class Asker:
    """The tenant and mode on whose behalf another service is called."""

    tenant: int
    mode: Mode


class Delivery(Protocol):
    """What the ledger says; raises Unavailable."""

    async def explain(self, asker: Asker, notifications: Sequence[UUID]) -> Mapping[UUID, Waiting]: ...

    async def render(self, asker: Asker, messages: Sequence[str]) -> Mapping[str, Rendered]: ...


class Intake(Protocol):
    """What became of events; raises Unavailable."""

    async def trace(self, asker: Asker, causes: Sequence[UUID], subjects: Sequence[str]) -> Trace: ...

    async def trace_ids(self, asker: Asker, causes: Sequence[UUID]) -> Mapping[UUID, str]: ...


@dataclass(frozen=True, slots=True)
class Spilled:
    """A batch of documents, as packed by its store."""

    id: int
    body: bytes


class Spill(Protocol):
    """Documents that a store could not write while it was unavailable. Raises Unavailable if it cannot store them."""

    async def keep(self, batches: Sequence[tuple[int, bytes]]) -> None: ...

    async def take(self, most: int) -> list[Spilled]: ...

    async def done(self, ids: Sequence[int]) -> None: ...

    async def give_back(self, ids: Sequence[int]) -> None: ...

    async def refuse(self, id_: int, reason: str) -> None: ...

    async def look(self) -> datetime | None: ...


class Drains(Protocol):
    """A store that can write what was spilled while it was unavailable."""

    async def drain(self) -> int:
        """Return the number of documents written; 0: there are none, or the store is still unavailable."""
        ...


class Days(Protocol):
    """The stores' partitions: created ahead, dropped after the retention period."""

    async def keep(self, today: datetime, ahead_days: int, retention_days: int) -> list[str]: ...


@dataclass(frozen=True)
class History:
    """History's dependencies."""

    timeline: Timeline
    audit: Audit
    delivery: Delivery
    intake: Intake
    days: tuple[Days, ...]
    drains: tuple[Drains, ...]
    hasher: AddressHasher
    clock: Clock
    retention_days: int
    days_ahead: int
    trace_url: str = ""  # page of a trace, with {trace_id} as the placeholder; empty: no links
