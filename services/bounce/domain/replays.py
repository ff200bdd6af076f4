"""Owns the replay of the policy over stored facts: what would be barred under other rules or settings, and who differs.

Pure, and one address at a time, so that memory does not grow with the facts. Not replayed: the DNS (its last answer
counts), the breaker's opening (a doubtful fact stays one), and all but the last reading of an address.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from libs.contracts.outcomes import Scope
from services.bounce.domain.classifier import Classifier
from services.bounce.domain.domains import POLICY as DOMAIN_CHECK
from services.bounce.domain.policy import Bars, Contact, History, Policy, Proof, Waits, decide, may_be_parked
from services.bounce.domain.rereading import Read, read_again

MOST_REMEMBERED = 50_000  # cached texts; then the cache is cleared
MOST_MOVES = 500
_LOOKED_AT = 200  # facts of one address at once: a shared test mailbox has thousands

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Told:
    """An address with its stored facts, oldest first, and what else is known about it."""

    address_hash: bytes
    facts: Sequence[Row]
    contact: Contact | None
    lifted: Mapping[Scope, datetime]
    dead_domains: frozenset[str]


class Bar(NamedTuple):
    """What would be barred: by which fact, and by which rule of the policy."""

    fact: UUID
    policy: str


class Outcome(NamedTuple):
    """The result for one address."""

    barred: Mapping[Scope, Bar]
    parked: Mapping[Scope, Bar]


def play(proofs: Sequence[Proof], told: Told, policy: Policy, since: datetime) -> Outcome:
    """Return one address's result from its facts since a moment; older ones count as known, and decide nothing."""
    barred: dict[Scope, Bar] = {}
    parked: dict[Scope, Bar] = {}
    for number, proof in enumerate(proofs):
        if proof.at < since:
            continue
        until_then = tuple(proofs[max(0, number + 1 - _LOOKED_AT) : number + 1])
        match decide(proof, History(until_then, told.contact, told.lifted), policy, proof.at):
            case Bars(scope=scope, policy=name) if _counts(proof, scope, told):
                kept = parked if proof.doubtful and may_be_parked(name) else barred
                kept.setdefault(scope, Bar(proof.id, name))
            case Waits(asks=str() as domain) if domain in told.dead_domains and _counts(proof, Scope.ALL, told):
                barred.setdefault(Scope.ALL, Bar(proof.id, DOMAIN_CHECK))
    return Outcome(barred, {scope: bar for scope, bar in parked.items() if scope not in barred})


def _counts(proof: Proof, scope: Scope, told: Told) -> bool:
    """Evidence from before a lift does not count again."""
    let_go = told.lifted.get(scope)
    return let_go is None or proof.at > let_go


class Move(NamedTuple):
    """Facts that would be classified differently."""

    provider: str
    was: Read
    becomes: Read


@dataclass(frozen=True, slots=True)
class Change:
    """An address that would be barred (`appears`), or no longer. `bounce`: the fact that makes the difference."""

    appears: bool
    scope: Scope
    address_hash: bytes
    bounce: UUID
    was: Mapping[str, Any]
    becomes: Mapping[str, Any]


@dataclass(slots=True)
class Sums:
    """The totals of one side."""

    barred_all: int = 0
    barred_marketing: int = 0
    parked: int = 0

    def add(self, outcome: Outcome) -> None:
        self.barred_all += Scope.ALL in outcome.barred
        self.barred_marketing += Scope.MARKETING in outcome.barred
        self.parked += len(outcome.parked)


@dataclass(frozen=True, slots=True)
class Side:
    """Rules and settings."""

    classifier: Classifier
    policy: Policy


