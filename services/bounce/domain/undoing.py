"""Owns what an undo selects: suppressions of a time span, by provider, rule or category."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.contracts.outcomes import Mode


@dataclass(frozen=True, slots=True)
class Selection:
    """What began within [since, until) and matches every given filter. Complaints are selected only by name, what was
    barred by hand never. `facts`: only their consequences.
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
        """The selection as the audit shows it."""
        names = {name: getattr(self, name) for name in ("provider", "rule", "rule_set", "category")}
        span = {"since": self.since.isoformat(), "until": self.until.isoformat()}
        found = span | {name: value for name, value in names.items() if value is not None}
        return found if self.facts is None else found | {"facts": len(self.facts)}


@dataclass(frozen=True, slots=True)
class Undo:
    """One person's undo; all its batches share one id."""

    id: UUID
    at: datetime
    actor: str
    note: str


@dataclass(frozen=True, slots=True)
class Undone:
    """`lifted` suppressions, `dropped` parked ones, and `void` facts, which no longer count as proof."""

    lifted: int = 0
    dropped: int = 0
    void: int = 0

    def __add__(self, other: "Undone") -> "Undone":
        return Undone(self.lifted + other.lifted, self.dropped + other.dropped, self.void + other.void)

    def __bool__(self) -> bool:
        return bool(self.lifted or self.dropped or self.void)
