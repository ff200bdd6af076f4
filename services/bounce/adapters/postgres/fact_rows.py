"""A fact as columns, as evidence and as an event."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence, Set
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.contracts.bounce import BounceClassified
from libs.contracts.outcomes import Mode
from libs.messaging.outbox import Outgoing
from libs.storage.arrays import columns
from services.bounce.adapters.postgres.breakers import Provider
from services.bounce.domain.categories import CATEGORIES
from services.bounce.domain.figures import Kind
from services.bounce.domain.health import blocked_origin
from services.bounce.domain.judging import Judged
from services.bounce.domain.policy import Bars, Proof
from services.bounce.domain.rereading import BY_FORM
from services.bounce.domain.suppressions import Cause, Evidence, SuppressionKey
from services.bounce.domain.tallies import Seen
from services.bounce.ports import NewFact

_made = tuple.__new__  # see domain/facts.py
_TOLD_APART = "unknown-user"


# columns of the table `bounce`, in the order of `row_of`
COLUMNS = (
    *("id", "tenant", "mode", "at", "category", "permanent", "origin", "address_hash", "message", "attempt"),
    *("recipient", "reply_code", "enhanced_code", "text", "mail_id", "provider", "rule", "rule_set", "domain"),
    *("sender", "from_domain", "communication", "matched", "confidence", "template", "stage"),
    *("vendor", "vendor_class", "vendor_category", "shadow", "asked", "model_category", "model_confidence"),
    *("decision", "policy", "doubtful", "is_outcome"),
)


def row_of(item: NewFact, text: str, judged: Judged, waited: Set[UUID]) -> tuple[Any, ...]:
    """Return the fact's row for COPY. `text`: the part of its words that is stored; `waited`: mails whose outcome
    is their fact about a message."""
    fact, sending, vendor = item.fact, item.sending, item.vendor
    by_model = (fact.rule_set or "").startswith("model:")
    template = fact.template if fact.rule is None else None  # only unread texts are grouped by it
    return (
        item.id,
        item.tenant,
        item.mode,
        item.at,
        fact.category,
        fact.permanent,
        item.origin,
        item.address_hash,
        item.message,
        item.attempt,
        item.recipient,
        fact.reply_code,
        fact.enhanced,
        text,
        item.mail_id,
        fact.provider or "",
        fact.rule,
        fact.rule_set or BY_FORM,
        item.domain,
        sending.sender,
        sending.from_domain,
        sending.communication,
        fact.matched,
        fact.confidence,
        template,
        fact.stage,
        *((vendor.name, vendor.said, vendor.category) if vendor else (None, None, None)),
        fact.shadow or None,
        fact.asked,
        *((fact.category, fact.confidence) if by_model else (None, None)),
        *_decided(judged),
        item.mail_id in waited and item.message is not None,
    )


def decided(judged: Iterable[Judged]) -> list[list[Any]]:
    """Return the decisions as columns, in the order of the facts' ids."""
    rows = sorted((item.proof.id, *_decided(item)) for item in judged)
    return columns(rows)


def _decided(judged: Judged) -> tuple[int, str | None, bool]:
    return int(judged.decision), judged.verdict.policy, judged.breaker is not None


def proof_of(item: NewFact, *, doubtful: bool) -> Proof:
    """Return the fact as policy sees it. Domains of test traffic may be anybody's and are never checked."""
    return Proof(
        item.id,
        item.at,
        item.fact.category,
        item.fact.permanent,
        item.fact.provider or "",
        doubtful,
        item.message is not None,
        item.domain if item.mode == Mode.LIVE else None,
        item.origin == "session",
    )


def evidence_of(item: NewFact, bars: Bars) -> Evidence:
    """Return the evidence for what a fact bars."""
    fact, rule_set = item.fact, item.fact.rule_set or BY_FORM
    cause = Cause(fact.category, fact.provider or "", fact.rule, rule_set, bars.policy, bars.evidence)
    key = SuppressionKey(item.tenant, item.mode, item.address_hash, bars.scope)
    return Evidence(key, bars.reason, item.at, "system", item.id, item.message, item.recipient, cause=cause)


def refused(facts: Sequence[NewFact]) -> dict[Provider, list[datetime]]:
    """Return when each provider said that a mailbox of ours does not exist."""
    moments: dict[Provider, list[datetime]] = defaultdict(list)
    for item in facts:
        if item.fact.category == _TOLD_APART and item.fact.permanent and item.fact.provider and item.message:
            moments[provider_of(item)].append(item.at)
    return moments


def provider_of(item: NewFact) -> Provider:
    """Breakers are separate for each mode: test traffic must not raise doubts."""
    return int(item.mode), item.fact.provider or ""


def kind_of(item: NewFact) -> Kind:
    """Return the dimensions under which a fact is counted."""
    fact, sending = item.fact, item.sending
    names = (fact.category, fact.provider or "", sending.from_domain, sending.communication)
    return _made(Kind, (item.tenant, item.mode, *names))


def seen(item: NewFact) -> Seen:
    """Return the fact in the form counted for rules."""
    fact, vendor = item.fact, item.vendor
    template = fact.template if fact.rule is None else ""  # reported only where no rule matched
    opinions = ((vendor.name, vendor.category),) if vendor and vendor.category else ()
    said = (fact.category, fact.provider or "", fact.rule, fact.matched, fact.shadow)
    read = fact.rule_set is not None
    return _made(Seen, (item.id, item.tenant, int(item.mode), item.at, *said, template, read, opinions))


def blocks_of(facts: Sequence[NewFact]) -> Iterator[tuple[Any, ...]]:
    """Yield refusals that concern us, for the senders' health; the recipient's own filter does not count."""
    for item in facts:
        category = CATEGORIES[item.fact.category]
        if category.group == "block" and category.name != "recipient-filter":
            about = blocked_origin(item.fact.text, item.sending.from_domain)
            key = (item.tenant, int(item.mode), item.at.date(), item.sending.sender, about)
            yield (*key, item.fact.provider or "", item.fact.category, item.at, item.id)


def classified(item: NewFact, text: str) -> Outgoing:
    """Return the event about a fact, with the stored part of its words."""
    event = BounceClassified(
        bounce_id=item.id,
        category=item.fact.category,
        group=item.fact.group,
        address_hash=item.address_hash,
        at=item.at,
        message_id=item.message,
        attempt=item.attempt,
        recipient=item.recipient,
        reply_code=item.fact.reply_code,
        enhanced_code=item.fact.enhanced,
        text=text,
        origin=item.origin,
    )
    return Outgoing(event, item.recipient or item.address_hash.hex(), item.tenant, item.mode)
