"""Arithmetic in templates on exact numbers: 19.90 × 2 is 39.80, never 39.800000000000004 and never 0."""

from collections.abc import Callable, Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal, DecimalException
from typing import Any

from liquid import Undefined
from liquid.exceptions import FilterArgumentError

from libs.rendering.limits import MAX_DIGITS
from libs.rendering.meter import METER

Number = int | Decimal
_TOO_LARGE = 10**MAX_DIGITS


def number(value: Any) -> Number:
    """Return a value as an exact number; texts like "19.90" count, an empty or missing value is 0."""
    match value:
        case bool():
            raise _no_number(value)
        case int():
            return _bounded(value)
        case Decimal():
            return _bounded(value)
        case float():
            return _bounded(Decimal(repr(value)))
        case str():
            return _parsed(value)
        case None:
            return 0
        case Undefined():
            str(value)  # raises if it must not be missing
            return 0
        case _:
            raise _no_number(value)


def _parsed(text: str) -> Number:
    stripped = text.strip()
    if len(stripped) > MAX_DIGITS:
        raise _no_number(text)
    try:
        parsed = Decimal(stripped or "0")
    except DecimalException as error:
        raise _no_number(text) from error
    return _bounded(int(parsed) if stripped.lstrip("+-").isdecimal() else parsed)


def _bounded(value: Number) -> Number:
    if isinstance(value, Decimal):
        if not value.is_finite() or abs(value.adjusted()) > MAX_DIGITS:
            raise _no_number(value)
    elif abs(value) >= _TOO_LARGE:
        raise FilterArgumentError(f"a number has more than {MAX_DIGITS} digits", token=None)
    return value


def _no_number(value: Any) -> FilterArgumentError:
    return FilterArgumentError(f"{str(value)[:40]!r} is not a number", token=None)


def _two(operation: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Number]:
    def calculated(left: Any, right: Any) -> Number:
        try:
            return _bounded(operation(number(left), number(right)))
        except (DecimalException, ZeroDivisionError) as error:
            raise FilterArgumentError("division by zero", token=None) from error

    return calculated


def _divided(left: Number, right: Number) -> Number:
    # as in Shopify's Liquid: integers divide to an integer
    if isinstance(left, int) and isinstance(right, int):
        return left // right
    return Decimal(left) / Decimal(right)


def _modulo(left: Number, right: Number) -> Number:
    # the remainder has the divisor's sign, as in Ruby; Decimal's own // truncates towards zero
    if isinstance(left, int) and isinstance(right, int):
        return left % right
    return left - right * (Decimal(left) / Decimal(right)).to_integral_value(rounding=ROUND_FLOOR)


def _rounded(value: Any, digits: Any = 0) -> Number:
    places = int(number(digits))
    if not -MAX_DIGITS <= places <= 20:
        raise FilterArgumentError("round accepts at most 20 places", token=None)
    exact = Decimal(number(value)).quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP)
    return exact if places > 0 else int(exact)


def _ceil(value: Any) -> Number:
    return int(Decimal(number(value)).to_integral_value(rounding=ROUND_CEILING))


def _floor(value: Any) -> Number:
    return int(Decimal(number(value)).to_integral_value(rounding=ROUND_FLOOR))


def _sum(items: Any, key: Any = None) -> Number:
    """Sum a list's numbers, or the values under `key` of its objects; nested lists count as their items."""
    if isinstance(items, list | tuple | range):
        METER.spend(len(items), "its filters")
        return _bounded(sum(_sum(item, key) for item in items))
    if key is None or not isinstance(items, Mapping):
        return number(items)
    return number(items.get(key))


NUMBER_FILTERS: dict[str, Callable[..., Any]] = {
    "plus": _two(lambda left, right: left + right),
    "minus": _two(lambda left, right: left - right),
    "times": _two(lambda left, right: left * right),
    "divided_by": _two(_divided),
    "modulo": _two(_modulo),
    "at_least": _two(max),
    "at_most": _two(min),
    "abs": lambda value: abs(number(value)),
    "ceil": _ceil,
    "floor": _floor,
    "round": _rounded,
    "sum": _sum,
}
