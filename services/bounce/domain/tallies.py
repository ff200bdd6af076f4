"""Owns what is counted about rules: which decided, which matched in vain, which replies none matched, disagreements."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import NamedTuple, TypeVar
from uuid import UUID

from libs.contracts.outcomes import Word

Key = TypeVar("Key", bound=tuple[object, ...])

MODEL = "model"  # the only opinion that is not a vendor's


class Part(Word):
    """A rule's part in a fact."""

    DECIDED = 0
    OUTDONE = 1  # it matched, and another one decided
    SHADOW = 2  # it is only watched


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
    """Somebody else's category of a fact (`other`), beside ours; `rule` empty: no rule decided."""

    tenant: int
    mode: int
    day: date
    who: str
    other: str
    category: str
    rule: str
    provider: str


class Seen(NamedTuple):
    """A fact in the form counted here. `read`: by its words, not only by the report's form; `opinions` with source."""

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
    """A count, and the newest fact."""

    count: int
    last_at: datetime
    last_bounce: UUID

    def add(self, count: int, at: datetime, bounce: UUID) -> None:
        self.count += count
        if at > self.last_at or (at == self.last_at and bounce.int > self.last_bounce.int):
            self.last_at, self.last_bounce = at, bounce


# rules' parts in a fact: tenant, mode, day, the deciding rule, all that matched, all in shadow that matched
_Verdict = tuple[int, int, date, str, tuple[str, ...], tuple[str, ...]]


@dataclass(slots=True)
class Tallies:
    """The counts that one transaction adds."""

    verdicts: dict[_Verdict, Tally] = field(default_factory=dict)
    unread: dict[Unread, Tally] = field(default_factory=dict)
    opinions: dict[Opinion, Tally] = field(default_factory=dict)

    def add(self, seen: Seen) -> None:
        """Count one fact under its day (UTC)."""
        realm = (seen.tenant, seen.mode, seen.at.date())
        _add(self.verdicts, (*realm, seen.rule or "", seen.matched, seen.shadow), 1, seen.at, seen.id)
        if seen.read and seen.rule is None and seen.template:
            unread = Unread(*realm, template_id(seen.template), seen.provider)
            _add(self.unread, unread, 1, seen.at, seen.id)
        for who, other in seen.opinions:
            opinion = Opinion(*realm, who, other, seen.category, seen.rule or "", seen.provider)
            _add(self.opinions, opinion, 1, seen.at, seen.id)

    @property
    def hits(self) -> dict[Hit, Tally]:
        """The hits by rule, computed per verdict: half of a batch share their verdict with others."""
        hits: dict[Hit, Tally] = {}
        for verdict, tally in self.verdicts.items():
            for hit in _hits(verdict):
                _add(hits, hit, tally.count, tally.last_at, tally.last_bounce)
        return hits


def tallies_of(facts: Iterable[Seen]) -> Tallies:
    """Count a batch of facts."""
    tallies = Tallies()
    for seen in facts:
        tallies.add(seen)
    return tallies


def _hits(verdict: _Verdict) -> Iterator[Hit]:
    tenant, mode, day, winner, matched, shadow = verdict
    for rule in dict.fromkeys(matched):
        yield Hit(tenant, mode, day, rule, Part.DECIDED if rule == winner else Part.OUTDONE, winner)
    for rule in dict.fromkeys(shadow):
        yield Hit(tenant, mode, day, rule, Part.SHADOW, winner)


def _add(counted: dict[Key, Tally], key: Key, count: int, at: datetime, bounce: UUID) -> None:
    tally = counted.get(key)
    if tally is None:
        counted[key] = Tally(count, at, bounce)
    else:
        tally.add(count, at, bounce)


def template_id(template: str) -> UUID:
    """Identify a template by its digest: 500 characters make a poor key."""
    return UUID(bytes=hashlib.blake2b(template.encode(), digest_size=16).digest())
