"""The checks before Liquid's parser sees a source: its lexer is quadratic in unclosed delimiters."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from libs.rendering.html import HOLE, cut

MAX_PIECES = 4_000  # outputs and tags in one part
MAX_PIECE = 2_000  # characters in one output or tag; in a `liquid` tag, per line

_BLANKS = re.compile(r"[^\S\n]{33}")  # the expression lexer is quadratic in them
_OPENING = re.compile(r"\{\{|\{%")
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")
_ELSE_IF = re.compile(r"(?:\{%-?|\n)[^\S\n]*else[^\S\n]+if\b")  # Liquid would read it as a plain else
_COMMENT = re.compile(r"\{#[^{}\n]{0,2000}#\}")  # of Jinja, Django and Klaviyo
_PLACEHOLDER = re.compile(
    r"\*\|[A-Za-z][^|*\n]{0,200}\|\*"  # Mailchimp, Mandrill
    r"|%%[=\[A-Za-z][^%\n]{0,200}%%"  # Salesforce
    r"|<%[^%\n]{0,200}%>"  # ERB, EJS, SendGrid
    r"|\{\$[A-Za-z]\w{0,60}\}"  # MailerLite, Smarty
    r"|\$\{[A-Za-z][^{}\n]{0,200}\}"  # JavaScript; Braze without its other braces
    r"|%(?:recipient|[A-Z][A-Za-z]{1,60})\.[A-Za-z][\w.]{0,60}%"  # Mailgun, nopCommerce
    r"|%[A-Z][A-Z_]{3,60}%"  # ActiveCampaign
)
_LINES = re.compile(r"\{%-?\s*liquid\b")
_CLOSING = {"{{": "}}", "{%": "%}"}
_VERBATIM = re.compile(r"\{%-?\s*(raw|comment|doc)\s*-?%\}")


class Early(NamedTuple):
    """A fault with its sentence. `end` is where its piece of Liquid ends; None: the source cannot be parsed."""

    sentence: str
    start: int = 0
    end: int | None = None


def foreign_texts(source: str) -> Iterator[str]:
    """Yield a sentence for each comment or placeholder of another platform: it would be sent as it stands."""
    for found in _COMMENT.finditer(source):
        line = source.count("\n", 0, found.start()) + 1
        yield f"Line {line}: {{# … #}} would be sent as text; write {{% comment %}} … {{% endcomment %}}."
    made = cut(source)
    words = HOLE.sub(lambda found: "\n" * made.holes[int(found[1])].text.count("\n"), made.source)
    for found in _PLACEHOLDER.finditer(words):
        line = words.count("\n", 0, found.start()) + 1
        meant = "links.unsubscribe" if "unsub" in found[0].lower() else "recipient.first_name"
        yield f"Line {line}: {found[0][:60]} would be sent as text; write a variable, as in {{{{ {meant} }}}}."


def _not_closed(opening: str, line: int, inner: str) -> str:
    if opening == "{%" and "}}" in inner and "{%" not in inner:
        return f"Line {line}: write the variable in {{% … %}} without braces, as in {{% if event.data.total > 5 %}}."
    return f"{opening} in line {line} is not closed; add {_CLOSING[opening]} after it."


def problems_before_parsing(source: str) -> Iterator[Early]:
    """Yield why a source is rejected without being parsed; nothing if it may be parsed."""
    at, pieces, counted, line = 0, 0, 0, 1
    while found := _OPENING.search(source, at):
        start, opening = found.start(), found.group()
        end = source.find(_CLOSING[opening], start + 2)
        line, counted = line + source.count("\n", counted, start), start
        pieces += 1
        if _LINES.match(source, start) and end >= 0:
            lines = source[start:end].split("\n")
            longest, pieces = max(map(len, lines)), pieces + len(lines)
        else:
            longest = end - start
            # quoted text is ignored; any other opening delimiter means that this one was not closed
            inner = _QUOTED.sub("", source[start + 2 : end if end >= 0 else start + MAX_PIECE])
            if end < 0 or _OPENING.search(inner):
                at = end + 2
                fatal = end < 0 or pieces > MAX_PIECES
                yield Early(_not_closed(opening, line, inner), start, None if fatal else at)
                if fatal:
                    return
                continue
        if _ELSE_IF.search(source, start, end):
            yield Early(f"Line {line}: there is no tag 'else if'; write elsif.", start, end + 2)
        if longest > MAX_PIECE:
            yield Early(f"{opening} in line {line} has more than {MAX_PIECE} characters; build it in steps by assign.")
            return
        if _BLANKS.search(source, start, end):
            yield Early(f"{opening} in line {line} has more than 32 blanks in a row; remove them.")
            return
        at = end + 2
        if verbatim := _VERBATIM.match(source, start):
            final = re.compile(rf"\{{%-?\s*end{verbatim[1]}\s*-?%\}}").search(source, at)
            if final is None:
                yield Early(f"{verbatim[0]} in line {line} has no end{verbatim[1]}.")
                return
            at = final.end()
        if pieces > MAX_PIECES:
            yield Early(f"The source has more than {MAX_PIECES} outputs and tags; make it shorter.")
            return
