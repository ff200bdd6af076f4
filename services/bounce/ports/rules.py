"""What the rules need: a place for those that people make, one for the rule sets that they publish, and an engine."""

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
    """What a list of rules is narrowed to; None: not at all. `after`: the id that the page before ended with."""

    limit: int
    after: str = ""
    layer: Layer | None = None
    state: State | None = None
    category: str | None = None
    provider: str | None = None
    text: str | None = None


class Rules(Protocol):
    """Rules as they are being worked on, with all of their versions."""

    async def get(self, id: str) -> Entry | None: ...

    async def page(self, wanted: RuleFilter) -> list[Entry]: ...

    async def taking_part(self) -> list[Entry]:
        """Those in shadow and live, the oldest first."""
        ...

    async def versions(self, id: str, below: int, limit: int) -> list[Mapping[str, Any]]:
        """Newest first: version, state, document, changed_by, changed_at."""
        ...

    async def put(self, entry: Entry, action: ActionRecorded, who: Principal) -> None:
        """Writes `entry.version`. Raises PreconditionFailed where somebody wrote that version meanwhile."""
        ...


@dataclass(frozen=True, slots=True)
class RuleSetRecord:
    """A rule set that was published. `restores`: the earlier one that it brought back; `undoes`: and what the sets
    between had done is let go."""

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
    """Rule sets, each as it was published; the one with the highest number is in force."""

    async def newest(self, above: int = -1) -> RuleSetRecord | None:
        """The one in force, if its number is above this."""
        ...

    async def get(self, number: int) -> RuleSetRecord | None: ...

    async def page(self, below: int, limit: int) -> list[RuleSetRecord]: ...

    async def add(self, made: RuleSetRecord, action: ActionRecorded, who: Principal) -> None:
        """Puts it in force. Raises Conflict where its number is taken."""
        ...

    async def digests(self, number: int) -> list[str]:
        """All digests under which it has judged: another one after each change of the shipped rules."""
        ...

    async def note_digest(self, number: int, digest: str, at: datetime) -> None:
        """Remembers that facts are judged by this set under this digest."""
        ...


@dataclass(frozen=True, slots=True)
class JudgedBy:
    """Facts that count as proof and were judged under one of these digests, also where the model answered because none
    of these rules did. `rules`: by one of these; None: by any."""

    tenant: int
    mode: Mode
    since: datetime
    digests: Sequence[str]
    rules: Sequence[str] | None
    limit: int


Place = tuple[datetime, UUID]  # of a fact: its time and id


class Judgements(Protocol):
    """Facts by the rule set that judged them."""

    async def realms(self, since: datetime) -> list[tuple[int, Mode]]:
        """Tenants and modes that have facts from this time on."""
        ...

    async def page(self, wanted: JudgedBy, after: Place | None) -> list[Mapping[str, Any]]:
        """As they are stored, oldest first."""
        ...


class UnfitPattern(Exception):
    """A pattern that the engine does not take, though it looked well; says why."""

    def __init__(self, pattern: bytes, why: str) -> None:
        super().__init__(why)
        self.pattern = pattern
        self.why = why


class Rulebook(Protocol):
    """The rules in force, ready to classify by. Whoever asks keeps the answer for the whole of one mail or batch."""

    async def current(self) -> Classifier: ...


class Workshop(Protocol):
    """Where rule sets are made ready beside the one in force."""

    @property
    def shipped(self) -> Shipped: ...

    async def prepare(self, entries: Sequence[Published]) -> Classifier:
        """A classifier by the shipped rules and these, off the event loop. Raises UnfitPattern."""
        ...

    async def refresh(self) -> None:
        """Takes over the newest published set, where it is not in force here yet."""
        ...
