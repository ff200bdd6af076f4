"""Functions of cel-go's string extension, beyond CEL's core, each with a bounded result."""

from collections.abc import Callable, Sequence
from string import ascii_lowercase, ascii_uppercase
from typing import Any

from libs.expressions.dialect import OVERLOADS

MAX_TEXT = 65_536  # characters that one function may return
MAX_PARTS = 10_000


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name}() works on a text, not on {type(value).__name__}")
    return value


def _bounded(made: str, name: str) -> str:
    if len(made) > MAX_TEXT:
        raise ValueError(f"{name}() returns more than {MAX_TEXT} characters")
    return made


def _substring(text: Any, start: int, end: int | None = None) -> str:
    whole = _text(text, "substring")
    stop = len(whole) if end is None else end
    if not 0 <= start <= stop <= len(whole):
        raise ValueError(f"substring({start}, {stop}) is outside a text of {len(whole)} characters")
    return whole[start:stop]


def _replace(text: Any, old: Any, new: Any) -> str:
    whole, before, after = _text(text, "replace"), _text(old, "replace"), _text(new, "replace")
    if len(whole) + whole.count(before) * len(after) > MAX_TEXT:
        raise ValueError(f"replace() returns more than {MAX_TEXT} characters")
    return whole.replace(before, after)


def _split(text: Any, separator: Any) -> list[str]:
    whole, by = _text(text, "split"), _text(separator, "split")
    if not by:
        raise ValueError("split() needs a separator")
    if whole.count(by) >= MAX_PARTS:
        raise ValueError(f"split() returns more than {MAX_PARTS} parts")
    return whole.split(by)


def _join(items: Sequence[Any], separator: Any = "") -> str:
    by = _text(separator, "join")
    if sum(len(_text(item, "join")) for item in items) + len(by) * len(items) > MAX_TEXT:
        raise ValueError(f"join() gives more than {MAX_TEXT} characters")
    return by.join(items)


_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)
_UPPER = str.maketrans(ascii_lowercase, ascii_uppercase)

FUNCTIONS: dict[str, Callable[..., Any]] = OVERLOADS | {
    "lowerAscii": lambda text: _bounded(_text(text, "lowerAscii"), "lowerAscii").translate(_LOWER),
    "upperAscii": lambda text: _bounded(_text(text, "upperAscii"), "upperAscii").translate(_UPPER),
    "trim": lambda text: _text(text, "trim").strip(),
    "indexOf": lambda text, part: _text(text, "indexOf").find(_text(part, "indexOf")),
    "lastIndexOf": lambda text, part: _text(text, "lastIndexOf").rfind(_text(part, "lastIndexOf")),
    "substring": _substring,
    "replace": _replace,
    "split": _split,
    "join": _join,
}

# CEL's core, as the engine ships it
CORE = frozenset(
    "has size contains startsWith endsWith matches int uint double string bytes timestamp duration dyn type "
    "getFullYear getMonth getDate getDayOfMonth getDayOfWeek getDayOfYear getHours getMinutes getSeconds "
    "getMilliseconds optional.of optional.none optional.ofNonZeroValue or orValue hasValue value".split()
)
