"""Explains what is wrong with a source or a render, and on which line."""

import re
from collections.abc import Iterator

from libs.rendering.limits import MAX_BLOCKS

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
# what the library calls the parts of an expression
_SIGNS = {"gt": ">", "lt": "<", "dot": "a dot", "'..'": "a dot", "word": "a name", "string": "a text", "pipe": "'|'",
          "dpipe": "'||'", "end of expression": "nothing", "integer": "a number", "float": "a number"}  # fmt: skip
_FOUND = re.compile(f"(?<=, found )({'|'.join(map(re.escape, _SIGNS))})$")
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
        ("^unexpected '/'", "write {% endif %} or {% endfor %}"),
        ("^unexpected '@'", "write forloop.first, forloop.last or forloop.index"),
        (r"^unexpected '\^'", "write {% unless … %}"),
        ("^unexpected '-'", "write | minus: 1"),
        (r"^unexpected '\*'", "write | times: 2"),
        ("operator '!'", "write {% comment %} … {% endcomment %} for a comment, {% unless … %} for not"),
        ("a value, found >$", "a template cannot include another: insert the text itself"),
        ("a value, found else$", "write {% else %}"),
        ("a value, found a dot$", "write event.data.name"),
        ("end of expression, found a dot$", "write one dot"),
        (
            r"^expected '\]', found a name$|end of expression, found a name$",
            'write event.data["first name"] for a name with blanks',
        ),
        ("end of expression, found or$", 'write | default: "…"'),
        (r"end of expression, found '\|'$", "assign the filtered value before, and use that"),
        ("^expected 'reversed', 'offset' or 'limit'$", "assign the filtered list before, and loop over that"),
        ("end of expression, found '\\('$|end of expression, found a text$", 'write | default: "…", with a colon'),
        ("^disallowed parentheses", "write one {% if … %} in another, or assign the first result"),
        ("^disallowed ternary", "write {% if … %} … {% else %} … {% endif %}"),
        ("^block nesting limit reached$", f"at most {MAX_BLOCKS} tags may stand in one another"),
        ("^disallowed not operator", "write {% unless … %}, or == false"),
        ("end of expression, found in$", "write list contains value"),
        ("^got an unexpected keyword argument 'format'$", 'write date: "long" or date: "%d.%m.%Y"'),
    )
)
_VERBATIM = ("raw", "comment", "doc")


def explained(error: BaseException) -> str:
    """Return one sentence, with the line if the error has one."""
    if isinstance(error, RecursionError):
        return "The text is nested too deeply; simplify it."
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
    said = _FOUND.sub(lambda found: _SIGNS[found[1]], said.replace("a primitive expression", "a value"))
    said = said.replace("expected word,", "expected a name,")
    hint = next((hint for pattern, hint in _HINTS if pattern.search(said)), None)
    return said if hint is None else f"{said}; {hint}"


def _words(type_: str) -> str:
    return _TYPES.get(type_, type_)


def pieces(source: str) -> Iterator[tuple[int, str, str]]:
    """Yield outputs and tags with their offset and the tag's name, skipping verbatim sections."""
    at = 0
    while found := _PIECE.search(source, at):
        at, tag = found.end(), found[1] or ""
        if tag in _VERBATIM:
            final = re.compile(rf"\{{%-?\s*end{tag}\b.*?%\}}", re.DOTALL).search(source, at)
            at = final.end() if final else len(source)
            continue
        yield found.start(), found[0], tag
