"""Owns the effects of a rule change on facts: those that the other set would have classified differently."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from services.bounce.domain.categories import CATEGORIES
from services.bounce.domain.classifier import Classifier
from services.bounce.domain.rereading import read_again
from services.bounce.domain.rules.rule import Rule
from services.bounce.domain.rules.ruleset import RuleSet


class Difference(NamedTuple):
    """Rules by id: `only_here` decide differently, or only, in the one set, `only_there` in the other."""

    only_here: frozenset[str]
    only_there: frozenset[str]

    def __bool__(self) -> bool:
        return bool(self.only_here or self.only_there)


def difference(here: RuleSet, there: RuleSet) -> Difference:
    """Compare two sets, seen from the first."""
    ours, theirs = _deciding(here), _deciding(there)
    return Difference(
        frozenset(id_ for id_, rule in ours.items() if theirs.get(id_) != rule),
        frozenset(id_ for id_, rule in theirs.items() if ours.get(id_) != rule),
    )


def is_effect(fact: Mapping[str, Any], there: Classifier, differs: Difference) -> bool:
    """Whether a stored fact results from the difference: under the other set another action would have followed."""
    if fact["text"] is None:
        return fact["rule"] in differs.only_here  # it can no longer be classified again
    read = read_again(fact, there)
    if fact["rule"] not in differs.only_here and read.rule not in differs.only_there:
        return False
    return CATEGORIES[read.category].action is not CATEGORIES[fact["category"]].action


def _deciding(rules: RuleSet) -> dict[str, Rule]:
    return {rule.id: rule for rule in rules.rules if not rule.shadow}
