"""Owns the way from a report to facts: one about the address that we wrote to, one per further address it names."""

from collections.abc import Callable, Sequence
from itertools import islice
from typing import NamedTuple

from services.bounce.domain.categories import CATEGORIES, Action
from services.bounce.domain.classifier import UNDETERMINED, Classifier, Verdict, is_permanent
from services.bounce.domain.providers import Providers
from services.bounce.domain.reports import Kind, Report, Reported, Sentences, codes_in, read_sentences, told_about
from services.bounce.domain.rules.ruleset import Reply
from services.bounce.domain.templates import template_of
from services.bounce.domain.told import host_in, without_host
from services.bounce.domain.wrapped import unwrapped

_made = tuple.__new__  # faster: a named tuple's own constructor and `_make` are Python functions

_POSITIVE = frozenset({"delivered", "relayed", "expanded"})
_SHORT = 60  # characters: little more than a code
_WEAK = 200  # below it are single words and bare reply codes
_WITHOUT_A_FACT: dict[Kind, str] = {
    Kind.AUTO_REPLY: "auto-reply",
    Kind.CHALLENGE: "challenge",
    Kind.AUTH_REPORT: "auth-report",
    Kind.RECEIPT: "delivered",
    Kind.OTHER: "not-a-bounce",
}
# RFC 5965's registry of feedback types; any other type is a complaint
_BY_FEEDBACK: dict[str, str] = {
    "opt-out": "unsubscribe",
    "opt-out-list": "unsubscribe",
    "not-spam": "not-a-bounce",
    "virus": "virus",
}


class Fact(NamedTuple):
    """What a bounce states about one address, and why we think so.

    `permanent`: the refusal was final, not temporary. `delayed`: the server is still trying, so the category says what
    it waits for, and the fact does not count. `rule`: the one that decided; None if the report's form did, or the
    model, or nothing. `rule_set`: the digest of the rules that were applied; `model:` and its digest if the model
    answered, so that its effects can be undone separately; then `asked` is the digest of the rules that did not match.
    `shadow`: rules in shadow that matched. `stage`: the command that was answered.
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
        """The text without its variable parts, which identifies equal replies."""
        return template_of(self.text)


class Vendor(NamedTuple):
    """A mail vendor's own opinion: in its words, and their category, if there is exactly one."""

    name: str
    said: str
    category: str | None


def judge(report: Report, classifier: Classifier, ours: Callable[[str], bool] = lambda address: False) -> Fact:
    """Return the one fact that a mail states about our recipient; `ours` recognises the address that we wrote to.

    If that is an alias that fans out (a report names several recipients and none is ours, or ours as the original
    recipient of several), it is barred only if every one of them is dead: one colleague who left does not end the list.
    """
    return facts_of([(report, ours)], classifier)[0]


def facts_of(cases: Sequence[tuple[Report, Callable[[str], bool]]], classifier: Classifier) -> list[Fact]:
    """Return `judge`'s facts for many mails, each step over all of them: see `read_mails`."""
    named = [_named(report, ours) if report.kind is Kind.BOUNCE else () for report, ours in cases]
    said = [
        (reported, report.sentences, len(report.recipients) == 1)
        for (report, _), some in zip(cases, named, strict=True)
        for reported in some
    ]
    facts = iter(_of_reported(said, classifier))
    return [
        _common([*islice(facts, len(some))]) if some else _by_form(report, classifier)
        for (report, _), some in zip(cases, named, strict=True)
    ]


def _named(report: Report, ours: Callable[[str], bool]) -> Sequence[Reported]:
    """Return the recipients that count: ours, else all."""
    if len(report.recipients) == 1:
        return report.recipients
    return [one for one in report.recipients if one.address and ours(one.address)] or report.recipients


def _by_form(report: Report, classifier: Classifier) -> Fact:
    """Return the fact of a mail that says nothing about a recipient."""
    if report.kind is Kind.FEEDBACK:
        category = _BY_FEEDBACK.get(report.feedback_type, "complaint")
        return Fact(category, True, None, None, report.text)
    if report.kind is Kind.UNSUBSCRIBE:
        return Fact("unsubscribe", True, None, None, report.text)
    if report.kind in _WITHOUT_A_FACT:
        return Fact(_WITHOUT_A_FACT[report.kind], False, None, None, report.text)
    return of_text(report.text, classifier)


def about_others(report: Report, classifier: Classifier, ours: Callable[[str], bool]) -> dict[str, Fact]:
    """Return what a report about several recipients says about those that are not ours, by address; failures only.

    Our return path proves that we wrote to one address. Nothing proves that we ever wrote to these: an alias fans out
    to them, or somebody has added them. These facts can be found, and bar nothing.
    """
    if report.kind is not Kind.BOUNCE or len(report.recipients) < 2:
        return {}
    if len({reported.address.lower() for reported in report.recipients if reported.address}) < 2:
        return {}
    others: dict[str, list[Fact]] = {}
    for reported in report.recipients:
        if reported.address and not ours(reported.address):
            found = _of_reported([(reported, report.sentences, False)], classifier)
            others.setdefault(reported.address.lower(), []).extend(found)
    common = {address: _common(facts) for address, facts in others.items()}
    return {address: fact for address, fact in common.items() if fact.counts}


