"""Owns what an undo is about: suppressions of a time, by provider, rule or category."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.contracts.outcomes import Mode


@dataclass(frozen=True, slots=True)
class Selection:
    """What began within [since, until) and fits every name given. People's own complaints only where they are named;
    what was barred by hand never. `facts`: only what these have led to.
    """

    tenant: int
    mode: Mode
    since: datetime
    until: datetime
    provider: str | None = None
    rule: str | None = None
    rule_set: str | None = None
    category: str | None = None
    facts: tuple[UUID, ...] | None = None

    def shown(self) -> dict[str, Any]:
        """As it stands in the audit."""
        names = {name: getattr(self, name) for name in ("provider", "rule", "rule_set", "category")}
        span = {"since": self.since.isoformat(), "until": self.until.isoformat()}
        found = span | {name: value for name, value in names.items() if value is not None}
        return found if self.facts is None else found | {"facts": len(self.facts)}


@dataclass(frozen=True, slots=True)
class Undo:
    """One person's undo; all its batches carry the same id."""

    id: UUID
    at: datetime
    actor: str
    note: str


@dataclass(frozen=True, slots=True)
class Undone:
    """`lifted` suppressions, `dropped` parked ones, and facts that are `void` now: they count as no proof any more."""

    lifted: int = 0
    dropped: int = 0
    void: int = 0

    def __add__(self, other: "Undone") -> "Undone":
        return Undone(self.lifted + other.lifted, self.dropped + other.dropped, self.void + other.void)

    def __bool__(self) -> bool:
        return bool(self.lifted or self.dropped or self.void)
