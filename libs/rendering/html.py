"""A small HTML tokenizer, linear in its input, for sources in which holes have replaced Liquid.

It answers two questions: where in the markup does each value land (so that escaping is enough), and what would a
reader see (for the text part). A value inside a tag but outside a quoted attribute could add attributes of its own.
Escaping does not help there, so publishing rejects it.
"""

import html as entities
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

HOLE_START, HOLE_END = "\ue000", "\ue001"
# where a block of the HTML begins or ends, in a mail's text part; firmly: not even a table's cell joins the lines
LINE, PARAGRAPH, CELL, FIRM = "\ue002", "\ue003", "\ue004", "\ue005"
_OURS = str.maketrans(dict.fromkeys((HOLE_START, HOLE_END, LINE, PARAGRAPH, CELL, FIRM), " "))
LINKED_DATA = "linked data"
HOLE = re.compile(f"{HOLE_START}(\\d+){HOLE_END}")

_VERBATIM = re.compile(r"\{%-?\s*(raw|comment|doc)\s*-?%\}")  # text inside these is not Liquid
_TAG_NAME = re.compile(r"[^\s/>]+")
_SPACE = re.compile(r"[\s/]*")
_ATTRIBUTE_NAME = re.compile(r"[^\s=>/]+|=[^\s=>/]*")
_EQUALS = re.compile(r"\s*=\s*")
_UNQUOTED = re.compile(r"[^\s>]*")
_REFERENCE = re.compile(r"&(?:#[0-9]+|#[xX][0-9a-fA-F]+|[A-Za-z][A-Za-z0-9]*)(?:;|(?![=A-Za-z0-9;]))")
_RAW = frozenset({"script", "style", "title", "textarea", "noscript", "xmp", "iframe"})


@dataclass(frozen=True, slots=True)
class Hole:
    """A piece of Liquid: its offset in the source, and its text."""

    offset: int
    text: str

    @property
    def is_output(self) -> bool:
        return self.text.startswith("{{")

    @property
    def tag(self) -> str:
        """Return the name of a `{% tag %}`; empty for an output."""
        found = re.match(r"\{%-?\s*(\w+|#)", self.text)
        return found.group(1) if found else ""


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute, its value with its holes. `written` is its name with holes: `{% if link %}href`."""

    written: str
    value: str
    quoted: bool

    @property
    def name(self) -> str:
        """Return the name; if conditions choose among several, all of them."""
        return " ".join(HOLE.sub(" ", self.written).lower().split())


@dataclass(frozen=True, slots=True)
class Markup:
    """A start or end tag. `loose` is its text outside quoted values."""

    name: str
    closing: bool
    attributes: tuple[Attribute, ...] = ()
    loose: str = ""
    at: int = 0  # in the source with holes


@dataclass(frozen=True, slots=True)
class Words:
    """Text between tags; `within` names the enclosing raw element (script, style, linked data), or is empty."""

    text: str
    within: str = ""
    comment: bool = False


@dataclass(slots=True)
class Cut:
    """A source whose Liquid has been replaced by holes."""

    source: str
    holes: list[Hole] = field(default_factory=list)

    def restored(self, piece: str) -> str:
        """Return a piece of the source with its Liquid again."""
        return HOLE.sub(lambda found: self.holes[int(found.group(1))].text, piece)

    def offset(self, at: int) -> int:
        """Return where a place of the source with holes is in the source with its Liquid."""
        return len(self.restored(self.source[:at]))


def cut(source: str) -> Cut:
    """Replace each piece of Liquid with a numbered hole; unclosed pieces stay."""
    source = source.translate(_OURS)
    made = Cut("")
    out: list[str] = []
    at = last = 0
    absent: set[str] = set()  # closings that do not occur any more: searched for only once
    while (start := source.find("{", at)) >= 0:
        end = _end_of_liquid(source, start, absent)
        at = start + 1
        if end >= 0:
            out.append(source[last:start])
            out.append(f"{HOLE_START}{len(made.holes)}{HOLE_END}")
            made.holes.append(Hole(start, source[start:end]))
            at = last = end
    out.append(source[last:])
    made.source = "".join(out)
    return made


def _end_of_liquid(source: str, start: int, absent: set[str]) -> int:
    """Return the end of the output or tag at `start`, or -1."""
    kind = source[start + 1 : start + 2]
    closing = {"{": "}}", "%": "%}"}.get(kind, "")
    if not closing or closing in absent:
        return -1
    end = source.find(closing, start + 2)
    if end < 0:
        absent.add(closing)
        return -1
    verbatim = _VERBATIM.match(source, start) if kind == "%" else None
    if verbatim is None or verbatim.group(1) in absent:
        return end + 2
    final = re.compile(rf"\{{%-?\s*end{verbatim.group(1)}\s*-?%\}}").search(source, end)
    if final is None:
        absent.add(verbatim.group(1))
    return final.end() if final else end + 2


def attribute_text(value: str) -> str:
    """Return an attribute's value with its character references resolved, as browsers do: `&section=1` is none."""
    return _REFERENCE.sub(lambda found: entities.unescape(found.group()), value)


