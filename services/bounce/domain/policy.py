"""Owns the consequences of a fact about an address: what it bars, what it waits for, what it leaves alone.

Pure: a verdict depends on the fact, on what is known about the address, on the policy's settings and on the given time,
so that it can be replayed over history with another clock or other settings.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID

import msgspec

from libs.contracts.outcomes import Scope, Word
from libs.contracts.reasons import Reason
from services.bounce.domain.categories import CATEGORIES
from services.bounce.domain.domains import POLICY as DOMAIN_CHECK

DAYS_KEPT = 62  # acceptances, one bit each: as many as fit into a signed 64-bit number

DEAD = frozenset({"unknown-user", "inactive", "moved"})
SCORED = frozenset({"mailbox-full", "recipient-filter"})
_ENDS = DEAD | {"bad-domain"}
_LONGEST_IN_A_QUEUE = timedelta(days=5)  # RFC 5321 §4.5.4.1
_ARRIVED = frozenset({"complaint", "unsubscribe"})  # facts about mails that did arrive


class Decision(Word):
    """The outcome of a fact: its number in the database, and its word outside."""

    LEAVES = 0
    WAITS = 1
    ASKS = 2  # waits for the DNS
    BARS = 3
    PARKED = 4  # would bar, but its provider is not believed at the moment


@dataclass(frozen=True, slots=True)
class Policy:
    """The policy's settings; services/bounce/settings.py explains each."""

    trusted_providers: frozenset[str] = frozenset()  # `*`: all of them
    second_proof: timedelta = timedelta(hours=24)
    proofs_within: timedelta = timedelta(days=62)
    delivered_after: timedelta = timedelta(hours=24)
    recent_delivery: timedelta = timedelta(days=45)
    recent_reading: timedelta = timedelta(days=90)
    score_days: int = 3
    score_within: timedelta = timedelta(days=14)

    def trusts(self, provider: str) -> bool:
        """Whether one reply of this provider is enough to bar a mailbox."""
        return provider in self.trusted_providers or "*" in self.trusted_providers

    @property
    def longest_memory(self) -> timedelta:
        """How long a successful contact with an address can matter."""
        return max(self.recent_delivery, self.recent_reading, self.proofs_within, self.score_within)


class Proof(msgspec.Struct, frozen=True, gc=False):
    """A fact as policy sees it. `doubtful`: received while its provider's breaker was open, or shortly before.

    `proven`: we wrote to this address; a report that merely mentions one proves nothing. `in_session`: the mail was
    refused, not accepted and sent back. `domain`: the address's own, if the DNS can be asked whether it exists.
    """

    id: UUID
    at: datetime
    category: str
    permanent: bool
    provider: str = ""
    doubtful: bool = False
    proven: bool = True
    domain: str | None = None
    in_session: bool = False


class Contact(msgspec.Struct, frozen=True, gc=False):
    """Successful contacts with an address. Bit n of `accepted`: a mail was accepted n days before `day` (UTC).

    `read_on`: the last day on which a mail to it was opened or clicked, or a receipt said delivered.
    """

    day: date
    accepted: int
    read_on: date | None = None

    def accepted_days(self) -> Iterable[date]:
        """The days of acceptances, newest first."""
        return (self.day - timedelta(days=n) for n in range(DAYS_KEPT) if self.accepted >> n & 1)


class History(msgspec.Struct, frozen=True, gc=False):
    """What is known about an address. `lifted`: when somebody last lifted a suppression, by scope."""

    proofs: tuple[Proof, ...] = ()
    contact: Contact | None = None
    lifted: Mapping[Scope, datetime] = msgspec.field(default_factory=dict)


class Bars(msgspec.Struct, frozen=True, gc=False):
    """The address is barred. `policy` names the rule of this module, `evidence` the facts that it rests on."""

    scope: Scope
    reason: Reason
    policy: str
    evidence: tuple[UUID, ...]


class Waits(msgspec.Struct, frozen=True, gc=False):
    """Not yet: another proof may come, or the DNS is asked about the domain (`asks`) first."""

    policy: str
    asks: str | None = None


class Leaves(msgspec.Struct, frozen=True, gc=False):
    """No address is affected: a block is about the sender, an unsubscribe becomes a consent in `tokens`."""

    policy: str


Verdict = Bars | Waits | Leaves


def may_be_parked(policy: str) -> bool:
    """Whether a bar rests on the word of a provider; a complaint is a person's."""
    return policy != "complaint"


