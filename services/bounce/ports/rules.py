"""What rules need: a store for those that people write, one for published rule sets, and an engine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from libs.auth import Principal
from libs.contracts.audit import ActionRecorded
from libs.contracts.outcomes import Mode
from services.bounce.domain.classifier import Classifier
from services.bounce.domain.rules.assembling import Shipped
from services.bounce.domain.rules.entries import Entry, Published, State
from services.bounce.domain.rules.rule import Layer


@dataclass(frozen=True, slots=True)
class RuleFilter:
    """A rule list's filters; None: no filter. `after`: the id at which the previous page ended."""

    limit: int
    after: str = ""
    layer: Layer | None = None
    state: State | None = None
    category: str | None = None
    provider: str | None = None
    text: str | None = None


class Rules(Protocol):
    """Rules in their working state, with all of their versions."""

    async def get(self, id: str) -> Entry | None: ...

    async def page(self, wanted: RuleFilter) -> list[Entry]: ...

    async def taking_part(self) -> list[Entry]:
        """Return those in shadow and live, oldest first."""
        ...

    async def versions(self, id: str, below: int, limit: int) -> list[Mapping[str, Any]]:
        """Return versions, newest first: version, state, document, changed_by, changed_at."""
        ...

    async def put(self, entry: Entry, action: ActionRecorded, who: Principal) -> None:
        """Write `entry.version`. Raises PreconditionFailed if somebody wrote that version in the meantime."""
        ...


@dataclass(frozen=True, slots=True)
class RuleSetRecord:
    """A published rule set. `restores`: the earlier set that it brought back; `undoes`: and the effects of the sets
    between are undone."""

    number: int
    digest: str
    rules: tuple[Published, ...]
    emergency: bool
    restores: int | None
    author: str
    note: str
    published_at: datetime
    regression: Mapping[str, Any]
    undoes: bool = False


class RuleSets(Protocol):
    """Published rule sets; the one with the highest number is in force."""

    async def newest(self, above: int = -1) -> RuleSetRecord | None:
        """Return the one in force, if its number is above this."""
        ...

    async def get(self, number: int) -> RuleSetRecord | None: ...

    async def page(self, below: int, limit: int) -> list[RuleSetRecord]: ...

    async def add(self, made: RuleSetRecord, action: ActionRecorded, who: Principal) -> None:
        """Put it in force. Raises Conflict if its number is taken."""
        ...

    async def digests(self, number: int) -> list[str]:
        """Return all digests under which it has classified: each change of the shipped rules makes another one."""
        ...

    async def note_digest(self, number: int, digest: str, at: datetime) -> None:
        """Record that this set classifies facts under this digest."""
        ...


@dataclass(frozen=True, slots=True)
class JudgedBy:
    """Facts that count as proof and were classified under one of these digests, also by the model where none of these
    rules matched. `rules`: by one of these; None: by any."""

    tenant: int
    mode: Mode
    since: datetime
    digests: Sequence[str]
    rules: Sequence[str] | None
    limit: int


Place = tuple[datetime, UUID]  # of a fact: its time and id


class Judgements(Protocol):
    """Facts by the rule set that classified them."""

    async def realms(self, since: datetime) -> list[tuple[int, Mode]]:
        """Return tenants and modes that have facts from this time on."""
        ...

    async def page(self, wanted: JudgedBy, after: Place | None) -> list[Mapping[str, Any]]:
        """Return stored facts, oldest first."""
        ...


class UnfitPattern(Exception):
    """A valid pattern that the engine cannot compile; says why."""

    def __init__(self, pattern: bytes, why: str) -> None:
        super().__init__(why)
        self.pattern = pattern
        self.why = why


class Rulebook(Protocol):
    """The rules in force, ready to classify. A caller uses one answer for a whole mail or batch."""

    async def current(self) -> Classifier: ...


class Workshop(Protocol):
    """Prepares rule sets beside the one in force."""

    @property
    def shipped(self) -> Shipped: ...

    async def prepare(self, entries: Sequence[Published]) -> Classifier:
        """Return a classifier by the shipped rules and these, off the event loop. Raises UnfitPattern."""
        ...

    async def refresh(self) -> None:
        """Put the newest published set in force here, if it is not yet."""
        ...
