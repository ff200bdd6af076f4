"""Owns the way from a report to facts: one about the address that we wrote to, one about each other that it names."""

from collections.abc import Callable
from dataclasses import dataclass

from services.bounce.domain.categories import CATEGORIES, Action
from services.bounce.domain.classifier import classify, is_permanent
from services.bounce.domain.provider_names import provider_of
from services.bounce.domain.reports import Kind, Report, Reported, codes_in

_POSITIVE = frozenset({"delivered", "relayed", "expanded"})
_WITHOUT_A_FACT: dict[Kind, str] = {
    Kind.AUTO_REPLY: "auto-reply",
    Kind.CHALLENGE: "challenge",
    Kind.AUTH_REPORT: "auth-report",
    Kind.OTHER: "not-a-bounce",
}
# RFC 5965's registry of feedback types; what is not named here is a complaint
_BY_FEEDBACK: dict[str, str] = {
    "opt-out": "unsubscribe",
    "opt-out-list": "unsubscribe",
    "not-spam": "not-a-bounce",
    "virus": "virus",
}


@dataclass(frozen=True, slots=True)
class Fact:
    """What a bounce states about one address. `permanent`: the refusal was final, not a wish to wait."""

    category: str
    permanent: bool
    reply_code: int | None
    enhanced: str | None
    text: str
    rule: str | None = None
    provider: str | None = None
    rule_set: str | None = None

    @property
    def group(self) -> str:
        return CATEGORIES[self.category].group

    @property
    def counts(self) -> bool:
        """Whether it is a fact about the address at all, and not an automatic reply or a success."""
        return CATEGORIES[self.category].action is not Action.IGNORE


def judge(report: Report, ours: Callable[[str], bool] = lambda address: False) -> Fact:
    """The one fact that a mail states about our recipient; `ours` knows the address that we wrote to.

    Where it is an alias that fans out (a report names several recipients and none is ours, or ours as the original
    recipient of several), it bars only if every one of them is dead: one colleague who left does not end the list.
    """
    if report.kind is Kind.FEEDBACK:
        category = _BY_FEEDBACK.get(report.feedback_type, "complaint")
        return Fact(category, True, None, None, report.text)
    if report.kind in _WITHOUT_A_FACT:
        return Fact(_WITHOUT_A_FACT[report.kind], False, None, None, report.text)
    mine = [reported for reported in report.recipients if reported.address and ours(reported.address)]
    facts = [of_reported(reported, report.text) for reported in mine or report.recipients]
    return _common(facts) if facts else of_text(report.text)


def about_others(report: Report, ours: Callable[[str], bool]) -> dict[str, Fact]:
    """What a report about several recipients says of those that are not ours, by address; failures only.

    Our return path proves that we wrote to one address. That we ever wrote to these nobody has proven: an alias fans
    out to them, or somebody has added them. They are facts to be found, and bar nothing.
    """
    named = {reported.address.lower() for reported in report.recipients if reported.address}
    if report.kind is not Kind.BOUNCE or len(named) < 2:
        return {}
    others: dict[str, list[Fact]] = {}
    for reported in report.recipients:
        if reported.address and not ours(reported.address):
            # the sentence for people is about whichever of them it likes: only the fields count here
            others.setdefault(reported.address.lower(), []).append(of_reported(reported, ""))
    common = {address: _common(facts) for address, facts in others.items()}
    return {address: fact for address, fact in common.items() if fact.counts}


def _common(facts: list[Fact]) -> Fact:
    alive = (fact for fact in facts if CATEGORIES[fact.category].action is not Action.SUPPRESS)
    return next(alive, facts[0])


def of_reported(reported: Reported, human: str) -> Fact:
    """The fact about one recipient of a delivery status. Delayed, delivered and relayed are not bounces."""
    codes = (reported.reply_code, reported.enhanced)
    if reported.action in _POSITIVE:
        return Fact("delivered", False, *codes, reported.text)
    if reported.action == "delayed":
        return Fact("not-a-bounce", False, *codes, reported.text)
    text = reported.text
    category = classify(text, reply_code=codes[0], enhanced=codes[1])
    if not text.strip() or category in ("undetermined", "policy"):
        # the field says nothing; the sentence for people above it may
        told = classify(human, reply_code=codes[0], enhanced=codes[1])
        if told not in ("undetermined", "policy"):
            category, text = told, human
    permanent = is_permanent(*codes)
    if category == "undetermined" and not permanent:
        category = "expired"  # failed for good on a temporary code: the server gave up after waiting
    return Fact(category, permanent, *codes, text, provider=provider_of(reported.text or human))


def of_text(text: str, reply_code: int | None = None, enhanced: str | None = None) -> Fact:
    """The fact in a bare reply: an in-session refusal, a provider's receipt."""
    found_code, found_enhanced = codes_in(text)
    code, status = reply_code or found_code, enhanced or found_enhanced
    return Fact(
        classify(text, reply_code=code, enhanced=status),
        is_permanent(code, status),
        code,
        status,
        text,
        provider=provider_of(text),
    )
