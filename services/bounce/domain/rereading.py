"""Owns how a stored fact is read again: by other rules, from the words and codes that were kept with it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from services.bounce.domain.classifier import UNDETERMINED, Classifier
from services.bounce.domain.rules.ruleset import Reply

BY_FORM = "shipped"  # the rule set of a fact whose words nobody asked: a complaint, a text message's error code
_SOURCES = {"session": "session", "receipt": "receipt", "mail": "report"}


class Read(NamedTuple):
    """What a fact says, and the rule by which; None: no rule knew it, or its form alone says it."""

    category: str
    rule: str | None


def reply_of(fact: Mapping[str, Any]) -> Reply:
    """What the rules are asked about a stored fact. Addresses in its text were taken out: any stands for them."""
    text = (fact["text"] or "").replace("<address>", "a@a.example")
    provider, source = fact["provider"] or None, _SOURCES[fact["origin"]]
    return Reply(text, fact["reply_code"], fact["enhanced_code"], provider, source, fact["stage"])


def read_again(fact: Mapping[str, Any], classifier: Classifier) -> Read:
    """What these rules make of a stored fact. What was erased, or never read by its words, stays what it is."""
    if fact["rule_set"] == BY_FORM or fact["text"] is None:
        return Read(fact["category"], fact["rule"])
    verdict = classifier.classify(reply_of(fact))
    if verdict.category != UNDETERMINED or verdict.rule is not None:
        return Read(verdict.category, verdict.rule)
    if fact["rule"] is None:
        return Read(fact["category"], None)  # no rule knew it before either: whoever read it then does so now
    if fact["vendor_category"]:
        return Read(fact["vendor_category"], None)
    gave_up = fact["origin"] == "mail" and not fact["permanent"]
    return Read("expired" if gave_up else UNDETERMINED, None)
