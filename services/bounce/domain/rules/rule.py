"""Owns what a rule is: its conditions, its category, and why we believe it."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from libs.contracts.outcomes import Word
from services.bounce.domain.categories import CATEGORIES
from services.bounce.domain.rules.patterns import BadPattern, Words, of_expression, of_phrase

SOURCES = frozenset({"session", "report", "text", "receipt"})
MOST_TEXTS = 500
LONGEST_TEXT = 500
STAGES = frozenset({"connect", "helo", "mail", "rcpt", "data"})
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,79}")
_REPLIES = re.compile(r"([245])xx|([245]\d\d)(?:-([245]\d\d))?")
_ENHANCED = re.compile(r"([245x])\.(\d{1,3})\.(\d{1,3}|x)")
_KEYS = frozenset(
    "id category contains starts regex unless provider reply enhanced stage source priority note examples".split()
)
_EXAMPLE = {"text": str, "reply": int, "enhanced": str, "provider": str, "stage": str, "source": str}


class Layer(Word):
    """Whose rule it is. A later layer wins over an earlier one, and never edits it."""

    SHIPPED = 0
    ORGANISATION = 1
    EMERGENCY = 2


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a field of a rule. `pointer`: a JSON Pointer into its document; `position`: the character at
    fault in an expression, counted from 0."""

    pointer: str
    detail: str
    position: int | None = None

    @property
    def words(self) -> str:
        return f"{self.detail} (at position {self.position})" if self.position is not None else self.detail

    def __str__(self) -> str:
        return f"{self.pointer}: {self.words}"


class BadRule(ValueError):
    """An unusable rule; says which, and all that is wrong with it."""

    def __init__(self, problems: Sequence[Problem], id_: object = None) -> None:
        self.problems = tuple(problems)
        super().__init__(f"rule {id_}: " + "; ".join(map(str, problems)))


