"""The text part of a mail, derived from its HTML once, when the template is compiled.

It converts the *source*: markup goes, Liquid stays. So a mail's text costs one small render instead of parsing 5 kB
of HTML for each recipient.
"""

import html as entities
import re
from collections import Counter

from libs.rendering.html import (
    CELL,
    FIRM,
    HOLE,
    LINE,
    PARAGRAPH,
    Attribute,
    Cut,
    Hole,
    Markup,
    Words,
    attribute_text,
    cut,
    parse,
)

_BLOCKS = frozenset(
    "address article aside blockquote body center dd div dl dt fieldset figure footer form h1 h2 h3 h4 h5 h6 header "
    "hr li main nav ol p pre section table tbody tfoot thead tr ul".split()
)
_PARAGRAPHS = frozenset("p h1 h2 h3 h4 h5 h6 table ul ol blockquote hr".split())
_FIRM = frozenset("h1 h2 h3 h4 h5 h6 table thead tbody tfoot tr ul ol li dl dt dd hr".split())
_HIDDEN = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*hidden|(?:max-height|(?<![\w-])opacity)\s*:\s*0(?![.\d])", re.IGNORECASE
)
_SPACES = re.compile(r"[ \t\r\n\f]+")
_RUNS = re.compile(r"[ \t]{2,}")
_GAPS = re.compile(r"\n{3,}")
# unseen where nothing else is on their line: blanks, joiners, fillers of preheaders
_UNSEEN = " \t\xa0\xad\u034f\u2007\u200b-\u200d\u2060\ufeff"
_BREAKS = f"\n{LINE}{PARAGRAPH}{CELL}{FIRM}"
_ENDS_OF_LINES = re.compile(f"[{_UNSEEN}]*[{_BREAKS}][{_UNSEEN}{_BREAKS}]*")
_BLANK_LINE = re.compile(f"[{_BREAKS}][{_UNSEEN}]*\xa0[{_UNSEEN}]*[{_BREAKS}]")
_NO_LINK = " ()"  # behind the words of a link that has no address
_NOT_NUMERIC = re.compile(r"[^0-9]")
_OF_A_LINK = re.compile(r"^(?:https?://|mailto:|tel:)|/$")
_COLUMNS = re.compile(r"\bcols\s*:\s*[^\s,%]+,?")
_QUOTED = r"""(?P<literal>"[^"]*"|'[^']*')"""
_FOR_HTML = re.compile(rf"{_QUOTED}|\|\s*(?:escape_once|escape|newline_to_br)\b(?!\s*:)\s*")  # not needed in a text
_CYCLED = re.compile(f"(?P<before>){_QUOTED}")
# not those of `replace`, `remove` or `split`: they match markup in the shop's data
_ARGUMENT = re.compile(r"(?P<before>\|\s*(?:join|append|prepend|default)\s*:\s*)" + _QUOTED)
_REPLACEMENT = re.compile(
    r"(?P<before>\|\s*replace(?:_first|_last)?\s*:\s*(?:\"[^\"]*\"|'[^']*'|[\w.\[\]]+)\s*,\s*)" + _QUOTED
)
_ALONE = re.compile(r"(?P<before>^\{(?:\{-?|%-?\s*(?:echo|assign\s+\w+\s*=))\s*)" + _QUOTED + r"(?=\s*-?[%}]\})")
_BREAK = re.compile(r"<br\b[^>]*>|</(?:p|div|tr|li|h[1-6])\s*>", re.IGNORECASE)
_TAG = re.compile(r"<[^>]*>")
_VERBATIM = frozenset({"raw", "comment", "doc"})
_VOID = frozenset("area base br col embed hr img input link meta param source track wbr".split())


def text_source(html_source: str) -> str:
    """Return a Liquid source that renders to what a reader of the HTML would see, once it is `settled`."""
    made = cut(html_source)
    writer = _Writer(made)
    for token in parse(made.source):
        writer.take(token)
    return writer.text()


def tidy(text: str) -> str:
    """Remove the blank lines that loops and conditions leave behind."""
    return (_GAPS.sub("\n\n", text) if "\n\n\n" in text else text).lstrip()


def settled(text: str) -> str:
    """Return a derived text with its line ends: one between lines, however many blocks end there, and at most one
    blank line between paragraphs."""
    shorter = text.replace(_NO_LINK, "") if _NO_LINK in text else text
    return _RUNS.sub(" ", _ENDS_OF_LINES.sub(_line_end, shorter)).strip() + "\n"


def _line_end(found: re.Match[str]) -> str:
    run = found.group()
    if CELL in run and FIRM not in run:
        return " "  # the cells of a row share a line, whatever paragraphs are in them
    paragraph = PARAGRAPH in run or run.count("\n") > 1 or ("\xa0" in run and _BLANK_LINE.search(run))
    return "\n\n" if paragraph else "\n"


