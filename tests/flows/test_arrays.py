"""Arrays reach Postgres from any collection, and nothing checks each of their elements for being one too."""

from collections import deque
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest

from libs.storage.database import Database
from tests.flows.test_relay import access

__all__ = ["access"]

_SUM = "select sum(n)::int from unnest($1::bigint[]) as n"


class Looked(int):
    """A number that Python's abstract classes take for a collection."""

    def __iter__(self) -> Iterator[Any]:
        raise AssertionError("it was asked for what is in it")

    def __len__(self) -> int:
        raise AssertionError("it was asked how much is in it")


ARRAYS: list[Any] = [
    [1, 2],
    (1, 2),
    {1, 2},
    frozenset((1, 2)),
    deque((1, 2)),
    range(1, 3),
    {1: 3, 2: 4}.keys(),
    {3: 1, 4: 2}.values(),
]


async def test_whatever_holds_an_array(access: Database) -> None:
    for held in ARRAYS:
        async with access.acquire() as connection:
            assert await connection.fetchval(_SUM, held) == 3, held
            assert (await connection.fetch(_SUM, held))[0][0] == (await connection.fetchrow(_SUM, held))[0] == 3, held
            assert await connection.execute("select unnest($1::bigint[])", held) == "SELECT 2", held


async def test_arrays_of_arrays_and_of_nothing(access: Database) -> None:
    async with access.acquire() as connection:
        assert await connection.fetchval(_SUM, [[1, 2], [3, 4]]) == 10
        assert await connection.fetchval("select cardinality($1::text[])", [None, "a", ""]) == 3
        assert await connection.fetchval("select cardinality($1::text[])", ()) == 0


async def test_elements_are_not_looked_into(access: Database) -> None:
    async with access.acquire() as connection:
        assert await connection.fetchval(_SUM, [Looked(1), Looked(2)]) == 3


async def test_what_is_no_array_is_refused(access: Database) -> None:
    async with access.acquire() as connection:
        with pytest.raises(asyncpg.DataError, match="sized iterable container"):
            await connection.fetchval(_SUM, 5)
