"""Owns the way from a report to facts: one about the address that we wrote to, one about each other that it names."""

from collections.abc import Callable
from typing import NamedTuple

from services.bounce.domain.categories import CATEGORIES, Action
from services.bounce.domain.classifier import UNDETERMINED, Classifier, Verdict, is_permanent
from services.bounce.domain.reports import Kind, Report, Reported, Sentences, codes_in, told_about
from services.bounce.domain.rules.ruleset import Reply
from services.bounce.domain.templates import template_of
from services.bounce.domain.told import without_class

_POSITIVE = frozenset({"delivered", "relayed", "expanded"})
_SHORT = 60  # characters: hardly more than a code
_WEAK = 200  # below it stand single words and bare reply codes
_WITHOUT_A_FACT: dict[Kind, str] = {
    Kind.AUTO_REPLY: "auto-reply",
    Kind.CHALLENGE: "challenge",
    Kind.AUTH_REPORT: "auth-report",
    Kind.RECEIPT: "delivered",
    Kind.OTHER: "not-a-bounce",
}
# RFC 5965's registry of feedback types; what is not named here is a complaint
_BY_FEEDBACK: dict[str, str] = {
    "opt-out": "unsubscribe",
    "opt-out-list": "unsubscribe",
    "not-spam": "not-a-bounce",
    "virus": "virus",
}


class Fact(NamedTuple):
    """What a bounce states about one address, and why we think so.

    `permanent`: the refusal was final, not a wish to wait. `delayed`: the server is still trying, so that the category
    says what it waits for and the fact counts for nothing. `rule`: the one that decided; None where the form of the
    report did, or the model, or nothing. `rule_set`: the digest of the rules that were asked; `model:` and its digest
    where the model answered, so that what it caused can be undone alone; then `asked` is the digest of the rules that
    did not know. `shadow`: rules that matched and only look. `stage`: the command that was answered.
    """

    category: str
    permanent: bool
    reply_code: int | None
    enhanced: str | None
    text: str
    delayed: bool = False
    rule: str | None = None
    matched: tuple[str, ...] = ()
    confidence: float = 1.0
    provider: str | None = None
    rule_set: str | None = None
    shadow: tuple[str, ...] = ()
    stage: str | None = None
    asked: str | None = None

    @property
    def group(self) -> str:
        return CATEGORIES[self.category].group

    @property
    def counts(self) -> bool:
        """Whether it is a fact about the address at all, and not an automatic reply or a success."""
        return not self.delayed and CATEGORIES[self.category].action is not Action.IGNORE

    @property
    def template(self) -> str:
        """The text without its variable parts: what makes two replies the same one."""
        return template_of(self.text)


class Vendor(NamedTuple):
    """A mail vendor's own opinion: in its words, and the category that they mean, where they mean exactly one."""

    name: str
    said: str
    category: str | None


def judge(report: Report, classifier: Classifier, ours: Callable[[str], bool] = lambda address: False) -> Fact:
    """The one fact that a mail states about our recipient; `ours` knows the address that we wrote to.

    Where it is an alias that fans out (a report names several recipients and none is ours, or ours as the original
    recipient of several), it bars only if every one of them is dead: one colleague who left does not end the list.
    """
    if report.kind is Kind.FEEDBACK:
        category = _BY_FEEDBACK.get(report.feedback_type, "complaint")
        return Fact(category, True, None, None, report.text)
    if report.kind is Kind.UNSUBSCRIBE:
        return Fact("unsubscribe", True, None, None, report.text)
    if report.kind in _WITHOUT_A_FACT:
        return Fact(_WITHOUT_A_FACT[report.kind], False, None, None, report.text)
    mine = [reported for reported in report.recipients if reported.address and ours(reported.address)]
    alone = len(report.recipients) == 1
    facts = [of_reported(reported, report.sentences, classifier, alone=alone) for reported in mine or report.recipients]
    return _common(facts) if facts else of_text(report.text, classifier)


def about_others(report: Report, classifier: Classifier, ours: Callable[[str], bool]) -> dict[str, Fact]:
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
            others.setdefault(reported.address.lower(), []).append(of_reported(reported, report.sentences, classifier))
    common = {address: _common(facts) for address, facts in others.items()}
    return {address: fact for address, fact in common.items() if fact.counts}


def _common(facts: list[Fact]) -> Fact:
    alive = (fact for fact in facts if CATEGORIES[fact.category].action is not Action.SUPPRESS)
    return next(alive, facts[0])


def of_reported(reported: Reported, human: Sentences, classifier: Classifier, *, alone: bool = False) -> Fact:
    """The fact about one recipient of a report. Delivered and relayed are not bounces, and delayed is none yet.

    `human`: the sentences of the report; what they say of others counts only where the recipient is `alone`.
    """
    codes = (reported.reply_code, reported.enhanced)
    if reported.action in _POSITIVE:
        return Fact("delivered", False, *codes, reported.text)
    provider = classifier.providers.of_host(reported.host) or classifier.providers.of_address(reported.address)
    text = reported.text
    verdict = classifier.classify(Reply(text, *codes, provider, "report", reported.stage))
    if verdict.strength < _WEAK and (verdict.rule is None or len(text) < _SHORT):
        # the field says little; the sentences for people above it may say more
        for said in _elsewhere(reported, human, alone):
            again = classifier.classify(Reply(said, *codes, provider, "report", reported.stage))
            if again.strength > verdict.strength:
                verdict, text = again, said
    delayed = reported.action == "delayed"
    permanent = is_permanent(*codes) and not delayed
    category = verdict.category
    if category == UNDETERMINED and not permanent:
        category = "expired"  # failed for good on a temporary code: the server gave up after waiting
    return _fact(verdict, classifier, (category, permanent, *codes, text, delayed))


def _elsewhere(reported: Reported, human: Sentences, alone: bool) -> list[str]:
    """What the sentences say of this recipient, then all of them; nothing that was read already."""
    told = told_about(human, reported.address, alone)
    said = [told.text] if told else []
    return [text for text in dict.fromkeys([*said, *([human.text] if alone else [])]) if text and text != reported.text]


def of_text(
    text: str,
    classifier: Classifier,
    codes: tuple[int | None, str | None] = (None, None),
    *,
    source: str = "text",
    address: str | None = None,
) -> Fact:
    """The fact in a bare reply: an in-session refusal, a provider's receipt. `codes` where they are known apart."""
    text = without_class(text)
    found_code, found_enhanced = codes_in(text)
    provider = classifier.providers.of_address(address) if address else None
    reply = Reply(text, codes[0] or found_code, codes[1] or found_enhanced, provider, source)
    return of_reply(reply, classifier)


def of_reply(reply: Reply, classifier: Classifier) -> Fact:
    """The fact in a reply whose codes are known."""
    text, code, status, _, _, _ = reply
    verdict = classifier.classify(reply)
    return _fact(verdict, classifier, (verdict.category, is_permanent(code, status), code, status, text, False))


_Stated = tuple[str, bool, int | None, str | None, str, bool]


def _fact(verdict: Verdict, classifier: Classifier, stated: _Stated) -> Fact:
    _, rule, matched, confidence, _, provider, stage, shadow, model = verdict
    rule_set, asked = classifier.rules.digest, None
    if model:
        rule_set, asked = f"model:{model}", rule_set
    return Fact._make((*stated, rule, matched, confidence, provider, rule_set, shadow, stage, asked))
