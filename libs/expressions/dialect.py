"""Adapts CEL as specified to the engine where the engine deviates.

`size()` counts the characters of a text, not its bytes; parts of a timestamp are in UTC or the given zone; type names
are values (`type(x) == int`); and we supply some overloads that the engine lacks. The engine calls our function if it
has none for the given types.
"""

import re
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from libs.expressions.source import TOKEN

_OF_ONE = {
    "int": "0",
    "uint": "0u",
    "double": "0.0",
    "string": '""',
    "bool": "true",
    "bytes": 'b""',
    "list": "[]",
    "map": "{}",
    "null_type": "null",
}
TYPES = frozenset(_OF_ONE)
_OFFSET = re.compile(r"([+-]?)(\d\d):(\d\d)")
_TRUE, _FALSE = ("true", "True", "TRUE", "t", "1"), ("false", "False", "FALSE", "f", "0")


def for_engine(text: str, taken: Collection[str]) -> str:
    """Return the text for the engine to compile. `taken` are names that are variables here."""
    found = [match for match in TOKEN.finditer(text)]
    solid = [match.group() if match.lastgroup != "space" else "" for match in found]
    out: list[str] = []
    before = ""
    for index, match in enumerate(found):
        word = match.group()
        if match.lastgroup == "name" and (word in ENGINE_NAMES or word in TYPES):
            called = next(filter(None, solid[index + 1 :]), "") == "("
            if called:
                word = ENGINE_NAMES.get(word, word)
            elif before != "." and word in TYPES and word not in taken:
                word = f"type({_OF_ONE[word]})"
        out.append(word)
        before = solid[index] or before
    return "".join(out)


def _size(value: Any) -> int:
    if not isinstance(value, str | bytes | list | dict):
        raise TypeError(f"size() works on texts, lists and objects, not on {_named(value)}")
    return len(value)


def _string(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    raise TypeError(f"string() does not accept {_named(value)}")


def _int(value: Any) -> int:
    if isinstance(value, datetime):
        return int(value.timestamp())
    raise TypeError(f"int() does not accept {_named(value)}")


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if value in _TRUE or value in _FALSE:
        return value in _TRUE
    raise TypeError(f"bool() does not accept {_named(value)}")


def _timestamp(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return datetime.fromtimestamp(value, UTC)
    raise TypeError(f"timestamp() accepts RFC 3339 text or Unix seconds, not {_named(value)}")


def _part(name: str, of_time: Callable[[datetime], int], seconds: float = 0) -> Callable[..., int]:
    """Return a function for a part of a timestamp, in UTC or the given zone, or, with `seconds`, of a duration in that
    unit."""

    def taken(value: Any, zone: Any = "UTC") -> int:
        if isinstance(value, datetime) and isinstance(zone, str):
            return of_time(value.astimezone(_zone(zone)))
        if isinstance(value, timedelta) and seconds:
            return int(value.total_seconds() / seconds)
        raise TypeError(f'{name}() works on a timestamp, with an optional zone: {name}("Europe/Vienna")')

    return taken


def _zone(name: str) -> tzinfo:
    if offset := _OFFSET.fullmatch(name):
        sign, hours, minutes = offset.groups()
        away = timedelta(hours=int(hours), minutes=int(minutes))
        return timezone(-away if sign == "-" else away)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError("this is not a time zone; use a name like Europe/Vienna") from error


_NAMES = {"NoneType": "null", "bool": "a boolean", "str": "a text", "list": "a list", "dict": "an object"}


def _named(value: Any) -> str:
    name = type(value).__name__
    return _NAMES.get(name, "a number" if isinstance(value, int | float) else f"a {name}")


_PARTS: dict[str, Callable[..., int]] = {
    "getFullYear": _part("getFullYear", lambda at: at.year),
    "getMonth": _part("getMonth", lambda at: at.month - 1),
    "getDate": _part("getDate", lambda at: at.day),
    "getDayOfMonth": _part("getDayOfMonth", lambda at: at.day - 1),
    "getDayOfWeek": _part("getDayOfWeek", lambda at: at.isoweekday() % 7),
    "getDayOfYear": _part("getDayOfYear", lambda at: at.timetuple().tm_yday - 1),
    "getHours": _part("getHours", lambda at: at.hour, 3600),
    "getMinutes": _part("getMinutes", lambda at: at.minute, 60),
    "getSeconds": _part("getSeconds", lambda at: at.second, 1),
    "getMilliseconds": _part("getMilliseconds", lambda at: at.microsecond // 1000, 0.001),
}
OVERLOADS: dict[str, Callable[..., Any]] = _PARTS | {
    "size": _size,
    "string": _string,
    "int": _int,
    "bool": _bool,
    "timestamp": _timestamp,
}
# under the engine's own names, the engine's functions would be called first
ENGINE_NAMES = {"size": "_len"} | {name: f"_{name}" for name in _PARTS}
