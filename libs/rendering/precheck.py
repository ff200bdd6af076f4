"""The checks before Liquid's parser sees a source: its lexer is quadratic in unclosed delimiters."""

import re
from collections.abc import Iterator

MAX_PIECES = 4_000  # outputs and tags in one part
MAX_PIECE = 2_000  # characters in one output or tag; in a `liquid` tag, per line

_BLANKS = re.compile(r"[^\S\n]{33}")  # the expression lexer is quadratic in them
_OPENING = re.compile(r"\{\{|\{%")
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")
_ELSE_IF = re.compile(r"(?:\{%-?|\n)[^\S\n]*else[^\S\n]+if\b")  # Liquid would read it as a plain else
_COMMENT = re.compile(r"\{#[^{}\n]{0,2000}#\}")  # of Jinja, Django and Klaviyo
_LINES = re.compile(r"\{%-?\s*liquid\b")
_CLOSING = {"{{": "}}", "{%": "%}"}
_VERBATIM = re.compile(r"\{%-?\s*(raw|comment|doc)\s*-?%\}")


def foreign_comments(source: str) -> Iterator[str]:
    """Yield a sentence for each comment of another template language: it would be sent as it stands."""
    for found in _COMMENT.finditer(source):
        line = source.count("\n", 0, found.start()) + 1
        yield f"Line {line}: {{# … #}} would be sent as text; write {{% comment %}} … {{% endcomment %}}."


def _not_closed(opening: str, line: int, inner: str) -> str:
    without = ", or write the variable in it without braces" if (opening, inner) == ("{%", "{{") else ""
    return f"{opening} in line {line} is not closed; add {_CLOSING[opening]} after it{without}."


def problems_before_parsing(source: str) -> Iterator[str]:
    """Yield why a source is rejected without being parsed, with the line; nothing if it may be parsed."""
    at = pieces = 0
    while found := _OPENING.search(source, at):
        start, opening = found.start(), found.group()
        end = source.find(_CLOSING[opening], start + 2)
        line = source.count("\n", 0, start) + 1
        pieces += 1
        if _LINES.match(source, start) and end >= 0:
            lines = source[start:end].split("\n")
            longest, pieces = max(map(len, lines)), pieces + len(lines)
        else:
            longest = end - start
            # quoted text is ignored; any other opening delimiter means that this one was not closed
            again = _OPENING.search(_QUOTED.sub("", source[start + 2 : end if end >= 0 else start + MAX_PIECE]))
            if end < 0 or again:
                yield _not_closed(opening, line, again.group() if again else "")
                if end < 0 or pieces > MAX_PIECES:
                    return
                at = end + 2
                continue
        if _ELSE_IF.search(source, start, end):
            yield f"Line {line}: there is no tag 'else if'; write elsif."
        if longest > MAX_PIECE:
            yield f"{opening} in line {line} has more than {MAX_PIECE} characters; use assign to build it in steps."
            return
        if _BLANKS.search(source, start, end):
            yield f"{opening} in line {line} has more than 32 blanks in a row; remove them."
            return
        at = end + 2
        verbatim = _VERBATIM.match(source, start)
        if verbatim:
            final = re.compile(rf"\{{%-?\s*end{verbatim.group(1)}\s*-?%\}}").search(source, at)
            if final is None:
                yield f"{verbatim.group()} in line {line} has no end{verbatim.group(1)}."
                return
            at = final.end()
        if pieces > MAX_PIECES:
            yield f"The source has more than {MAX_PIECES} outputs and tags; make it shorter."
            return
