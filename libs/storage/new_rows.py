"""Inserts of rows that are usually new: first without a conflict check, and with one if a row existed after all.

`on conflict do nothing` looks each key up before it inserts, locks it, and logs that the row may stay: two thirds
more CPU per row than an insert whose whole batch fails if one row exists. That happens on redelivery; then the whole
transaction runs again, with the check.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg

Insert = tuple[str, str]  # without a conflict check, and with one

T = TypeVar("T")


def insert(statement: str) -> Insert:
    """Return an insert of new rows in both forms. `{unless}` marks the place of `on conflict do nothing`."""
    return statement.replace("{unless}", ""), statement.replace("{unless}", "on conflict do nothing")


async def written(transaction: Callable[[bool], Awaitable[T]]) -> T:
    """Return the transaction's result. Its argument says whether to use the inserts with the conflict check. It is
    restarted if a row existed, so its other effects must tolerate that."""
    try:
        return await transaction(False)
    except asyncpg.UniqueViolationError:
        return await transaction(True)
