"""Owns the verdict on a refusal: every rule that matches, the one that wins, and how far to believe it.

The text is asked first, because codes are used loosely (5.7.1 and 550 stand for everything). A code that is precise
has a rule with a priority of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from services.bounce.domain.categories import CATEGORIES
from services.bounce.domain.providers import Providers
from services.bounce.domain.rules.rule import Rule
from services.bounce.domain.rules.ruleset import Reply, RuleSet, Scan
from services.bounce.domain.rules.wording import comparable

UNDETERMINED = "undetermined"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`rule`: the id of the one that won, None where none matched; `matched`: all of them, the winner first.

    `confidence` is an order, not a probability: words of a known provider above anybody's words, these above codes;
    lower where rules that matched too would lead to another action, higher where a code says the same.
    `strength`: the winner's priority.
    """

    category: str
    rule: str | None
    matched: tuple[str, ...]
    confidence: float
    strength: int = -1
    provider: str | None = None
    stage: str | None = None


@dataclass(frozen=True)
class Classifier:
    """A rule set with the engine that finds its patterns; stateless, so any thread may ask it."""

    rules: RuleSet
    scan: Scan
    providers: Providers

    def classify(self, reply: Reply) -> Verdict:
        """The verdict on one refusal; `undetermined` when nothing usable is said."""
        rules = self.rules
        uses, listed, rank = rules.uses, rules.rules, rules.rank
        for_, against = set(), set()
        provider, stage = reply.provider, reply.stage
        # in order of number: which of several signs counts must not depend on the engine
        for number in sorted(self.scan(comparable(reply.text))) if reply.text else ():
            use = uses[number]
            if use.sign is not None:
                if use.sign.kind == "stage":
                    stage = stage or use.sign.value
                else:
                    provider = provider or use.sign.value
            elif use.against:
                against.add(use.rule)
            else:
                for_.add(use.rule)
        code = reply.enhanced
        if code:
            for_.update(rules.by_code.get(code, ()))
            for_.update(rules.by_code.get(code.rpartition(".")[0], ()))
        if reply.reply_code:
            for_.update(rules.by_code.get(str(reply.reply_code), ()))
        known = Reply("", reply.reply_code, code, provider, reply.source, stage)
        matched = [number for number in for_ if number not in against and _holds(listed[number], known)]
        if not matched:
            return Verdict(UNDETERMINED, None, (), 0.0, provider=provider, stage=stage)
        if len(matched) > 1:
            matched.sort(key=rank.__getitem__, reverse=True)
        won = listed[matched[0]]
        ids = tuple([listed[number].id for number in matched])
        sure = _confidence([listed[number] for number in matched])
        return Verdict(won.category, won.id, ids, sure, won.priority, provider, stage)


def _holds(rule: Rule, known: Reply) -> bool:
    """Whether everything but the words is as the rule asks."""
    if rule.providers and known.provider not in rule.providers:
        return False
    if rule.replies and not _within(rule.replies, known.reply_code):
        return False
    if rule.enhanced and not _says(rule.enhanced, known.enhanced):
        return False
    if rule.stages and known.stage not in rule.stages:
        return False
    return not rule.sources or known.source in rule.sources


def _within(ranges: Sequence[tuple[int, int]], code: int | None) -> bool:
    return code is not None and any(low <= code <= high for low, high in ranges)


def _says(wanted: frozenset[str], code: str | None) -> bool:
    return code is not None and (code in wanted or code.rpartition(".")[0] in wanted)


_SURE = ((400, 0.95), (300, 0.9), (200, 0.75), (100, 0.5), (0, 0.4))


def _confidence(matched: Sequence[Rule]) -> float:
    won = matched[0]
    sure = next(value for least, value in _SURE if won.priority >= least)
    if len(matched) == 1:
        return sure
    action = CATEGORIES[won.category].action
    others = [rule for rule in matched[1:] if rule.priority >= 200]
    if any(CATEGORIES[rule.category].action is not action for rule in others):
        return round(sure - 0.2, 2)
    if any(rule.category == won.category and not rule.texts for rule in others):
        return round(min(sure + 0.05, 0.99), 2)
    return sure


def is_permanent(reply_code: int | None, enhanced: str | None) -> bool:
    """Whether the server said 5xx. Without any code a refusal that came back as a mail counts as permanent.

    Where both codes are there and disagree, the enhanced one decides: it is the server's, the reply often a relay's.
    """
    if enhanced:
        return enhanced.startswith("5")
    return reply_code is None or reply_code >= 500
