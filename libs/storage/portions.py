"""Deletes old rows in portions: one statement over all of them would exceed the statement timeout every time."""

from typing import Any

from libs.storage.database import Database

PORTION = 5_000


async def in_portions(database: Database, statement: str, *arguments: Any, portion: int = PORTION) -> int:
    """Run the statement until it changes fewer than `portion` rows; each run commits by itself.

    `portion` is passed as the statement's last parameter and has to limit its rows. Return the number of rows changed.
    """
    total, changed = 0, portion
    while changed == portion:
        async with database.acquire() as connection:
            changed = int((await connection.execute(statement, *arguments, portion)).rpartition(" ")[2])
        total += changed
    return total
