"""The filters that templates may use: Liquid's own, each bounded, and ours. Nothing else is reachable."""

import html as entities
import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache, wraps
from typing import Any

from liquid import Environment, Undefined, is_undefined
from liquid.builtin.expressions.primitive import Blank, Empty
from liquid.exceptions import FilterArgumentError, ResourceLimitError
from markupsafe import Markup

from libs import exact_json
from libs.rendering.formats import format_filters
from libs.rendering.limits import MAX_ITEMS, MAX_VALUE
from libs.rendering.lists import LIST_FILTERS, LISTS, ON_LISTS, as_text, flat
from libs.rendering.meter import METER
from libs.rendering.numbers import NUMBER_FILTERS, number
from libs.rendering.values import stringify

# `safe`, `escapejs` and `strip_html` are left out: the first two undo our escaping, the last is quadratic
KEPT = frozenset(
    "append capitalize downcase escape escape_once lstrip newline_to_br prepend remove remove_first remove_last "
    "replace replace_first replace_last slice split upcase strip rstrip strip_newlines truncatewords "
    "url_encode url_decode base64_encode base64_decode base64_url_safe_encode base64_url_safe_decode "
    "find find_index join first has last concat map reverse reject sort sort_natural where compact "
    "size default".split()
)
_ON_TEXTS = frozenset(
    "append capitalize downcase escape escape_once lstrip newline_to_br prepend remove remove_first remove_last "
    "replace replace_first replace_last split strip strip_html rstrip strip_newlines squish truncate truncatewords "
    "upcase url_encode url_decode base64_encode base64_decode base64_url_safe_encode base64_url_safe_decode".split()
)
_MULTIPLYING = {"replace", "join"}
_SLOW = {"url_encode", "url_decode", "escape_once", "truncatewords", "squish", "split", "json", "strip_html"}


class JsonText(str):
    """JSON that is printed unchanged."""

    __slots__ = ()


class JsonPiece(JsonText):
    """Captured JSON with quotes of its own, so no longer a text."""

    __slots__ = ()


def captured_json(text: str) -> str:
    """Return what `capture` stores in JSON: the text between quotes, or JSON if it has quotes of its own."""
    try:
        return str(json.loads(f'"{text}"', strict=False))
    except ValueError:
        return JsonPiece(text)


def _json(value: Any) -> str:
    if isinstance(value, JsonPiece):
        raise FilterArgumentError("a capture with quotes in it is already JSON; remove the json filter", token=None)
    if isinstance(value, Markup):
        value = value.unescape()
    if isinstance(value, range | Blank | Empty):
        value = list(value) if isinstance(value, range) else ""
    if is_undefined(value):
        value = str(value) or None  # raises if it must not be missing
    return JsonText(without_markup(exact_json.dumps(value).decode()))


def without_markup(json_text: str) -> str:
    """Escape < and &, which would be markup inside HTML or a script; the escapes mean the same to every JSON parser."""
    return json_text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


_TAG = re.compile(r"<[^<>]*>")
_UNSEEN = re.compile(r"<(script|style)\b|<!--", re.IGNORECASE)
_SEEN_AGAIN = {name: re.compile(f"</{name}>", re.IGNORECASE) for name in ("script", "style")} | {"": re.compile("-->")}


def _strip_html(value: Any) -> str:
    """Return the text of a shop's HTML, without scripts, styles and comments."""
    stripped = _TAG.sub("", _without_unseen(value if isinstance(value, str) else stringify(value)))
    # escaped text is not escaped again; the entities of a shop's HTML are characters in a text
    return Markup(stripped) if isinstance(value, Markup) else entities.unescape(stripped)


def _without_unseen(text: str) -> str:
    kept, at, unclosed = "", 0, set[str]()
    for found in _UNSEEN.finditer(text):
        name = (found[1] or "").lower()
        if found.start() < at or name in unclosed:
            continue
        end = _SEEN_AGAIN[name].search(text, found.end())
        if end is None:
            unclosed.add(name)  # is not searched for again: many of them would take quadratic time
            continue
        kept, at = kept + text[at : found.start()], end.end()
    return kept + text[at:]


def _truncate(value: Any, length: Any = 50, end: Any = "...") -> str:
    """Cut a text to `length` characters including `end`; a text of exactly this length stays."""
    if is_undefined(length):
        raise FilterArgumentError("truncate needs a number, which is missing", token=None)
    most, text, ending = int(number(length)), _as_string(value), _as_string(end)
    return text if len(text) <= most else text[: max(0, most - len(ending))] + ending


def _truncatewords(value: Any, words: Any = 15, end: Any = "...") -> str:
    """Cut a text to its first `words` words, at least one, and append `end`; a text of no more words stays."""
    if is_undefined(words):
        raise FilterArgumentError("truncatewords needs a number, which is missing", token=None)
    most, text = max(1, int(number(words))), _as_string(value)
    found = text.split()
    return text if len(found) <= most else " ".join(found[:most]) + _as_string(end)


