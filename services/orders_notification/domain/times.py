"""The times that shops write, as RFC 3339: Unix time, and texts with an offset in the forms that ISO 8601 allows.

A text without an offset stays as it is, and is refused with the event: its sender's zone is unknown here.
"""

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

_MILLISECONDS_FROM = 100_000_000_000  # Unix seconds of the year 5138: larger numbers are milliseconds
_UNIX = re.compile(r"\d{10}(?:\d{3})?", re.ASCII)  # a form has only texts
_WRITTEN = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d)(:\d\d(?:\.\d{1,30})?)? ?(?:([Zz]|UTC|GMT)|([+-]\d\d):?(\d\d)?)", re.ASCII
)


def rfc3339(value: Any) -> Any:
    """Return a time in RFC 3339; anything that is no time as it is."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str):
        return _unix(int(value)) if _UNIX.fullmatch(value) else _text(value)
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return _unix(value)
    return value


def _unix(value: int | float | Decimal) -> str:
    try:
        seconds = float(value) / 1000 if value >= _MILLISECONDS_FROM else float(value)
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return str(value)


def _text(value: str) -> str:
    found = _WRITTEN.fullmatch(value)
    if found is None:
        return value
    day, minutes, seconds, zero, hours, rest = found.groups()
    offset = "Z" if zero else f"{hours}:{rest or '00'}"
    return f"{day}T{minutes}{seconds or ':00'}{offset}"
