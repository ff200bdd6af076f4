"""Money, numbers and dates as written in the recipient's country. Bound to a locale when a template is compiled."""

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Context, Decimal, localcontext
from email.utils import parsedate_to_datetime
from functools import lru_cache, partial
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_datetime, format_time
from babel.numbers import format_currency, format_decimal, get_currency_precision, list_currencies
from liquid import Undefined, is_undefined
from liquid.exceptions import FilterArgumentError

from libs.rendering.limits import MAX_DIGITS
from libs.rendering.numbers import number

_NAMED = {"short", "medium", "long", "full"}
_DIRECTIVE = re.compile(r"%([-_0^#]?)(\d{0,2})(:{0,2}[A-Za-z%])")
_CACHED = 8_192
_FINEST = 20  # decimal places
_CURRENCY = ("currency", "currencyCode", "currency_code")  # as shops call it beside an amount
NO_CURRENCY = 'money needs a currency, as in {{ total | money: "EUR" }}'
# half a cent rounds up, as in `round` and in shops; Python's own context would round it to the even cent
_COMMERCIAL = Context(prec=2 * MAX_DIGITS + _FINEST, rounding=ROUND_HALF_UP)


@lru_cache(maxsize=512)
def locale_of(tag: str) -> Locale:
    """Return the locale of a BCP 47 tag, or of its language; English if the tag is unknown."""
    parts = tag.replace("_", "-").split("-")
    while parts:
        try:
            return Locale.parse("-".join(parts), sep="-")
        except (UnknownLocaleError, ValueError):
            parts.pop()
    return Locale("en")


@lru_cache(maxsize=1)
def _currencies() -> frozenset[str]:
    return frozenset(list_currencies())


def _money(tag: str, value: Any, currency: Any = None, locale: Any = None) -> str:
    if isinstance(value, dict):
        currency = currency or next((value[name] for name in _CURRENCY if value.get(name)), None)
        value = _amount(value)
    if _is_nothing(value):
        return ""
    if not isinstance(currency, str) or currency.upper() not in _currencies():
        unknown = f"{str(currency)[:40]!r} is not the code of a currency; send one like EUR"
        raise FilterArgumentError(unknown if currency and isinstance(currency, str) else NO_CURRENCY, token=None)
    return _money_text(str(number(value)), currency.upper(), locale if isinstance(locale, str) else tag)


def _amount(money: dict[str, Any]) -> Any:
    """Return the amount of an object: `{"amount": "19.90", "currency": "EUR"}`, or commercetools' cents."""
    if "centAmount" in money and "preciseAmount" not in money:
        digits = int(number(money.get("fractionDigits", 2)))
        return Decimal(number(money["centAmount"])).scaleb(-min(abs(digits), _FINEST))
    for name in ("amount", "value"):
        if name in money:
            return money[name]
    raise FilterArgumentError("money needs an amount, or an object with amount and currency", token=None)


def _is_nothing(value: Any) -> bool:
    if isinstance(value, Undefined):
        str(value)  # raises if it must not be missing
        return True
    return value is None or (isinstance(value, str) and not value.strip())


@lru_cache(maxsize=_CACHED)
def _money_text(value: str, currency: str, tag: str) -> str:
    with localcontext(_COMMERCIAL):
        return format_currency(_to(value, get_currency_precision(currency)), currency, locale=locale_of(tag))


def _to(value: str, places: int) -> Decimal:
    """Round in the current context; what rounds to zero has no sign."""
    return Decimal(value).quantize(Decimal(1).scaleb(-places)) + 0


def _number(tag: str, value: Any, places: Any = None) -> str:
    if _is_nothing(value):
        return ""
    wanted = None if places is None or is_undefined(places) else int(number(places))
    if wanted is not None and not 0 <= wanted <= _FINEST:
        raise FilterArgumentError(f"number accepts 0 to {_FINEST} decimal places", token=None)
    return _number_text(str(number(value)), wanted, tag)


@lru_cache(maxsize=_CACHED)
def _number_text(value: str, places: int | None, tag: str) -> str:
    exact = Decimal(value)
    exponent = exact.as_tuple().exponent
    shown = max(0, -exponent) if places is None and isinstance(exponent, int) else places or 0
    pattern = "#,##0" + ("." + "0" * shown if shown else "")
    with localcontext(_COMMERCIAL):
        return format_decimal(_to(value, shown), format=pattern, locale=locale_of(tag))


