"""Owns what examples show about a rule set: each is won by the rule that it stands at, and nobody else's is taken."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from services.bounce.domain.classifier import Classifier, Verdict
from services.bounce.domain.reports import codes_in
from services.bounce.domain.rules.rule import Layer, Rule
from services.bounce.domain.rules.ruleset import Reply


class Said(NamedTuple):
    """Who decided, and what."""

    rule: str | None
    category: str


class Lost(NamedTuple):
    """An example, the rule that it stands at, and what is said of it. `number`: its place in the rule's list.

    `before`: what the rules in force say of it, for an example of a shipped rule.
    """

    rule: str
    number: int
    text: str
    now: Said
    before: Said | None = None


def reply_of(example: Mapping[str, Any]) -> Reply:
    """An example as a reply; what it does not name is read from its text."""
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
    """Examples of a rule that it does not win; one that only looks need only match."""
    lost = []
    for number, example in enumerate(rule.examples):
        verdict = classifier.classify(reply_of(example))
        fine = rule.id in verdict.shadow if rule.shadow else verdict.rule == rule.id
        if not fine:
            lost.append(Lost(rule.id, number, str(example["text"]), _said(verdict)))
    return lost


def own_lost(classifier: Classifier) -> list[Lost]:
    """Of all rules that people made."""
    own = (rule for rule in classifier.rules.rules if rule.layer is not Layer.SHIPPED)
    return [lost for rule in own for lost in lost_of(rule, classifier)]


def taken(shipped: Iterable[Rule], now: Classifier, before: Classifier) -> list[Lost]:
    """Examples of shipped rules that another rule decides than the set in force says."""
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
