"""Owns what examples show about a rule set: each rule decides its own examples, and takes none of another rule's."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from services.bounce.domain.classifier import Classifier, Verdict
from services.bounce.domain.reports import codes_in
from services.bounce.domain.rules.rule import Layer, Rule
from services.bounce.domain.rules.ruleset import Reply


class Said(NamedTuple):
    """The rule that decided, and its category."""

    rule: str | None
    category: str


class Lost(NamedTuple):
    """An example, its rule, and the result. `number`: its index in the rule's list.

    `before`: the result under the rules in force, for an example of a shipped rule.
    """

    rule: str
    number: int
    text: str
    now: Said
    before: Said | None = None


def reply_of(example: Mapping[str, Any]) -> Reply:
    """Build a reply from an example; fields that it does not name are read from its text."""
    text = str(example["text"])
    code, enhanced = codes_in(text)
    return Reply(
        text,
        example.get("reply", code),
        example.get("enhanced", enhanced),
        example.get("provider"),
        example.get("source", "text"),
        example.get("stage"),
    )


def lost_of(rule: Rule, classifier: Classifier) -> list[Lost]:
    """Return a rule's examples that it does not decide; a rule in shadow need only match."""
    lost = []
    for number, example in enumerate(rule.examples):
        verdict = classifier.classify(reply_of(example))
        fine = rule.id in verdict.shadow if rule.shadow else verdict.rule == rule.id
        if not fine:
            lost.append(Lost(rule.id, number, str(example["text"]), _said(verdict)))
    return lost


def own_lost(classifier: Classifier) -> list[Lost]:
    """Check all rules that people wrote."""
    own = (rule for rule in classifier.rules.rules if rule.layer is not Layer.SHIPPED)
    return [lost for rule in own for lost in lost_of(rule, classifier)]


def taken(shipped: Iterable[Rule], now: Classifier, before: Classifier) -> list[Lost]:
    """Return examples of shipped rules that another rule decides than under the set in force."""
    found = []
    for rule in shipped:
        for number, example in enumerate(rule.examples):
            reply = reply_of(example)
            was, is_ = _said(before.classify(reply)), _said(now.classify(reply))
            if was != is_:
                found.append(Lost(rule.id, number, str(example["text"]), is_, was))
    return found


def _said(verdict: Verdict) -> Said:
    return Said(verdict.rule, verdict.category)