def _date(tag: str, value: Any, style: Any = "medium", zone: Any = "UTC") -> str:
    if value is None or value == "" or isinstance(value, Undefined):
        return "" if value is None else str(value)  # raises if it must not be missing
    wanted = style if isinstance(style, str) and style else "medium"
    if isinstance(value, str) and value.strip().lower() in {"now", "today"}:
        raise FilterArgumentError("a text must read the same tomorrow: use event.time, not 'now'", token=None)
    moment = _moment(value)
    if not isinstance(moment, datetime):  # a day is the same day in every zone
        moment, zone = datetime(moment.year, moment.month, moment.day, tzinfo=UTC), "UTC"
    return _date_text(moment, wanted[:200], str(zone or "UTC"), tag)


def _moment(value: Any) -> datetime | date:
    """Return a value as a time with a zone (UTC if it has none), or as a day if it has no time."""
    try:
        match value:
            case datetime():
                return value if value.tzinfo else value.replace(tzinfo=UTC)
            case date():
                return value
            case int() | Decimal() | float() if not isinstance(value, bool):
                return _counted(float(value))
            case str() if value.strip().isdecimal() and len(value.strip()) not in _COMPACT:
                return _counted(float(value))
            case str():
                parsed = _written(value.strip()[:100])
                return parsed.replace(tzinfo=UTC) if isinstance(parsed, datetime) and not parsed.tzinfo else parsed
    except (ValueError, OverflowError, OSError) as error:
        raise _no_time(value) from error
    raise _no_time(value)


def _counted(seconds: float) -> datetime:
    """Parse Unix seconds, or milliseconds if seconds would mean a year beyond 5138."""
    return datetime.fromtimestamp(seconds / 1000 if seconds >= 1e11 else seconds, UTC)


def _written(text: str) -> datetime | date:
    """Parse ISO 8601 and other unambiguous forms: a mail's date, a month by its English name, the year first."""
    with suppress(ValueError):
        return date.fromisoformat(text)
    try:
        return datetime.fromisoformat(text.removesuffix(" UTC"))
    except ValueError:
        if _OF_A_MAIL.match(text):
            return parsedate_to_datetime(text)
        for style in _STYLES:
            with suppress(ValueError):
                parsed = datetime.strptime(text, style).replace(tzinfo=UTC)
                return parsed if "%H" in style else parsed.date()
        raise


_OF_A_MAIL = re.compile(r"(?:[A-Z][a-z]{2}, )?\d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d", re.ASCII)  # RFC 5322 §3.3
_COMPACT = (8, 14)  # 20260301, 20260301093000: as ERP systems write them, and never seconds of our time
_STYLES = (
    "%Y%m%d%H%M%S",
    "%Y/%m/%d",
    "%Y/%m/%d %H:%M",
    "%Y/%m/%d %H:%M:%S",
    "%B %d, %Y",
    "%b %d, %Y",
    "%d %B %Y",
    "%d %b %Y",
)


def _no_time(value: Any) -> FilterArgumentError:
    shown = str(value)[:40]
    return FilterArgumentError(f"{shown!r} is not a time; send ISO 8601, as in 2026-03-01T09:00:00Z", token=None)


@lru_cache(maxsize=_CACHED)
def _date_text(moment: datetime, style: str, zone: str, tag: str) -> str:
    try:
        there = moment.astimezone(ZoneInfo(zone))
    except OverflowError as error:  # the calendar's first and last day, moved over its edge
        raise _no_time(moment) from error
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise FilterArgumentError(
            f"{zone[:40]!r} is not a time zone; use a name like Europe/Berlin", token=None
        ) from error
    locale = locale_of(tag)
    if style in _NAMED:
        return format_date(there, style, locale=locale)
    if style.startswith("datetime_") and style[9:] in _NAMED:
        return format_datetime(there, style[9:], locale=locale)
    if style == "time":
        return format_time(there, "short", locale=locale)
    return _DIRECTIVE.sub(partial(_directive, there, locale), style)


