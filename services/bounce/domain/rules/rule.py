"""Owns what a rule is: what must be there for it to match, what it then says, and why we believe it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from services.bounce.domain.categories import CATEGORIES
from services.bounce.domain.rules.patterns import BadPattern, Words, of_expression, of_phrase

SOURCES = frozenset({"session", "report", "text", "receipt"})
STAGES = frozenset({"connect", "helo", "mail", "rcpt", "data"})
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,79}")
_REPLIES = re.compile(r"([245])xx|([245]\d\d)(?:-([245]\d\d))?")
_ENHANCED = re.compile(r"([245x])\.(\d{1,3})\.(\d{1,3}|x)")
_KEYS = frozenset(
    "id category contains starts regex unless provider reply enhanced stage source priority note examples".split()
)


class Layer(IntEnum):
    """Whose rule it is. A later layer wins over an earlier one, and never edits it."""

    SHIPPED = 0
    ORGANISATION = 1
    EMERGENCY = 2


class BadRule(ValueError):
    """A rule that cannot be; says which and why."""


@dataclass(frozen=True, slots=True)
class Rule:
    """`texts`: any of these patterns; `unless`: none of these. Every condition that is not empty must hold.

    `enhanced` holds exact codes and subjects (`5.7`); `priority` decides among the rules of one layer that match.
    """

    id: str
    category: str
    layer: Layer
    priority: int
    texts: tuple[bytes, ...] = ()
    unless: tuple[bytes, ...] = ()
    providers: frozenset[str] = frozenset()
    replies: tuple[tuple[int, int], ...] = ()
    enhanced: frozenset[str] = frozenset()
    stages: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()
    note: str = ""
    examples: tuple[Mapping[str, Any], ...] = field(default=(), compare=False)


def rule_of(document: Mapping[str, Any], layer: Layer, words: Words) -> Rule:
    """A rule from its document. Raises BadRule."""
    id_ = document.get("id")
    try:
        if not isinstance(id_, str) or not _ID.fullmatch(id_):
            raise BadRule("an id has lower-case letters, digits and hyphens")
        if unknown := sorted(set(document) - _KEYS):
            raise BadRule(f"a rule has no {', '.join(unknown)}")
        return _rule(document, layer, words)
    except (BadRule, BadPattern) as error:
        raise BadRule(f"rule {id_}: {error}") from error


def _rule(document: Mapping[str, Any], layer: Layer, words: Words) -> Rule:
    category = document.get("category")
    if category not in CATEGORIES:
        raise BadRule(f"there is no category {category}")
    rule = Rule(
        id=document["id"],
        category=category,
        layer=layer,
        priority=0,
        texts=_texts(document, words),
        unless=tuple(one for phrase in _list(document, "unless") for one in of_phrase(phrase, words)),
        providers=frozenset(_list(document, "provider")),
        replies=tuple(_range(value) for value in _list(document, "reply")),
        enhanced=frozenset(code for value in _list(document, "enhanced") for code in _codes(value)),
        stages=_among(document, "stage", STAGES),
        sources=_among(document, "source", SOURCES),
        note=str(document.get("note", "")),
        examples=tuple(_example(value) for value in _list(document, "examples", plain=False)),
    )
    if not (rule.texts or rule.enhanced or rule.replies):
        raise BadRule("a rule needs words or a code: one that matches every reply says nothing")
    priority = document.get("priority", default_priority(rule))
    if not isinstance(priority, int) or not 0 <= priority <= 999:
        raise BadRule("a priority is a number from 0 to 999")
    return Rule(**{name: getattr(rule, name) for name in Rule.__slots__} | {"priority": priority})


def default_priority(rule: Rule) -> int:
    """Provider's words before anybody's, words before enhanced codes, these before reply codes."""
    if rule.texts:
        return 400 if rule.providers else 300
    return 200 if rule.enhanced else 100


def _texts(document: Mapping[str, Any], words: Words) -> tuple[bytes, ...]:
    return (
        *(one for phrase in _list(document, "contains") for one in of_phrase(phrase, words)),
        *(b"^" + one for phrase in _list(document, "starts") for one in of_phrase(phrase, words)),
        *(of_expression(expression) for expression in _list(document, "regex")),
    )


def _list(document: Mapping[str, Any], name: str, *, plain: bool = True) -> Sequence[Any]:
    value = document.get(name, ())
    items = value if isinstance(value, list | tuple) else (value,)
    if plain and any(not isinstance(item, str | int) for item in items):
        raise BadRule(f"{name} is a text or a list of texts")
    return [str(item) for item in items] if plain else items


def _among(document: Mapping[str, Any], name: str, allowed: frozenset[str]) -> frozenset[str]:
    values = frozenset(_list(document, name))
    if unknown := sorted(values - allowed):
        raise BadRule(f"{name} is one of {', '.join(sorted(allowed))}, not {', '.join(unknown)}")
    return values


def _range(value: str) -> tuple[int, int]:
    match = _REPLIES.fullmatch(value)
    if match is None:
        raise BadRule(f"«{value}» is no reply code: write 550, 5xx or 550-559")
    if match[1]:
        return int(match[1]) * 100, int(match[1]) * 100 + 99
    return int(match[2]), int(match[3] or match[2])


def _codes(value: str) -> list[str]:
    match = _ENHANCED.fullmatch(value)
    if match is None:
        raise BadRule(f"«{value}» is no enhanced code: write 5.1.1, x.1.1 or 5.7.x")
    classes = "45" if match[1] == "x" else match[1]
    detail = "" if match[3] == "x" else f".{match[3]}"
    return [f"{one}.{match[2]}{detail}" for one in classes]


def _example(value: Any) -> Mapping[str, Any]:
    if isinstance(value, str):
        return {"text": value}
    if not isinstance(value, Mapping) or not isinstance(value.get("text", ""), str):
        raise BadRule("an example is a text, or a text with codes, provider, stage or source")
    return value
