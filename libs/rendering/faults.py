"""Explains what is wrong with a source or a render, and on which line.

Errors that Liquid's parser notices only at the end of a piece (an `if` without its end, `{{ total | }}`) have no
position; this module finds it, piece by piece.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping

from liquid import Environment
from liquid.exceptions import LiquidError

_PIECE = re.compile(r"\{\{.*?\}\}|\{%-?\s*(\w*).*?%\}", re.DOTALL)
_TYPES = {
    **dict.fromkeys(("int", "float", "Decimal", "decimal.Decimal"), "a number"),
    **dict.fromkeys(("NoneType", "Absent", "Missing", "Undefined", "Blank", "Empty"), "nothing"),
    "str": "a text",
    "bool": "true or false",
    "list": "a list",
    "range": "a range",
    "dict": "an object",
}
_NAMES = "|".join(map(re.escape, _TYPES))
_NO_FIELDS = re.compile(f"'({_NAMES})' object is not subscriptable")
_TYPE = re.compile(f"'({_NAMES})'(?! object)|(?<=found )({_NAMES})$")
# what editors do to a text, and what other template languages use instead
_HINTS = tuple(
    (re.compile(pattern), hint)
    for pattern, hint in (
        ("^unexpected '[“”„‟‘’‚«»]'", "write straight quotes"),
        (
            "^unexpected '&'",
            "an editor may have written &gt; for > or &quot; for a quote: use the characters themselves",
        ),
        (r"^unexpected '([^\x20-\x7e]|\\[ux])", "it may be invisible: retype the line"),
        ("^unexpected '{'", "write two braces; values are escaped for their place"),
        ("^unexpected '#'", "write {% if … %} and {% for … %}"),
        (r"^unexpected '\+'", "write | plus: 1"),
        (r"^unexpected '\?'", "write {% if … %}"),
        ("end of expression, found '='$", "write =="),
        ("^expected an identifier, found (integer|a number)$", "write [0] for the first item of a list"),
        (r"^unexpected '\$'", "write recipient.first_name, recipient.attributes.tier or event.data.total"),
        ("^disallowed not operator", "write {% unless … %}, or == false"),
        ("end of expression, found in$", "write list contains value"),
    )
)
# filters of other platforms, and what does the same here
INSTEAD: Mapping[str, str] = {
    "h": "write escape",
    "title": "write capitalize",
    "lower": "write downcase",
    "upper": "write upcase",
    "floatformat": "write number: 2",
    "number_with_delimiter": "write number",
    "pluralize": "write {% if count == 1 %} … {% else %} … {% endif %}",
    "time_zone": 'write date: "%H:%M", "Europe/Berlin"; without a zone it is the recipient\'s',
    "timezone": 'write date: "%H:%M", "Europe/Berlin"; without a zone it is the recipient\'s',
    "lookup": 'write event.data["name"]',
    "link_to": "write <a href>",
    "format_address": "print its fields",
    "jsonify": "write json",
    "currency": 'write money: "EUR"',
    "money_with_currency": 'write money: "EUR"',
    "money_without_trailing_zeros": 'write money: "EUR"',
    "money_without_currency": "write number: 2",
    "t": "a template has a text for each locale",
    "translate": "a template has a text for each locale",
    "strftime": 'write date: "%d.%m.%Y"',
} | dict.fromkeys(
    ("asset_url", "file_url", "image_url", "img_url", "shopify_asset_url"),
    "write the URL, or put it into the event",
)
_VERBATIM = ("raw", "comment", "doc")
_INSIDE = {"elsif": "if", "when": "case"}  # tags that are only valid inside another one


def explained(error: BaseException, source: str = "", environment: Environment | None = None) -> str:
    """Return one sentence. With the source that failed to parse, it finds the line if the error has none."""
    if isinstance(error, RecursionError):
        return "The text is nested too deeply; simplify it."
    if environment is not None and _at_the_end(error) and (placed := _placed(error, source, environment)):
        return placed
    message = in_words(str(error.args[0])) if error.args else type(error).__name__
    token = getattr(error, "token", None)
    if token is not None and token.start_index >= 0:
        line = token.source.count("\n", 0, token.start_index) + 1
        return f"Line {line}: {message}."
    return f"{message[:1].upper()}{message[1:]}."


def in_words(message: str) -> str:
    """Translate a message of Python or the library into the words of someone who writes templates."""
    said = _NO_FIELDS.sub(lambda found: f"{_words(found[1])} has no fields", message)
    said = _TYPE.sub(lambda found: _words(found[1] or found[2]), said)
    hint = next((hint for pattern, hint in _HINTS if pattern.search(said)), None)
    return said if hint is None else f"{said}; {hint}"


def _words(type_: str) -> str:
    return _TYPES.get(type_, type_)


def _at_the_end(error: BaseException) -> bool:
    token = getattr(error, "token", None)
    return token is not None and token.start_index < 0


def _placed(error: BaseException, source: str, environment: Environment) -> str | None:
    def fails(piece: str) -> bool:
        try:
            environment.from_string(piece)
        except (LiquidError, RecursionError) as found:
            return _at_the_end(found)
        return False

    blocks = [name for name, tag in environment.tags.items() if tag.block]
    line, block = _place_of_fault(source, blocks, fails)
    if block is not None:
        return f"Line {line}: {{% {block} %}} is never closed; add {{% end{block} %}} where it ends."
    return f"Line {line}: {error.args[0]}." if line else None


def _place_of_fault(source: str, blocks: Collection[str], fails: Callable[[str], bool]) -> tuple[int, str | None]:
    """Return the line of the first piece that fails by itself, else the line and name of the last unclosed block."""
    open_: list[tuple[str, int]] = []
    for start, piece, tag in _pieces(source):
        around = tag if tag in blocks else _INSIDE.get(tag)
        alone = piece if around is None else f"{piece}{{% end{around} %}}"
        if fails(alone if tag not in _INSIDE else f"{{% {around} 1 %}}{alone}"):
            return source.count("\n", 0, start) + 1, None
        if tag in blocks:
            open_.append((tag, source.count("\n", 0, start) + 1))
        elif open_ and tag == f"end{open_[-1][0]}":
            open_.pop()
    return (open_[-1][1], open_[-1][0]) if open_ else (0, None)


def _pieces(source: str) -> Iterator[tuple[int, str, str]]:
    """Yield outputs and tags with their offset and the tag's name, skipping verbatim sections."""
    at = 0
    while found := _PIECE.search(source, at):
        at, tag = found.end(), found[1] or ""
        if tag in _VERBATIM:
            final = re.compile(rf"\{{%-?\s*end{tag}\b.*?%\}}", re.DOTALL).search(source, at)
            at = final.end() if final else len(source)
            continue
        yield found.start(), found[0], tag
