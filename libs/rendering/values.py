"""How values become text, the same in every channel, and the removal of control characters from visible text."""

import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from liquid import Undefined
from liquid.builtin.expressions.primitive import Blank, Empty
from liquid.exceptions import LiquidTypeError

from libs import exact_json

# C0 except tab and line feed, DEL, C1, line and paragraph separators, and halves of characters
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")
_LINE_ENDS = re.compile("\r\n?|[\x85\u2028\u2029]")
_BREAKS = re.compile(r"[\r\n\t\x0b\x0c\x85\u2028\u2029]+")


def stringify(value: Any) -> str:
    """Return a value as text: decimals with every digit, lists joined, objects as JSON."""
    match value:
        case str():
            return str(value)
        case None | Blank() | Empty():
            return ""
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case Decimal():
            return format(value, "f")
        case float():
            return format(Decimal(repr(value)), "f") if value == value else ""
        case datetime() | date():
            return value.isoformat()
        case Undefined():
            return str(value)
        case range():
            return f"{value.start}..{value.stop - 1}"
        case list() | tuple():
            return "".join(stringify(item) for item in value)
        case Mapping():
            return exact_json.dumps(dict(value)).decode()
        case _:
            raise LiquidTypeError(f"{type(value).__name__} cannot be printed", token=None)


def plain(text: str) -> str:
    """Return the text without control characters; line ends become line feeds."""
    if text.isprintable():
        return text
    return _CONTROL.sub("", _LINE_ENDS.sub("\n", text))


def one_line(text: str) -> str:
    """Return the text on one line, as headers and titles need it: no CR, no LF, whatever was inserted."""
    if text.isprintable():
        return text.strip()
    return _CONTROL.sub("", _BREAKS.sub(" ", text)).strip()