# strftime directives that need a C library's locale; month and day names come from CLDR
_SKELETONS = {"a": "EEE", "A": "EEEE", "b": "MMM", "h": "MMM", "B": "MMMM", "p": "a"}
_PLAIN = frozenset("YmdHIMSjyuwVgGUWzZsDFTReCklLN") | {":z", "::z"}
_WORDS = frozenset("ekl")  # padded with blanks
_FRACTIONS = frozenset("LN")
_EXPANDED = {"D": "%m/%d/%y", "F": "%Y-%m-%d", "T": "%H:%M:%S", "R": "%H:%M"}
_SIGNS = {"%": "%", "n": "\n", "t": "\t"}
# in the locale's own format; `r` and `v` are fixed
_OF_LOCALE: dict[str, Callable[[datetime, Locale], str]] = {
    "c": lambda there, locale: format_datetime(there, "medium", locale=locale),
    "x": lambda there, locale: format_date(there, "short", locale=locale),
    "X": lambda there, locale: format_time(there, "medium", locale=locale),
    "P": lambda there, locale: format_datetime(there, "a", locale=locale).lower(),
    "r": lambda there, locale: _date_text(there, "%I:%M:%S %p", str(there.tzinfo), str(locale)),
    "v": lambda there, locale: _date_text(there, "%e-%^b-%Y", str(there.tzinfo), str(locale)),
}


def is_named(style: str) -> bool:
    """Whether a date's format is one of our names; without a style it is `medium`."""
    return style.removeprefix("datetime_") in _NAMED or style in {"", "time"}


def unknown_directives(style: str) -> list[str]:
    """Return a date format's unknown directives, so that publishing finds them, not sending."""
    letters = {letter for _, _, letter in _DIRECTIVE.findall(style)}
    return sorted(letters - _PLAIN - _SKELETONS.keys() - _SIGNS.keys() - _OF_LOCALE.keys())


def _directive(there: datetime, locale: Locale, found: re.Match[str]) -> str:
    flag, width, letter = found.groups()
    text = _printed(there, locale, flag, letter)
    if not width:
        return text
    if letter in _FRACTIONS:  # %3N: milliseconds
        return text[: int(width)].ljust(int(width), "0")
    return text.rjust(int(width), "0" if letter in _PLAIN - _WORDS and flag != "_" else " ")


def _printed(there: datetime, locale: Locale, flag: str, letter: str) -> str:
    if letter in _SIGNS:
        return _SIGNS[letter]
    if letter in _OF_LOCALE:
        text = _OF_LOCALE[letter](there, locale)
        return _cased(text, flag, letter)
    if letter in _SKELETONS:
        return _cased(format_datetime(there, _SKELETONS[letter], locale=locale), flag, letter)
    if letter not in _PLAIN:
        raise FilterArgumentError(f"the date directive %{letter} is not known", token=None)
    return _unpadded(_digits(there, letter), flag)


def _cased(text: str, flag: str, letter: str) -> str:
    """Apply `^` (capitals) and `#` (the other case: am, but MON)."""
    if flag == "#" and letter == "p":
        return text.lower()
    return text.upper() if flag in {"^", "#"} else text


def _digits(there: datetime, letter: str) -> str:
    match letter:
        case "s":
            return str(int(there.timestamp()))
        case "L":
            return f"{there.microsecond // 1000:03d}"
        case "N":
            return f"{there.microsecond:06d}000"
        case ":z":
            return there.isoformat()[-6:]
        case "::z":
            return there.isoformat()[-6:] + ":00"
        case "g":
            return f"{there.isocalendar().year % 100:02d}"
        case "e" | "k" | "l":
            value = {"e": there.day, "k": there.hour, "l": there.hour % 12 or 12}[letter]
            return f"{value:2d}"
        case "C":
            return f"{there.year // 100:02d}"
        case "Y":
            return str(there.year)
        case _:
            return there.strftime(_EXPANDED.get(letter, "%" + letter))


def _unpadded(text: str, flag: str) -> str:
    match flag:
        case "-":
            return text.lstrip("0 ") or "0"
        case "_":
            stripped = text.lstrip("0")
            return stripped.rjust(len(text))
        case "0":
            return text.replace(" ", "0")
        case _:
            return text


def format_filters(tag: str) -> dict[str, Callable[..., Any]]:
    """Return the filters that format for one locale."""
    return {"money": partial(_money, tag), "number": partial(_number, tag), "date": partial(_date, tag)}
