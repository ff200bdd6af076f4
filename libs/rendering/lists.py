"""The filters on lists where the library that parses our templates differs from Shopify's Liquid, or takes too long."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from liquid import Environment, Undefined
from liquid.builtin.filters.array import concat, join, map_
from liquid.exceptions import FilterArgumentError
from liquid.filter import sequence_filter, with_environment

from libs import exact_json
from libs.rendering.meter import METER
from libs.rendering.numbers import number
from libs.rendering.values import stringify

LISTS = (list, tuple, range)
ON_LISTS = frozenset("compact concat find find_index has map reject reverse sort sort_natural uniq where".split())


def flat(items: Iterable[Any]) -> Iterator[Any]:
    """Yield the items of a list and of the lists in it, as Liquid joins them."""
    for item in items:
        if isinstance(item, LISTS):
            METER.spend(len(item), "its filters")
            yield from flat(item)
        else:
            yield item


def as_text(value: Any) -> Any:
    """Return a filter's operand as Liquid reads it in a text: true, never True; nothing, never None. Integers stay."""
    return value if isinstance(value, str | Undefined) or type(value) is int else stringify(value)


@with_environment
def _join(items: Any, separator: Any = " ", *, environment: Environment) -> Any:
    listed = [as_text(item) for item in flat(items)] if isinstance(items, LISTS) else as_text(items)
    return join(listed, as_text(separator), environment=environment)


def _map(items: Any, key: Any) -> Any:
    made = map_(items, key)
    # what an item lacks is null here, too: the library has its own null
    return [None if item == None else item for item in made] if isinstance(made, list) else made  # noqa: E711


def _concat(first: Any, second: Any) -> Any:
    if second is None:
        second = []
    if not isinstance(second, list | tuple):
        raise FilterArgumentError("concat needs a list", token=None)  # the library fails while creating this error
    return concat(first, second)


@sequence_filter
def _uniq(items: Any, key: Any = None) -> list[Any]:
    """Keep the first of equal items, in linear time: the library's compares each with each."""
    kept: dict[Any, Any] = {}
    for item in items:
        compared = item.get(key) if key is not None and isinstance(item, Mapping) else item
        simple = isinstance(compared, str | int | Decimal | None)
        kept.setdefault((type(compared) is bool, compared) if simple else exact_json.dumps(compared), item)
    return list(kept.values())


def _field(item: Any, key: Any) -> Any:
    """Return what is sorted or kept by: the item itself without a key, or its field, None if it has none."""
    if key is None or isinstance(key, Undefined):
        return item
    if isinstance(item, int | Decimal):
        raise FilterArgumentError("a number has no fields", token=None)
    return item.get(key) if isinstance(item, Mapping) else None


@sequence_filter
def _compact(items: Any, key: Any = None) -> list[Any]:
    return [item for item in items if _field(item, key) is not None]


def _sorted(items: Any, key: Any, ordered_by: Callable[[Any], Any]) -> list[Any]:
    """Sort a list, or its objects by a field; what is null or lacks the field comes last, as in Shopify."""
    known = [item for item in items if _field(item, key) is not None]
    try:
        known.sort(key=lambda item: ordered_by(_field(item, key)))
    except TypeError as error:
        raise FilterArgumentError("cannot sort values of different types", token=None) from error
    return known + [item for item in items if _field(item, key) is None]


@sequence_filter
def _sort(items: Any, key: Any = None) -> list[Any]:
    return _sorted(items, key, lambda value: value)


@sequence_filter
def _sort_natural(items: Any, key: Any = None) -> list[Any]:
    return _sorted(items, key, lambda value: stringify(value).lower())


def _slice(value: Any, start: Any, length: Any = 1) -> Any:
    """Return a part of a text or a list, as Ruby does: nothing if it would begin before the first character or item."""
    if isinstance(start, Undefined):
        raise FilterArgumentError("slice needs a number, which is missing", token=None)
    whole = value if isinstance(value, (*LISTS, str)) else stringify(value)
    count = 1 if isinstance(length, Undefined) else int(number(length))
    begin = int(number(start))
    begin += len(whole) if begin < 0 else 0
    part = whole[begin : begin + count] if begin >= 0 and count > 0 else whole[:0]
    return list(part) if isinstance(part, range) else part


LIST_FILTERS: dict[str, Callable[..., Any]] = {
    "compact": _compact,
    "concat": _concat,
    "join": _join,
    "map": _map,
    "slice": _slice,
    "sort": _sort,
    "sort_natural": _sort_natural,
    "uniq": _uniq,
}