def _common(facts: list[Fact]) -> Fact:
    """Return the fact about one that is not dead, if there is one; a refusal that is not final proves no death."""
    if len(facts) == 1:
        return facts[0]
    alive = (f for f in facts if not f.permanent or CATEGORIES[f.category].action is not Action.SUPPRESS)
    return next(alive, facts[0])


# a recipient, the sentences of its report, and whether it is the only one: only then all sentences are about it
_Said = tuple[Reported, Sentences, bool]


def _of_reported(said: Sequence[_Said], classifier: Classifier) -> list[Fact]:
    """Return the facts about recipients of reports."""
    replies = [_reply(reported, classifier.providers) for reported, _, _ in said]
    verdicts = classifier.classify_all(replies)
    known = list(zip(said, replies, verdicts, strict=True))
    read_sentences([human for (_, human, _), reply, verdict in known if _says_little(reply, verdict)])
    return [_weighed(*one, classifier) for one in known]


def _reply(reported: Reported, providers: Providers) -> Reply:
    address, _, code, enhanced, text, host, stage = reported
    provider = providers.of_host(host) or providers.of_address(address)
    return _made(Reply, (text, code, enhanced, provider, "report", stage))


def _says_little(reply: Reply, verdict: Verdict) -> bool:
    return verdict.strength < _WEAK and (verdict.rule is None or len(reply.text) < _SHORT)


def _weighed(said: _Said, reply: Reply, verdict: Verdict, classifier: Classifier) -> Fact:
    """Return the fact about one recipient. Delivered and relayed are not bounces; delayed is not one yet."""
    reported, human, alone = said
    codes = (reported.reply_code, reported.enhanced)
    text = reported.text
    if reported.action in _POSITIVE:
        return Fact("delivered", False, *codes, text)
    if _says_little(reply, verdict):
        # the sentences above the field may say more
        others = _elsewhere(reported, human, alone)
        verdicts = classifier.classify_all([reply._replace(text=words) for words in others])
        for words, again in zip(others, verdicts, strict=True):
            if again.strength > verdict.strength:
                verdict, text = again, words
    delayed = reported.action == "delayed"
    permanent = is_permanent(*codes) and not delayed
    category = verdict.category
    if category == UNDETERMINED and not permanent:
        category = "expired"  # a final failure on a temporary code: the server gave up after waiting
    return _fact(verdict, (category, permanent, *codes, text, delayed))


def _elsewhere(reported: Reported, human: Sentences, alone: bool) -> list[str]:
    """Return what the sentences say about this recipient, then all of them, without texts already classified."""
    told = told_about(human, reported.address, alone)
    said = [told.words] if told else []
    return [text for text in dict.fromkeys([*said, *([human.text] if alone else [])]) if text and text != reported.text]


def of_text(
    text: str,
    classifier: Classifier,
    codes: tuple[int | None, str | None] = (None, None),
    *,
    source: str = "text",
    address: str | None = None,
) -> Fact:
    """Return the fact in a bare reply: an in-session refusal, a provider's receipt. `codes`, if known separately."""
    return of_reply(reply_in(text, classifier.providers, codes, source=source, address=address), classifier)


def reply_in(
    text: str,
    providers: Providers,
    codes: tuple[int | None, str | None] = (None, None),
    *,
    source: str = "text",
    address: str | None = None,
) -> Reply:
    """Build a bare reply with the codes that it contains."""
    whole, text = text, unwrapped(text)
    words = without_host(text)
    provider = providers.of_address(address) if address else None
    if words is not text:
        provider = provider or providers.of_host(host_in(text))
        text = words
    found_code, found_enhanced = codes_in(text)
    if found_code is None and found_enhanced is None and whole is not text:
        found_code, found_enhanced = codes_in(whole)
    return _made(Reply, (text, codes[0] or found_code, codes[1] or found_enhanced, provider, source, None))


def of_reply(reply: Reply, classifier: Classifier) -> Fact:
    """Return the fact in a reply whose codes are known."""
    return of_replies([reply], classifier)[0]


def of_replies(replies: Sequence[Reply], classifier: Classifier) -> list[Fact]:
    """Return the facts in many replies, each step over all of them: see `read_mails`."""
    verdicts = classifier.classify_all(replies)
    return [  # inlined `_fact`, without a call for each
        _made(Fact, (verdict[0], is_permanent(code, status), code, status, text, False, *verdict[1:9]))
        for verdict, (text, code, status, _, _, _) in zip(verdicts, replies, strict=True)
    ]


_Stated = tuple[str, bool, int | None, str | None, str, bool]


def _fact(verdict: Verdict, stated: _Stated) -> Fact:
    return _made(Fact, (*stated, *verdict[1:9]))  # from `rule` to `asked`