def holes_in(text: str) -> list[int]:
    """Return the numbers of the holes in a piece of the source."""
    return [int(number) for number in HOLE.findall(text)]


def parse(source: str) -> Iterator[Markup | Words]:
    """Yield the tokens of an HTML source, in order; malformed markup is read as browsers do, or as text."""
    at, end = 0, len(source)
    while at < end:
        opening = source.find("<", at)
        if opening < 0:
            yield Words(source[at:])
            return
        while opening >= 0 and not _begins_markup(source, opening):
            opening = source.find("<", opening + 1)
        if opening != at:
            yield Words(source[at:] if opening < 0 else source[at:opening])
        if opening < 0:
            return
        at = opening
        following = source[at + 1 : at + 2]
        if following in {"!", "?"}:
            at, comment = _comment(source, at)
            yield comment
        else:
            markup, at = _tag(source, at)
            yield markup
            if not markup.closing and markup.name in _RAW:
                raw, at = _raw(source, at, markup)
                yield raw


def _begins_markup(source: str, at: int) -> bool:
    following = source[at + 1 : at + 2]
    return following.isalpha() or following in {"!", "?", "/", HOLE_START}


def _comment(source: str, at: int) -> tuple[int, Words]:
    if source.startswith("<!--", at):
        end = source.find("-->", at + 4)
        stop = len(source) if end < 0 else end + 3
    else:
        end = source.find(">", at)
        stop = len(source) if end < 0 else end + 1
    return stop, Words(source[at:stop], comment=True)


def _raw(source: str, at: int, markup: Markup) -> tuple[Words, int]:
    end = re.compile(f"</{markup.name}", re.IGNORECASE).search(source, at)
    stop = end.start() if end else len(source)
    return Words(source[at:stop], within=LINKED_DATA if is_linked_data(markup) else markup.name), stop


def is_linked_data(markup: Markup) -> bool:
    """Whether it is data for the mail program (such as schema.org's Order), which nothing executes."""
    types = [attribute.value.strip().lower() for attribute in markup.attributes if attribute.name == "type"]
    return markup.name == "script" and types == ["application/ld+json"]


def _tag(source: str, at: int) -> tuple[Markup, int]:
    start, closing = at, source.startswith("</", at)
    at += 2 if closing else 1
    named = _TAG_NAME.match(source, at)
    name = named.group() if named else ""
    at += len(name)
    attributes: list[Attribute] = []
    loose = [name]
    while True:
        space = _SPACE.match(source, at)
        at = space.end() if space else at
        if at >= len(source) or source[at] == ">":
            break
        attribute, at = _attribute(source, at)
        loose.append(attribute.written)
        if not attribute.quoted:
            loose.append(attribute.value)
        attributes.append(attribute)
    return Markup(name.lower(), closing, tuple(attributes), " ".join(loose), start), min(at + 1, len(source))


def _attribute(source: str, at: int) -> tuple[Attribute, int]:
    named = _ATTRIBUTE_NAME.match(source, at)
    name = named.group() if named else source[at]
    at += len(name)
    equals = _EQUALS.match(source, at)
    if not equals:
        return Attribute(name, "", quoted=True), at
    at = equals.end()
    quote = source[at : at + 1]
    if quote in {'"', "'"}:
        end = source.find(quote, at + 1)
        stop = len(source) if end < 0 else end
        return Attribute(name, source[at + 1 : stop], quoted=True), stop + 1
    value = _UNQUOTED.match(source, at)
    text = value.group() if value else ""
    return Attribute(name, text, quoted=False), at + len(text)
