"""Range partitions by ids that carry time."""

from typing import Any
from uuid import UUID


async def add_partition(
    connection: Any, table: str, name: str, between: tuple[UUID, UUID], *, default_key: str | None = None
) -> None:
    """Create a partition of `table` for ids from the first on, below the second; call it inside a transaction.

    `default_key`: the partition key of a table that has a default partition. Rows that arrived there while this
    partition was missing move into it: they would keep it from being attached.
    """
    low, high = between
    await connection.execute(f"create table {name} (like {table} including all)")
    if default_key is not None:
        await connection.execute(
            f"with moved as (delete from {table}_default where {default_key} >= '{low}' and {default_key} < '{high}'"  # noqa: S608
            f" returning *) insert into {name} select * from moved"
        )
    await connection.execute(f"alter table {table} attach partition {name} for values from ('{low}') to ('{high}')")
