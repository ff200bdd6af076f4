"""Rows that are new as a rule: inserted without a look, and with one where a row was there after all.

`on conflict do nothing` looks each key up before it inserts, takes a lock for it, and logs that the row may stay: two
thirds more CPU a row than an insert that fails on its whole batch when one of it is there. That happens when something
is delivered again; then all of the transaction is done again, with the look.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg

Insert = tuple[str, str]  # without a look, and with one

T = TypeVar("T")


def insert(statement: str) -> Insert:
    """An insert of new rows, both ways. `{unless}` stands where `on conflict do nothing` goes."""
    return statement.replace("{unless}", ""), statement.replace("{unless}", "on conflict do nothing")


async def written(transaction: Callable[[bool], Awaitable[T]]) -> T:
    """What the transaction gives; it is told whether to look: which of its inserts' two ways to take. It is begun anew
    when a row was there, so whatever else it does must bear that."""
    try:
        return await transaction(False)
    except asyncpg.UniqueViolationError:
        return await transaction(True)
