"""Owns the rule that a reply suggests: the longest run of words common to all replies of its kind."""

import re
from collections.abc import Mapping
from typing import Any

from services.bounce.domain.rules.wording import comparable

MOST_WORDS = 10
_LEAST_CHARS = 8  # shorter words occur in replies of every kind
_VARIABLE = re.compile(r"<[a-z]+>|https?://\S+|[\w.-]+@[\w.-]+|\b[\w-]+(?:\.[\w-]+){2,}")
_CODES = re.compile(r"^(?:[245]\d\d[ -]?)?(?:[245]\.\d{1,3}\.\d{1,3})?\s*")
_SLUG = re.compile(r"[^a-z0-9]+")


def phrase_of(template: str) -> str | None:
    """Return a phrase for `contains`, as the engine sees it; None if the reply has no distinctive words."""
    runs = []
    for piece in _VARIABLE.split(_CODES.sub("", template)):
        words: list[str] = []
        for word in [*comparable(piece).decode().split(), "0"]:
            if any(char.isdigit() for char in word):
                runs.append(" ".join(words[:MOST_WORDS]))
                words = []
            else:
                words.append(word)
    longest = max(runs, key=len, default="")
    return longest if len(longest) >= _LEAST_CHARS else None


def suggestion(said: Mapping[str, Any], category: str) -> dict[str, Any] | None:
    """Return a rule's document that matches this reply: `said` is a fact. None if it has no distinctive words."""
    phrase = phrase_of(said["template"])
    if phrase is None:
        return None
    provider = said["provider"]
    document: dict[str, Any] = {
        "id": _SLUG.sub("-", f"{provider} {phrase}".strip().lower())[:60].strip("-"),
        "category": category,
        "contains": [phrase],
        "note": f"made from a reply that no rule matched: {said['template'][:200]}",
        "examples": [_example(said)],
    }
    return document | ({"provider": [provider]} if provider else {})


def _example(said: Mapping[str, Any]) -> dict[str, Any]:
    names = {"reply": said["reply_code"], "enhanced": said["enhanced_code"], "provider": said["provider"]}
    return {"text": said["text"] or said["template"]} | {name: value for name, value in names.items() if value}