def _split(value: Any, separator: Any) -> list[str]:
    """Split a text as Ruby does: empty pieces at the end are dropped."""
    pieces: list[str] = _library()["split"](value, separator)
    while pieces and not pieces[-1]:
        pieces.pop()
    return pieces


def _replacing(name: str) -> Callable[..., Any]:
    """Return `replace` or one of its kin: in HTML, markup that the author inserts into a value stays markup."""

    def replaced(value: Any, what: Any, by: Any = "") -> Any:
        if isinstance(value, Markup) or not (isinstance(by, Markup) and what and ("<" in by or "&" in by)):
            return _library()[name](value, what, by)
        text, searched = _as_string(value), str(_as_string(what))
        if name == "replace":
            return by.join(text.split(searched))
        return by.join(text.rsplit(searched, 1) if name == "replace_last" else text.split(searched, 1))

    return replaced


def _squish(value: Any) -> str:
    squished = " ".join(_as_string(value).split())
    return Markup(squished) if isinstance(value, Markup) else squished


def _as_string(value: Any) -> str:
    return value if isinstance(value, str) else stringify(value)


def _limit(detail: str) -> ResourceLimitError:
    return ResourceLimitError(detail, token=None)


def _size_of(value: Any) -> int:
    return len(value) if isinstance(value, str) else 0


def _predicted(name: str, arguments: tuple[Any, ...]) -> int:
    """Return the result length of a filter that multiplies: replace(text, what, by), join(list, by)."""
    subject = arguments[0]
    if name == "join" and isinstance(subject, LISTS):
        separator = _size_of(arguments[1]) if len(arguments) > 1 else 1
        return sum(_size_of(item) + separator for item in flat(subject))
    if name == "replace" and len(arguments) > 2 and isinstance(subject, str):
        return len(subject) + subject.count(str(arguments[1])) * _size_of(arguments[2])
    return 0


def bounded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap the filter so that ranges, lists and texts beyond the limits are rejected before and after it works."""
    multiplies = name in _MULTIPLYING
    on_texts = name in _ON_TEXTS
    on_lists = name in ON_LISTS
    length_of_a_unit = 16 if name in _SLOW else 256

    @wraps(function)
    def checked(*arguments: Any, **options: Any) -> Any:
        units = 1
        if isinstance(arguments[0], Markup) and "<" not in arguments[0] and ">" not in arguments[0]:
            # escaped text without markup, such as a capture: filters work on what a reader sees
            arguments = (arguments[0].unescape(), *arguments[1:])
        for argument in arguments:
            if isinstance(argument, str):
                units += len(argument) // length_of_a_unit
            elif isinstance(argument, list | tuple | range):
                units += len(argument)
                if len(argument) > MAX_ITEMS:
                    raise _limit(f"{name} accepts at most {MAX_ITEMS} items")
        METER.spend(units, "its filters")
        if on_texts:
            arguments = tuple([as_text(argument) for argument in arguments])
        if on_lists and arguments[0] is None:
            arguments = ([], *arguments[1:])  # the library takes nothing for a list of one item
        if multiplies and _predicted(name, arguments) > MAX_VALUE:
            raise _limit(f"{name} returns more than {MAX_VALUE} characters")
        result = function(*arguments, **options)
        if isinstance(result, str | list) and len(result) > (MAX_VALUE if isinstance(result, str) else MAX_ITEMS):
            raise _limit(f"{name} returns more than {MAX_VALUE} characters or {MAX_ITEMS} items")
        return result

    return checked


@lru_cache(maxsize=1)
def _library() -> dict[str, Callable[..., Any]]:
    return {name: function for name, function in Environment().filters.items() if name in KEPT}


@lru_cache(maxsize=1)
def _shared() -> dict[str, Callable[..., Any]]:
    own: dict[str, Callable[..., Any]] = {
        "json": _json,
        "strip_html": _strip_html,
        "truncate": _truncate,
        "truncatewords": _truncatewords,
        "split": _split,
        "squish": _squish,
        **{name: _replacing(name) for name in ("replace", "replace_first", "replace_last")},
        "default": _default,
    }
    return {
        name: bounded(name, function) for name, function in (_library() | own | LIST_FILTERS | NUMBER_FILTERS).items()
    }


def _default(value: Any, instead: Any = "", *, allow_false: bool = False) -> Any:
    """Liquid's default: replaces what is missing, null or empty, and false unless that is allowed."""
    if value is False:
        return value if allow_false is True else instead
    if value is None or isinstance(value, Undefined):
        return instead
    return instead if isinstance(value, str | list | Mapping) and not value else value


def filters_for(tag: str) -> dict[str, Callable[..., Any]]:
    """Return all filters; those that format are bound to the locale `tag`."""
    return _shared() | format_filters(tag)


def refuse_markup(value: Any) -> Any:
    """Return a value as plain text: Markup would slip through escaping."""
    return str(value) if isinstance(value, Markup) else value


def as_json_string(text: str) -> str:
    """Escape the text for the inside of a JSON string."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


__all__ = ["FilterArgumentError", "JsonText", "as_json_string", "bounded", "filters_for", "refuse_markup"]
