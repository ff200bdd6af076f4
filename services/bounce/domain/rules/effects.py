"""Owns what a change of the rules has done to facts: those that the other set would not have judged so."""

from typing import NamedTuple

from services.bounce.domain.categories import CATEGORIES
from services.bounce.domain.classifier import Classifier
from services.bounce.domain.rules.rule import Rule
from services.bounce.domain.rules.ruleset import Reply, RuleSet


class Difference(NamedTuple):
    """Rules by id: `only_here` decide in the one set as they do not in the other, `only_there` the other way round."""

    only_here: frozenset[str]
    only_there: frozenset[str]

    def __bool__(self) -> bool:
        return bool(self.only_here or self.only_there)


class Judged(NamedTuple):
    """A fact as it was judged. `text`: what is kept of the server's words; None once it was erased."""

    category: str
    rule: str | None
    text: str | None
    reply_code: int | None
    enhanced: str | None
    provider: str | None
    source: str


def difference(here: RuleSet, there: RuleSet) -> Difference:
    """How two sets differ, seen from the first."""
    ours, theirs = _deciding(here), _deciding(there)
    return Difference(
        frozenset(id_ for id_, rule in ours.items() if theirs.get(id_) != rule),
        frozenset(id_ for id_, rule in theirs.items() if ours.get(id_) != rule),
    )


def is_effect(judged: Judged, there: Classifier, differs: Difference) -> bool:
    """Whether a fact is as it is because of the difference: the other set would have drawn another consequence."""
    if judged.text is None:
        return judged.rule in differs.only_here  # nobody can ask again
    reply = Reply(judged.text, judged.reply_code, judged.enhanced, judged.provider, judged.source)
    verdict = there.classify(reply)
    if judged.rule not in differs.only_here and verdict.rule not in differs.only_there:
        return False
    return CATEGORIES[verdict.category].action is not CATEGORIES[judged.category].action


def _deciding(rules: RuleSet) -> dict[str, Rule]:
    return {rule.id: rule for rule in rules.rules if not rule.shadow}