@dataclass(frozen=True, slots=True)
class Rule:
    """`texts`: any of these patterns; `unless`: none of these. All conditions that are not empty must hold.

    `enhanced` has exact codes and subjects (`5.7`); `priority` decides between matching rules of one layer. `shadow`:
    it is only watched, and decides nothing.
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
    shadow: bool = False
    note: str = field(default="", compare=False)
    examples: tuple[Mapping[str, Any], ...] = field(default=(), compare=False)


def rule_of(document: Mapping[str, Any], layer: Layer, words: Words, *, shadow: bool = False) -> Rule:
    """Build a rule from its document. Raises BadRule with all that is wrong."""
    fields = _Fields(document, [])
    id_, category = document.get("id"), document.get("category")
    if not isinstance(id_, str) or not _ID.fullmatch(id_):
        fields.wrong("/id", "an id has up to 80 lower-case letters, digits and hyphens, like our-relay-says-no")
    for name in sorted(set(document) - _KEYS):
        fields.wrong(f"/{name}", f"a rule has no {name}")
    if category not in CATEGORIES:
        fields.wrong("/category", f"there is no category {category}; the categories are {', '.join(CATEGORIES)}")
    rule = Rule(
        id=str(id_),
        category=str(category),
        layer=layer,
        priority=0,
        texts=(
            *fields.patterns("contains", lambda phrase: of_phrase(phrase, words)),
            *fields.patterns("starts", lambda phrase: tuple(b"^" + one for one in of_phrase(phrase, words))),
            *fields.patterns("regex", lambda expression: (of_expression(expression),)),
        ),
        unless=tuple(fields.patterns("unless", lambda phrase: of_phrase(phrase, words))),
        providers=frozenset(fields.texts("provider").values()),
        replies=tuple(fields.each("reply", _range)),
        enhanced=frozenset(code for codes in fields.each("enhanced", _codes) for code in codes),
        stages=frozenset(fields.each("stage", _among("stage", STAGES))),
        sources=frozenset(fields.each("source", _among("source", SOURCES))),
        shadow=shadow,
        note=str(document.get("note", "")),
        examples=tuple(fields.examples()),
    )
    if not any(name in document for name in ("contains", "starts", "regex", "enhanced", "reply")):
        fields.wrong("/contains", "a rule needs words or a code: one that matches every reply says nothing")
    priority = document.get("priority")
    if priority is None:
        priority = default_priority(rule)
    if not isinstance(priority, int) or isinstance(priority, bool) or not 0 <= priority <= 999:
        fields.wrong("/priority", "a priority is a number from 0 to 999")
    if fields.problems:
        raise BadRule(fields.problems, id_)
    return replace(rule, priority=priority)


def default_priority(rule: Rule) -> int:
    """A provider's words rank above anybody's, words above enhanced codes, these above reply codes."""
    if rule.texts:
        return 400 if rule.providers else 300
    return 200 if rule.enhanced else 100


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Fields:
    """Reads a document field by field and collects the problems, so that an author gets all at once."""

    document: Mapping[str, Any]
    problems: list[Problem]

    def wrong(self, pointer: str, detail: str, position: int | None = None) -> None:
        self.problems.append(Problem(pointer, detail, position))

    def texts(self, name: str) -> dict[str, str]:
        """Return the texts of a field by pointer; a single text needs no list."""
        value = self.document.get(name)
        items = value if isinstance(value, list | tuple) else () if value is None else (value,)
        if len(items) > MOST_TEXTS:
            self.wrong(f"/{name}", f"there are more than {MOST_TEXTS}; write several rules")
            return {}
        found = {}
        for number, item in enumerate(items):
            pointer = f"/{name}/{number}" if items is value else f"/{name}"
            if not isinstance(item, str | int) or isinstance(item, bool):
                self.wrong(pointer, f"{name} is a text or a list of texts")
            elif len(str(item)) > LONGEST_TEXT:
                self.wrong(pointer, f"it has more than {LONGEST_TEXT} characters", LONGEST_TEXT)
            else:
                found[pointer] = str(item)
        return found

    def each(self, name: str, read: Callable[[str], T]) -> list[T]:
        """Convert each text of a field."""
        found: list[T] = []
        for pointer, text in self.texts(name).items():
            try:
                found.append(read(text))
            except BadPattern as error:
                self.wrong(pointer, str(error), error.position)
        return found

    def patterns(self, name: str, read: Callable[[str], tuple[bytes, ...]]) -> list[bytes]:
        return [pattern for patterns in self.each(name, read) for pattern in patterns]

    def examples(self) -> list[Mapping[str, Any]]:
        value = self.document.get("examples") or ()
        items = value if isinstance(value, list | tuple) else (value,)
        found = []
        for number, item in enumerate(items):
            made = {"text": item} if isinstance(item, str) else item
            if isinstance(made, Mapping) and _is_example(made):
                found.append(made)
            else:
                detail = "an example is a text, or a text with reply, enhanced, provider, stage or source"
                self.wrong(f"/examples/{number}", detail)
        return found


def _is_example(made: Mapping[str, Any]) -> bool:
    return "text" in made and all(isinstance(value, _EXAMPLE.get(name, ())) for name, value in made.items())


def _among(name: str, allowed: frozenset[str]) -> Callable[[str], str]:
    def read(value: str) -> str:
        if value not in allowed:
            raise BadPattern(f"{name} is one of {', '.join(sorted(allowed))}, not {value}")
        return value

    return read


def _range(value: str) -> tuple[int, int]:
    match = _REPLIES.fullmatch(value)
    if match is None:
        raise BadPattern(f"«{value}» is not a reply code: write 550, 5xx or 550-559")
    if match[1]:
        return int(match[1]) * 100, int(match[1]) * 100 + 99
    return int(match[2]), int(match[3] or match[2])


def _codes(value: str) -> list[str]:
    match = _ENHANCED.fullmatch(value)
    if match is None:
        raise BadPattern(f"«{value}» is not an enhanced code: write 5.1.1, x.1.1 or 5.7.x")
    classes = "45" if match[1] == "x" else match[1]
    detail = "" if match[3] == "x" else f".{match[3]}"
    return [f"{one}.{match[2]}{detail}" for one in classes]
