"""Owns how a stored fact is classified again: by other rules, from the stored words and codes."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from services.bounce.domain.classifier import UNDETERMINED, Classifier
from services.bounce.domain.rules.ruleset import Reply

BY_FORM = "shipped"  # the rule set of a fact that is not from words: a complaint, a text message's error code
_SOURCES = {"session": "session", "receipt": "receipt", "mail": "report"}


class Read(NamedTuple):
    """A fact's category, and the rule that gave it; None: no rule matched, or the form decided."""

    category: str
    rule: str | None


def reply_of(fact: Mapping[str, Any]) -> Reply:
    """Build the reply of a stored fact. Its text has no addresses: a placeholder stands for each."""
    text = (fact["text"] or "").replace("<address>", "a@a.example")
    provider, source = fact["provider"] or None, _SOURCES[fact["origin"]]
    return Reply(text, fact["reply_code"], fact["enhanced_code"], provider, source, fact["stage"])


def read_again(fact: Mapping[str, Any], classifier: Classifier) -> Read:
    """Classify a stored fact by these rules. One that was erased, or never classified by words, stays as it is."""
    if fact["rule_set"] == BY_FORM or fact["text"] is None:
        return Read(fact["category"], fact["rule"])
    verdict = classifier.classify(reply_of(fact))
    if verdict.category != UNDETERMINED or verdict.rule is not None:
        return Read(verdict.category, verdict.rule)
    if fact["rule"] is None:
        return Read(fact["category"], None)  # no rule matched before either: its other source still decides
    if fact["vendor_category"]:
        return Read(fact["vendor_category"], None)
    gave_up = fact["origin"] == "mail" and not fact["permanent"]
    return Read("expired" if gave_up else UNDETERMINED, None)
