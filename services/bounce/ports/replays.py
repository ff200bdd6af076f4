"""What replays need: a store for requests and results, and the stored facts by address."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from libs.contracts.outcomes import Mode
from services.bounce.domain.replays import Change, Told


@dataclass(frozen=True, slots=True)
class Asked:
    """What to replay. `rules`: `in-force`, `working` or the number of a rule set; `settings` by their names."""

    since: datetime
    until: datetime
    rules: str
    settings: Mapping[str, Any]
    note: str | None


@dataclass(frozen=True, slots=True)
class ReplayRecord:
    """A replay and its progress. `turn`: how often it was started, which distinguishes runners."""

    id: UUID
    tenant: int
    mode: Mode
    asked: Asked
    actor: str
    created_at: datetime
    state: str  # waiting | running | done | cancelled | failed
    turn: int = 0
    started_at: datetime | None = None
    ended_at: datetime | None = None
    facts_done: int = 0
    facts_total: int | None = None
    result: Mapping[str, Any] | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class ChangeQuery:
    """`after`: the number of the change at which the previous page ended."""

    replay: UUID
    limit: int
    after: int = 0
    appears: bool | None = None


class Replays(Protocol):
    """Replays between their 202 and their result."""

    async def add(self, replay: ReplayRecord, most_open: int) -> None:
        """Raises Conflict if the tenant has too many open ones already."""
        ...

    async def get(self, tenant: int, mode: Mode, id: UUID) -> ReplayRecord | None: ...

    async def page(
        self, realm: tuple[int, Mode], after: tuple[datetime, UUID] | None, limit: int
    ) -> list[ReplayRecord]: ...

    async def changes(self, wanted: ChangeQuery) -> list[Mapping[str, Any]]: ...

    async def cancel(self, tenant: int, mode: Mode, id: UUID, at: datetime) -> None: ...

    async def lease(self, at: datetime) -> ReplayRecord | None:
        """Return one that no runner works on; an earlier runner's results are deleted."""
        ...

    async def give_back(self, replay: ReplayRecord) -> None: ...

    async def advance(self, replay: ReplayRecord, done: int, total: int, changes: Sequence[tuple[int, Change]]) -> bool:
        """Store what was found; falsy if it was cancelled, or another runner took over."""
        ...

    async def conclude(
        self, replay: ReplayRecord, at: datetime, result: Mapping[str, Any] | None, problem: str | None
    ) -> None:
        """End it: with its result, or with the reason for having none."""
        ...

    async def forget_before(self, moment: datetime) -> int: ...


class StoredFacts(Protocol):
    """Stored facts, for replays."""

    async def count(self, realm: tuple[int, Mode], span: tuple[datetime, datetime]) -> int: ...

    def by_address(self, realm: tuple[int, Mode], span: tuple[datetime, datetime]) -> AsyncIterator[list[Told]]:
        """Yield every address with its facts of the time span, some at once, from one snapshot."""
        ...
