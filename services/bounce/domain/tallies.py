"""Owns what is counted about rules: which decided, which matched in vain, what none knew, who says otherwise."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import NamedTuple, TypeVar
from uuid import UUID

from libs.contracts.outcomes import Word

Key = TypeVar("Key", bound=tuple[object, ...])

MODEL = "model"  # the one opinion that is no vendor's


class Part(Word):
    """What a rule had to do with a fact."""

    DECIDED = 0
    OUTDONE = 1  # it matched, and another one decided
    SHADOW = 2  # it is only being watched


class Hit(NamedTuple):
    """`winner`: the rule that decided; empty: none did."""

    tenant: int
    mode: int
    day: date
    rule: str
    part: int
    winner: str


class Unread(NamedTuple):
    """Replies with the same template."""

    tenant: int
    mode: int
    day: date
    template_id: UUID
    provider: str


class Opinion(NamedTuple):
    """What somebody else makes of a fact (`other`), beside our category; `rule` empty: no rule decided."""

    tenant: int
    mode: int
    day: date
    who: str
    other: str
    category: str
    rule: str
    provider: str


class Seen(NamedTuple):
    """A fact as it is counted here. `read`: by its words, not by the form of the report alone; `opinions` by whom."""

    id: UUID
    tenant: int
    mode: int
    at: datetime
    category: str
    provider: str
    rule: str | None
    matched: tuple[str, ...]
    shadow: tuple[str, ...]
    template: str
    read: bool
    opinions: tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Tally:
    """How many, and the newest of them."""

    count: int
    last_at: datetime
    last_bounce: UUID


@dataclass(slots=True)
class Tallies:
    """What one transaction adds."""

    hits: dict[Hit, Tally] = field(default_factory=dict)
    unread: dict[Unread, Tally] = field(default_factory=dict)
    opinions: dict[Opinion, Tally] = field(default_factory=dict)

    def add(self, seen: Seen) -> None:
        """Counts one fact under its day (UTC)."""
        for hit in _hits(seen):
            _count(self.hits, hit, seen)
        realm = (seen.tenant, seen.mode, seen.at.date())
        if seen.read and seen.rule is None and seen.template:
            _count(self.unread, Unread(*realm, template_id(seen.template), seen.provider), seen)
        for who, other in seen.opinions:
            _count(self.opinions, Opinion(*realm, who, other, seen.category, seen.rule or "", seen.provider), seen)


def tallies_of(facts: Iterable[Seen]) -> Tallies:
    """All that a batch of facts adds."""
    tallies = Tallies()
    for seen in facts:
        tallies.add(seen)
    return tallies


def _hits(seen: Seen) -> Iterator[Hit]:
    realm, winner = (seen.tenant, seen.mode, seen.at.date()), seen.rule or ""
    for rule in dict.fromkeys(seen.matched):
        yield Hit(*realm, rule, Part.DECIDED if rule == winner else Part.OUTDONE, winner)
    for rule in dict.fromkeys(seen.shadow):
        yield Hit(*realm, rule, Part.SHADOW, winner)


def _count(counted: dict[Key, Tally], key: Key, seen: Seen) -> None:
    tally = counted.get(key)
    if tally is None:
        counted[key] = Tally(1, seen.at, seen.id)
        return
    tally.count += 1
    if (seen.at, seen.id.int) > (tally.last_at, tally.last_bounce.int):
        tally.last_at, tally.last_bounce = seen.at, seen.id


def template_id(template: str) -> UUID:
    """Names a template by its digest: 500 characters make a poor key."""
    return UUID(bytes=hashlib.blake2b(template.encode(), digest_size=16).digest())
