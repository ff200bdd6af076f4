"""Actions about one object are found, and erased with a person, by an index, among however many others."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from libs.ids import uuid7
from libs.storage.database import Database
from services.history.adapters.postgres import audit
from services.history.adapters.postgres.days import PostgresDays

MANY = """
insert into document (id, at, type, tenant, mode, actor, action, object, body)
select id, now(), 1, 1, 1, 'key-1', 'recipient.change', 'customer:' || n, '{}'
from unnest($1::uuid[]) with ordinality as i (id, n)
"""


@pytest.fixture
async def connection(database: str) -> AsyncIterator[Any]:
    opened = Database(database, "history")
    await opened.open()
    assert await PostgresDays(opened).keep(datetime.now(UTC), 3, 90)  # this week's partitions, as the upkeep makes them
    await opened.close()
    settings = {"search_path": "history", "plan_cache_mode": "force_generic_plan"}
    made = await asyncpg.connect(database, server_settings=settings)
    await made.execute(MANY, [uuid7() for _ in range(20_000)])
    await made.execute("analyze document")
    yield made
    await made.close()


@pytest.mark.parametrize(
    ("statement", "values"),
    [
        (audit._ACTIONS_ABOUT, "1, 1, 100, null, null, 'customer:7', null, null"),
        (audit._FORGET_ACTIONS, "'{1}', '{1}', '{customer:7}'"),
    ],
)
async def test_only_the_actions_about_an_object_are_read(connection: Any, statement: str, values: str) -> None:
    await connection.execute(f"prepare asked as {statement}")
    plan = [row[0] for row in await connection.fetch(f"explain execute asked({values})")]
    found = [line for line in plan if "Index Cond" in line and "hashtextextended(object" in line]
    assert found, "\n".join(plan)
