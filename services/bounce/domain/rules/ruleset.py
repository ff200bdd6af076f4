"""Owns which rule wins: the one of the highest layer, then of the highest priority, then the first."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, Protocol

from services.bounce.domain.rules.patterns import of_phrase
from services.bounce.domain.rules.rule import BadRule, Layer, Problem, Rule, rule_of
from services.bounce.domain.rules.skeleton import Skeletons


class Reply(NamedTuple):
    """A reply to classify. `stage`: the SMTP command that was answered, if the report names it."""

    text: str
    reply_code: int | None = None
    enhanced: str | None = None
    provider: str | None = None
    source: str = "text"
    stage: str | None = None


class Scan(Protocol):
    """One pass over a comparable text: returns the numbers of the patterns in it, in any order, each at least once."""

    def __call__(self, words: bytes) -> list[int]: ...


class Sign(NamedTuple):
    """What words say besides a category: who replies (`provider`), which command was answered (`stage`), or that a
    check of our side failed (`ours`)."""

    kind: str
    value: str


@dataclass(frozen=True, slots=True)
class _Use:
    """A pattern's role: it supports a rule, excludes it, or is a sign."""

    rule: int = -1
    against: bool = False
    sign: Sign | None = None


@dataclass(frozen=True)
class RuleSet:
    """Rules in order, with all of their patterns numbered; immutable, identified by digest.

    A pattern has one number, however many rules use it, because each reported match costs. `uses`: by number.
    """

    rules: tuple[Rule, ...]
    signs: tuple[tuple[bytes, Sign], ...] = ()
    patterns: tuple[bytes, ...] = field(init=False)
    uses: tuple[tuple[_Use, ...], ...] = field(init=False)
    rank: tuple[int, ...] = field(init=False)
    by_code: Mapping[str, tuple[int, ...]] = field(init=False)
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        uses: dict[bytes, list[_Use]] = {}
        for pattern, sign in self.signs:
            uses.setdefault(pattern, []).append(_Use(sign=sign))
        for number, rule in enumerate(self.rules):
            for pattern in rule.texts:
                uses.setdefault(pattern, []).append(_Use(number))
            for pattern in rule.unless:
                uses.setdefault(pattern, []).append(_Use(number, against=True))
        count = len(self.rules)
        ranks = ((int(r.layer) * 1_000 + r.priority) * (count + 1) + count - n for n, r in enumerate(self.rules))
        for name, value in (
            ("patterns", tuple(uses)),
            ("uses", tuple(tuple(of_one) for of_one in uses.values())),
            ("rank", tuple(ranks)),
            ("by_code", _by_code(self.rules)),
            ("digest", _digest(self.rules, self.signs)),
        ):
            object.__setattr__(self, name, value)

    @cached_property
    def skeletons(self) -> Skeletons:
        """What makes two replies equal to these rules; patterns that no set had before take a fifth of a second."""
        return Skeletons(self.patterns)


def rules_of(documents: Iterable[Mapping[str, object]], layer: Layer, words: Mapping[str, Sequence[str]]) -> list[Rule]:
    """Build rules from documents, in order. Raises BadRule: for the first unusable one, or a repeated id."""
    rules = [rule_of(document, layer, words) for document in documents]
    seen: set[str] = set()
    for rule in rules:
        if rule.id in seen:
            raise BadRule([Problem("/id", "the id is used twice")], rule.id)
        seen.add(rule.id)
    return rules


def signs_of(kind: str, phrases: Mapping[str, Sequence[str]]) -> list[tuple[bytes, Sign]]:
    """Build signs from phrases: {"gmail": ["gsmtp"]}."""
    return [
        (pattern, Sign(kind, name))
        for name, listed in phrases.items()
        for phrase in listed
        for pattern in of_phrase(phrase, {})
    ]


def _by_code(rules: Sequence[Rule]) -> dict[str, tuple[int, ...]]:
    """Map codes to the rules that need no words: `5.1.1`, `5.1`, `550`."""
    found: dict[str, list[int]] = {}
    for number, rule in enumerate(rules):
        if rule.texts:
            continue
        for code in rule.enhanced or [str(code) for low, high in rule.replies for code in range(low, high + 1)]:
            found.setdefault(code, []).append(number)
    return {code: tuple(numbers) for code, numbers in found.items()}


def _digest(rules: Sequence[Rule], signs: Sequence[tuple[bytes, Sign]]) -> str:
    digest = hashlib.sha256()
    for rule in rules:
        values = [getattr(rule, name) for name in Rule.__slots__ if name not in ("examples", "note")]
        digest.update(repr([sorted(v) if isinstance(v, frozenset) else v for v in values]).encode())
    digest.update(repr(signs).encode())
    return digest.hexdigest()[:16]
