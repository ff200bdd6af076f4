"""A message whose retries are used up is stored with its reason; replayed after the cause was fixed, it takes effect
exactly once.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from libs.messaging.postgres import MAX_ATTEMPTS
from tests.flows.test_whole_line import ORDER, customer
from tests.flows.whole_suite import Suite, open_shop, whole_suite

LETTERS = "/orders-notification/v1/dead-letters"
OWED = "orders_notification.outbox_delivery"


@pytest.fixture
async def suite(database: str, tmp_path: Path) -> AsyncIterator[Suite]:
    async with whole_suite(database, tmp_path) as running:
        await open_shop(running)
        await customer(running)
        yield running


@pytest.fixture
async def owner(database: str) -> AsyncIterator[asyncpg.Connection]:
    """Connect as the database's owner."""
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close()


async def mails(suite: Suite) -> list[Any]:
    async with httpx.AsyncClient(base_url=suite.simulator.endpoints.control_url, timeout=60, verify=False) as control:
        return list((await control.get("messages", params={"to": "ada@mail.example"})).json()["items"])


async def letters(suite: Suite) -> list[Any]:
    return list((await suite.get(LETTERS, type="notification.requested"))["items"])


async def test_a_notification_that_nobody_could_store_is_sent_once_when_it_is_replayed(
    suite: Suite, owner: asyncpg.Connection
) -> None:
    # a fault that is no outage: the same at each attempt, however long one waits
    await owner.execute("alter table delivery.request add constraint planted check (false) not valid")
    await suite.send("order.placed", "e-1", "B-1", ORDER)

    async def given_up() -> Any:
        await owner.execute(f"update {OWED} set due_at = now()")
        return await letters(suite)

    (letter,) = await suite.eventually(given_up)
    assert (letter["subscriber"], letter["attempts"]) == ("delivery", MAX_ATTEMPTS)
    assert "planted" in letter["reason"]
    assert await mails(suite) == []

    # replayed too early, it gets all its attempts again and ends as before
    assert (await suite.post(f"{LETTERS}:replay", {"ids": [letter["id"]]}))["count"] == 1
    (again,) = await suite.eventually(given_up)
    assert (again["event_id"], again["attempts"]) == (letter["event_id"], MAX_ATTEMPTS)
    assert again["id"] != letter["id"]

    await owner.execute("alter table delivery.request drop constraint planted")
    twin = "insert into orders_notification.dead_letter select (jsonb_populate_record(d, $1)).* from "
    twin += "orders_notification.dead_letter d"
    await owner.execute(twin, '{"id": "0193c8a4-2f11-7d52-9b0e-0d6a3c6f1b2a"}')  # a broker may give up twice
    asked = {"subscriber": "delivery", "reason": "planted", "limit": 1}
    assert (await suite.post(f"{LETTERS}:replay", asked))["count"] == 1
    await suite.eventually(lambda: mails(suite))
    assert (await suite.post(f"{LETTERS}:replay", asked))["count"] == 1
    assert (await suite.post(f"{LETTERS}:replay", asked))["count"] == 0
    await suite.drained()
    assert await letters(suite) == []
    assert await owner.fetchval("select count(*) from delivery.request") == 1
    assert await owner.fetchval("select count(*) from delivery.message") == 1

    async def told() -> Any:
        answer = await suite.get("/history/v1/why", order="B-1")
        return answer["verdict"] == "sent" and answer

    await suite.eventually(told)
    assert len(await mails(suite)) == 1
