"""Where values land in HTML: finds those that escaping cannot make safe, and those that begin a link."""

import html as entities
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from libs.rendering.html import (
    HOLE,
    LINKED_DATA,
    Attribute,
    Cut,
    Hole,
    Markup,
    Words,
    cut,
    holes_in,
    is_linked_data,
    parse,
)
from libs.rendering.json_context import values_in
from libs.rendering.links import problem_of_link

_LINKS = frozenset({"href", "src", "action", "formaction", "background", "poster", "cite", "longdesc", "xlink:href"})
_PICTURES = frozenset({"src", "background", "poster"})
# nothing executable
_PICTURE = re.compile(r"data:image/(?:png|gif|jpe?g|webp);base64,[A-Za-z0-9+/=\s]*", re.IGNORECASE)
_WRITING_TAGS = frozenset({"echo", "liquid", "cycle", "increment", "decrement"})
_NEW_BRANCH = frozenset({"else", "elsif", "when", "if", "unless", "case"})
_DECIDED = re.compile(r"[:/?#]")
_REFUSED_ELEMENTS = frozenset({"script", "iframe", "object", "embed", "applet", "base"})


@dataclass(slots=True)
class Placement:
    """What was found in a source: problems with their line, and outputs, by offset, that are not printed as text:
    those that begin a link, and those in JSON, in a string or alone."""

    problems: list[tuple[int, str]] = field(default_factory=list)
    begins_link: dict[int, bool] = field(default_factory=dict)  # offset of the output → is it the first value
    in_json: set[int] = field(default_factory=set)
    alone: set[int] = field(default_factory=set)  # in JSON, without quotes around them
    quoted: set[int] = field(default_factory=set)  # in JSON, between quotes


def place(source: str) -> Placement:
    """Check every value of an HTML source."""
    made = cut(source)
    found = Placement()
    for token in parse(made.source):
        for offset, problem in _problems(token, made, found):
            found.problems.append((source.count("\n", 0, offset) + 1, problem))
    return found


def _problems(token: Markup | Words, made: Cut, found: Placement) -> Iterator[tuple[int, str]]:
    if isinstance(token, Words):
        if token.within == "script":
            yield from ((hole.offset, "values cannot stand in a script") for hole in _writing(token.text, made))
        elif token.within == LINKED_DATA:
            values = values_in(token.text, made.holes)
            found.alone |= values.alone
            found.quoted |= values.quoted
            for hole in _writing(token.text, made):
                if not hole.is_output:
                    yield hole.offset, "in JSON, print values with {{ … }}, not with this tag"
                found.in_json.add(hole.offset)
        return
    if not token.closing and token.name in _REFUSED_ELEMENTS and not is_linked_data(token):
        yield made.offset(token.at), f"<{token.name}> is not allowed in a mail; mail programs remove it"
    for hole in _writing(token.loose, made):
        yield (
            hole.offset,
            f"{hole.text[:40]} is inside a tag without quotes, where a value could add attributes; "
            'write attribute="{{ … }}"',
        )
    for attribute in token.attributes:
        for offset, problem in _attribute_problems(attribute, made, found):
            yield (made.offset(token.at) if offset is None else offset), problem


def _attribute_problems(attribute: Attribute, made: Cut, found: Placement) -> Iterator[tuple[int | None, str]]:
    """Yield problems with their offsets; None is the tag's own."""
    holes = _writing(attribute.value, made)
    names = attribute.name.split()
    for name in names:
        if name.startswith("on") or name == "srcdoc":
            yield from ((hole.offset, f"values are not allowed in {name}, which runs as a script") for hole in holes)
    if _LINKS.isdisjoint(names) or (_PICTURES.issuperset(names) and _PICTURE.fullmatch(attribute.value)):
        return
    first, decided, literal = True, False, ""
    for piece in re.split(f"({HOLE.pattern[0]}\\d+.)", attribute.value):
        numbers = holes_in(piece)
        if not numbers:
            literal += piece
            decided = decided or bool(_DECIDED.search(entities.unescape(piece)))
            continue
        hole = made.holes[numbers[0]]
        if hole.tag in _NEW_BRANCH:
            first = not literal.strip()
        elif hole.is_output and not decided:
            found.begins_link[hole.offset] = first and not literal.strip()
            first = False
        elif hole.tag in _WRITING_TAGS and not decided:
            yield hole.offset, "a link begins with a value of this tag; print it with {{ … }}"
    problem = problem_of_link(entities.unescape(HOLE.sub("", literal)), absolute=False) if decided else None
    if problem and not (holes and not _has_scheme(literal)):
        yield (made.holes[holes_in(attribute.value)[0]].offset if holes else None), problem


def _has_scheme(literal: str) -> bool:
    found = _DECIDED.search(entities.unescape(literal))
    return bool(found) and found is not None and found.group() == ":"


def _writing(text: str, made: Cut) -> list[Hole]:
    """Return the holes that print something; control flow may occur anywhere."""
    return [
        hole
        for hole in (made.holes[number] for number in holes_in(text))
        if hole.is_output or hole.tag in _WRITING_TAGS
    ]
