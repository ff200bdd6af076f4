"""Arrays for Postgres, told by their type.

asyncpg asks of every element of an array whether it is an array too, and asks Python's abstract classes: that costs
several times what writing the element does (docs/adr/0219). Here an array is a list or a tuple, which can be asked at
once; a set, a range or the keys of a dictionary becomes a list before it is passed.
"""

from collections import deque
from typing import Any

from asyncpg.protocol import protocol

_OTHERS = frozenset({set, frozenset, deque, range, type({}.keys()), type({}.values())})


def tell_arrays_by_type() -> None:
    """For all connections of the process. What is no list or tuple is refused as no array, with asyncpg.DataError."""
    protocol.IterableABC, protocol.SizedABC = (list, tuple), object


def with_arrays(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """A statement's arguments, other collections as lists."""
    if _OTHERS.isdisjoint(map(type, arguments)):
        return arguments
    return tuple(list(one) if type(one) in _OTHERS else one for one in arguments)