class _Writer:
    def __init__(self, made: Cut) -> None:
        self._cut = made
        self._out: list[str] = []
        self._links: list[tuple[str, int]] = []
        self._hidden: list[str] = []  # open elements, starting with the first hidden one
        self._hidden_names: Counter[str] = Counter()

    def text(self) -> str:
        joined = "".join(self._out)
        if all(hole.is_output for hole in self._cut.holes):  # else blocks decide where lines end, at each render
            joined = settled(joined)
        return HOLE.sub(lambda found: _as_text(self._cut.holes[int(found.group(1))]), joined)

    def take(self, token: Markup | Words) -> None:
        if isinstance(token, Words):
            self._words(token)
        elif token.closing:
            self._end(token.name)
        else:
            self._start(token)

    def _words(self, words: Words) -> None:
        if words.comment or words.within or self._hidden:
            self._out.append(self._only_tags(words.text))
            return
        pieces = re.split(f"({HOLE.pattern})", words.text)
        # the pattern has one group: every third piece is a hole's number, already part of the previous piece
        for index, piece in enumerate(pieces):
            if index % 3 == 0 and piece:
                readable = _SPACES.sub(" ", piece)
                self._out.append(_liquid_free(entities.unescape(readable)))
            elif index % 3 == 1:
                self._out.append(piece)

    def _resolved(self, text: str) -> str:
        """Return a piece with its Liquid, without spaces: two outputs of one value are equal."""
        return _SPACES.sub("", self._cut.restored(text))

    def _only_tags(self, text: str) -> str:
        """Return what remains of invisible text: control flow and assignments, so that blocks stay balanced."""
        return "".join(
            f"{found.group()}"
            for found in HOLE.finditer(text)
            if not self._cut.holes[int(found.group(1))].is_output
            and self._cut.holes[int(found.group(1))].tag not in {"echo", "cycle", "increment", "raw"}
        )

    def _start(self, tag: Markup) -> None:
        attributes = {attribute.name: attribute for attribute in tag.attributes}
        if self._hidden or _is_hidden(tag.name, attributes):
            if tag.name not in _VOID:
                self._hidden.append(tag.name)
                self._hidden_names[tag.name] += 1
            return
        match tag.name:
            case "br":
                self._out.append("\n")
            case "hr":
                self._out.append(f"{_break('hr')}---{_break('hr')}")
            case "li":
                self._out.append(f"{_break('li')}- ")
            case "td" | "th":
                self._out.append(CELL)
            case "img":
                self._out.append(attribute_text(_value(attributes, "alt")) + " ")
            case "a":
                self._links.append((attribute_text(_value(attributes, "href")), len(self._out)))
            case name if name in _BLOCKS:
                self._out.append(_break(name))

    def _end(self, name: str) -> None:
        if self._hidden:
            while self._hidden_names[name]:
                closed = self._hidden.pop()
                self._hidden_names[closed] -= 1
                if closed == name:
                    break
            return
        if name == "a" and self._links:
            self._end_of_link(*self._links.pop())
        elif name in _BLOCKS and name != "li":  # the next item begins its line itself
            self._out.append(_break(name))

    def _end_of_link(self, link: str, since: int) -> None:
        """Write the address behind its words, unless they say it."""
        after: list[str] = []
        while len(self._out) > since and not self._out[-1].strip(_BREAKS + " "):
            after.insert(0, self._out.pop())  # a button's table ends within the link
        shown = "".join(self._out[since:]).strip(_BREAKS + " ")
        if link and not link.startswith("#") and not self._is_said(link, shown):
            self._out.append(f" ({link})" if shown else link)
        self._out.extend(after)

    def _is_said(self, link: str, shown: str) -> bool:
        said, address = (_OF_A_LINK.sub("", self._resolved(each)) for each in (shown, link))
        if link.startswith("tel:") and len(digits := _NOT_NUMERIC.sub("", said)) > 5:
            return _NOT_NUMERIC.sub("", address).endswith(digits[-6:])
        return said == address


def _break(name: str) -> str:
    return (PARAGRAPH if name in _PARAGRAPHS else LINE) + (FIRM if name in _FIRM else "")


def _as_text(hole: Hole) -> str:
    """Return the Liquid of a hole without its HTML; a tablerow becomes a loop with a line for each item."""
    if hole.tag == "tablerow":
        return _COLUMNS.sub("", hole.text.replace("tablerow", "for", 1))
    if hole.tag == "endtablerow":
        return hole.text.replace("endtablerow", "endfor", 1).join(["\n", ""])
    if hole.tag in _VERBATIM:
        return hole.text
    text = _FOR_HTML.sub(lambda found: found["literal"] or "", hole.text)
    for put_out in (_CYCLED,) if hole.tag == "cycle" else (_ARGUMENT, _REPLACEMENT, _ALONE):
        text = put_out.sub(_without_markup, text)
    return text


def _without_markup(found: re.Match[str]) -> str:
    """Return a printed literal as a reader of the HTML would see it."""
    quote, inner = found["literal"][0], found["literal"][1:-1]
    shown = entities.unescape(_TAG.sub("", _BREAK.sub("\n", inner)))
    return f"{found['before']}{quote}{inner if quote in shown or '{' in shown or '%' in shown else shown}{quote}"


def _value(attributes: dict[str, Attribute], name: str) -> str:
    found = attributes.get(name)
    return found.value if found else ""


def _is_hidden(name: str, attributes: dict[str, Attribute]) -> bool:
    return (
        name == "head"
        or name == "template"
        or "hidden" in attributes
        or bool(_HIDDEN.search(_value(attributes, "style")))
    )


def _liquid_free(text: str) -> str:
    """Entities may decode to braces that look like Liquid; a space between them keeps them text."""
    return text.replace("{{", "{ {").replace("{%", "{ %")
