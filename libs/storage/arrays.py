"""Make asyncpg recognise arrays by their type.

For every element of an array, asyncpg checks whether it is an array too, through Python's abstract classes: that
costs several times what writing the element does (docs/adr/0219). Here an array is a list or a tuple, a cheap check;
a set, a range or the keys of a dictionary becomes a list before it is passed.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any

from asyncpg.protocol import protocol

_OTHERS = frozenset({set, frozenset, deque, range, type({}.keys()), type({}.values())})


def tell_arrays_by_type() -> None:
    """For all connections of the process. Anything but a list or tuple then raises asyncpg.DataError as an array."""
    protocol.IterableABC, protocol.SizedABC, protocol.MappingABC = (list, tuple), object, dict


def with_arrays(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a statement's arguments with other collections turned into lists."""
    if _OTHERS.isdisjoint(map(type, arguments)):
        return arguments
    return tuple(list(one) if type(one) in _OTHERS else one for one in arguments)


def columns(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Transpose rows to the arrays that unnest takes, one per column."""
    return [list(column) for column in zip(*rows, strict=True)]