def decide(fact: Proof, history: History, policy: Policy, now: datetime) -> Verdict:
    """Return the fact's consequence. The history may contain the fact itself, and later facts than `now`.

    Facts may arrive in any order: two proofs count just as well if the older one arrives last.
    """
    if not fact.proven:
        return Leaves("hearsay")
    if fact.category == "complaint":
        return Bars(Scope.MARKETING, Reason.SUPPRESSED_COMPLAINT, "complaint", (fact.id,))
    if fact.category == "unsubscribe":
        return Leaves("consent")
    if fact.category in SCORED:
        return _scored(fact, history, policy, now)
    if fact.category not in _ENDS:
        return Leaves("sender" if CATEGORIES[fact.category].group == "block" else "passing")
    if not fact.permanent:
        return Leaves("passing")  # a temporary refusal never ends a mailbox
    if fact.domain and fact.category == "bad-domain":
        return Waits(DOMAIN_CHECK, asks=fact.domain)
    return _dead(fact, history, policy, now)


def _dead(fact: Proof, history: History, policy: Policy, now: datetime) -> Verdict:
    alive = signs_of_life(fact, history, policy, now)
    if alive.until is not None and alive.until > fact.at:
        return Waits("alive")
    since = _latest(alive.until, history.lifted.get(Scope.ALL))
    others = [
        proof
        for proof in history.proofs
        if proof.id != fact.id and proof.category in _ENDS and proof.permanent and _counts(proof, since, now)
    ]
    apart = [p for p in others if policy.second_proof <= abs(fact.at - p.at) <= policy.proofs_within]
    if apart:
        first = min(apart, key=lambda proof: proof.at)
        evidence = tuple(proof.id for proof in sorted((first, fact), key=lambda proof: proof.at))
        return Bars(Scope.ALL, Reason.SUPPRESSED_BOUNCE, "second-proof", evidence)
    shaken = any(p.doubtful and abs(fact.at - p.at) < policy.second_proof for p in others)
    at_once = fact.category in DEAD and policy.trusts(fact.provider) and not alive.recently and not shaken
    if at_once:
        return Bars(Scope.ALL, Reason.SUPPRESSED_BOUNCE, "trusted-provider", (fact.id,))
    return Waits("second-proof")


def _scored(fact: Proof, history: History, policy: Policy, now: datetime) -> Verdict:
    """One point per day; a point expires after `score_within`, all of them with a delivery.

    Only marketing is barred: mails about the customer's orders are still tried, and may show that there is space again.
    """
    alive = signs_of_life(fact, history, policy, now)
    since = _latest(alive.until, history.lifted.get(Scope.MARKETING))
    points: dict[date, UUID] = {}
    for proof in sorted((*history.proofs, fact), key=lambda proof: proof.at):
        fresh = fact.at - policy.score_within < proof.at <= fact.at
        if fresh and proof.category == fact.category and _counts(proof, since, now):
            points.setdefault(proof.at.date(), proof.id)
    if len(points) >= policy.score_days:
        return Bars(Scope.MARKETING, Reason.SUPPRESSED_BOUNCE, "score", tuple(points.values()))
    return Waits("score")


def _counts(proof: Proof, since: datetime | None, now: datetime) -> bool:
    return proof.proven and proof.at <= now and (since is None or proof.at > since)


class Alive(msgspec.Struct, frozen=True, gc=False):
    """The end of the last day with a sign of life, and whether that is recent, relative to the fact."""

    until: datetime | None
    recently: bool


def signs_of_life(fact: Proof, history: History, policy: Policy, now: datetime) -> Alive:
    """Return deliveries, openings and clicks that are known by `now`.

    An accepted mail is not a delivery yet: our relay accepts everything, and the bounce follows. It is one once
    `delivered_after` has passed without a fact that answers it.
    """
    contact = history.contact
    if contact is None:
        return Alive(None, False)
    answered = {_answered(proof, contact) for proof in (*history.proofs, fact) if proof.at <= now}
    delivered = next(
        (d for d in contact.accepted_days() if d not in answered and _end(d) + policy.delivered_after <= now), None
    )
    read = contact.read_on if contact.read_on and contact.read_on <= now.date() else None
    recently = (delivered is not None and _end(delivered) >= fact.at - policy.recent_delivery) or (
        read is not None and _end(read) >= fact.at - policy.recent_reading
    )
    ends = [_end(day) for day in (delivered, read) if day is not None]
    return Alive(max(ends, default=None), recently)


def _answered(proof: Proof, contact: Contact) -> date | None:
    """Return the day of the mail that bounced: the newest before it that may still have waited in a queue."""
    if proof.in_session or proof.category in _ARRIVED:
        return None
    said_on = proof.at.date()
    return next((day for day in contact.accepted_days() if said_on - _LONGEST_IN_A_QUEUE <= day <= said_on), None)


def _end(day: date) -> datetime:
    return datetime.combine(day + timedelta(days=1), time(), UTC)


def _latest(one: datetime | None, other: datetime | None) -> datetime | None:
    return max(one, other) if one is not None and other is not None else one or other