@dataclass(slots=True)
class Replay:
    """Replays both sides, and collects the results. Memory: the cached texts, and the kinds of moves."""

    before: Side
    after: Side
    since: datetime
    facts: int = 0
    addresses: int = 0
    appear: int = 0
    vanish: int = 0
    sums: tuple[Sums, Sums] = field(default_factory=lambda: (Sums(), Sums()))
    categories: tuple[Counter[tuple[str, str]], Counter[tuple[str, str]]] = field(
        default_factory=lambda: (Counter(), Counter())
    )
    moves: dict[Move, tuple[int, UUID]] = field(default_factory=dict)
    appearing: Counter[tuple[str, str]] = field(default_factory=Counter)
    vanishing: Counter[tuple[str, str]] = field(default_factory=Counter)
    _remembered: dict[tuple[Any, ...], tuple[Read, Read]] = field(default_factory=dict)

    def take(self, batch: Iterable[Told]) -> list[Change]:
        """Replay some addresses; return those that differ."""
        return [change for told in batch for change in self._take(told)]

    def _take(self, told: Told) -> list[Change]:
        reads = [self._read(fact) for fact in told.facts]
        for fact, (was, becomes) in zip(told.facts, reads, strict=True):
            if fact["at"] >= self.since:
                self._count(fact, was, becomes)
        self.addresses += 1
        same = self.before.policy == self.after.policy and all(was.category == is_.category for was, is_ in reads)
        before = self._played(told, [was for was, _ in reads], self.before.policy)
        after = before if same else self._played(told, [becomes for _, becomes in reads], self.after.policy)
        self.sums[0].add(before)
        self.sums[1].add(after)
        return [] if same else self._differences(told, reads, before, after)

    def _played(self, told: Told, reads: Sequence[Read], policy: Policy) -> Outcome:
        proofs = [_proof(fact, read.category) for fact, read in zip(told.facts, reads, strict=True)]
        return play(proofs, told, policy, self.since)

    def _read(self, fact: Row) -> tuple[Read, Read]:
        """Classify by both sides. Stored texts are truncated: if both agree on one, the stored result counts."""
        key = tuple(fact[name] for name in _KEY)
        found = self._remembered.get(key)
        if found is None:
            if len(self._remembered) >= MOST_REMEMBERED:
                self._remembered.clear()
            found = self._remembered[key] = self._read_anew(fact)
        return found

    def _read_anew(self, fact: Row) -> tuple[Read, Read]:
        stored = Read(fact["category"], fact["rule"])
        known = fact["rule_set"] == self.before.classifier.rules.digest
        if known and self.after.classifier is self.before.classifier:
            return stored, stored
        becomes = read_again(fact, self.after.classifier)
        if known and becomes == stored:
            return stored, stored
        was = read_again(fact, self.before.classifier)
        if known:
            return stored, (stored if was == becomes else becomes)
        return was, becomes

    def _count(self, fact: Row, was: Read, becomes: Read) -> None:
        self.facts += 1
        provider = fact["provider"]
        self.categories[0][was.category, provider] += 1
        self.categories[1][becomes.category, provider] += 1
        if was != becomes:
            move = Move(provider, was, becomes)
            if move in self.moves or len(self.moves) < MOST_MOVES:
                self.moves[move] = (self.moves.get(move, (0,))[0] + 1, fact["id"])

    def _differences(
        self, told: Told, reads: Sequence[tuple[Read, Read]], before: Outcome, after: Outcome
    ) -> list[Change]:
        found = []
        for scope in Scope:
            appears = scope in after.barred
            if appears == (scope in before.barred):
                continue
            bar = (after if appears else before).barred[scope]
            number = next(n for n, fact in enumerate(told.facts) if fact["id"] == bar.fact)
            was, becomes = reads[number]
            shown = ({"category": read.category, "rule": read.rule} for read in (was, becomes))
            policies = (None, bar.policy) if appears else (bar.policy, None)
            old, new = (read | {"policy": policy} for read, policy in zip(shown, policies, strict=True))
            found.append(Change(appears, scope, told.address_hash, bar.fact, old, new))
            where = (becomes if appears else was).category, told.facts[number]["provider"]
            (self.appearing if appears else self.vanishing)[where] += 1
        self.appear += sum(change.appears for change in found)
        self.vanish += sum(not change.appears for change in found)
        return found


_KEY = (
    "text", "reply_code", "enhanced_code", "provider", "origin", "stage", "rule_set", "rule", "category", "permanent",
    "vendor_category",
)  # fmt: skip


def _proof(fact: Row, category: str) -> Proof:
    said = (fact["id"], fact["at"], category, fact["permanent"], fact["provider"], fact["doubtful"])
    domain = fact["domain"] if category == "bad-domain" else None
    return Proof(*said, domain=domain, in_session=fact["origin"] == "session")
