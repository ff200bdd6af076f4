"""What relays do many times a second is cheap: one poll covers the outboxes of all services of a process, no relay
polls right after another has, and delivered rows are deleted without waiting.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from libs.contracts.access import TenantChanged
from libs.errors import Unavailable
from libs.messaging.lookout import Lookout
from libs.messaging.outbox import LANES, SECOND_LANE, Outgoing, append
from libs.messaging.postgres import _DONE
from libs.storage.database import Database

HOUR = 3_600.0
_OWE = """
insert into outbox_delivery (outbox_id, subscriber, attempts, due_at) select id, 'x', 1, now() + $1 from outbox
"""


@pytest.fixture
async def services(database: str) -> AsyncIterator[list[Database]]:
    opened = [Database(database, schema) for schema in ("access", "bounce", "tokens")]
    for one in opened:
        await one.open()
    yield opened
    for one in opened:
        await one.close()


class Away(Database):
    """Its server does not answer."""

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Any]:
        raise Unavailable("Postgres does not answer.")
        yield


async def publish(database: Database, lane: int | None = None) -> None:
    event = TenantChanged(number=1, name="Shop", default_locale="de", version=1)
    async with database.transaction() as connection:
        await append(connection, [Outgoing(event, key="1", tenant=1, mode=1, lane=lane)])


def watched(lookout: Lookout, database: Database) -> list[asyncio.Event]:
    waiting = [asyncio.Event() for _ in (*LANES, "owed")]
    lookout.add(database, waiting)
    return waiting


def seen(waiting: list[asyncio.Event]) -> list[bool]:
    return [event.is_set() for event in waiting]


async def test_a_look_tells_every_service_what_waits_for_it(services: list[Database]) -> None:
    lookout = Lookout()
    access, bounce, tokens = (watched(lookout, one) for one in services)
    await publish(services[1])
    await publish(services[2], SECOND_LANE)
    await lookout.look(services[0], HOUR)
    assert (seen(access), seen(bounce), seen(tokens)) == ([False] * 3, [True, False, False], [False, True, False])


async def test_what_is_owed_is_seen_when_it_is_due(services: list[Database]) -> None:
    lookout = Lookout()
    access, bounce, _ = (watched(lookout, one) for one in services)
    await publish(services[1])
    async with services[1].acquire() as connection:
        await connection.execute("update outbox set published_at = now()")
        await connection.execute(_OWE, timedelta(hours=1))
    await lookout.look(services[0], 0.0)
    assert seen(bounce) == [False] * 3
    async with services[1].acquire() as connection:
        await connection.execute("update outbox_delivery set due_at = now()")
    await lookout.look(services[0], 0.0)
    assert (seen(access), seen(bounce)) == ([False] * 3, [False, False, True])


async def test_nobody_looks_right_after_another(services: list[Database]) -> None:
    lookout = Lookout()
    _, bounce, _ = (watched(lookout, one) for one in services)
    await lookout.look(services[0], HOUR)
    await publish(services[1])
    await lookout.look(services[1], HOUR)
    assert seen(bounce) == [False] * 3
    await lookout.look(services[2], 0.0)
    assert seen(bounce) == [True, False, False]


async def test_who_comes_later_is_looked_for_at_once(services: list[Database]) -> None:
    lookout = Lookout()
    watched(lookout, services[0])
    await lookout.look(services[0], HOUR)
    await publish(services[1])
    bounce = watched(lookout, services[1])
    await lookout.look(services[0], HOUR)
    assert seen(bounce) == [True, False, False]


async def test_a_look_that_failed_is_none(services: list[Database]) -> None:
    lookout = Lookout()
    _, bounce, _ = (watched(lookout, one) for one in services)
    await publish(services[1])
    away = Away(services[0].dsn, services[0].schema)
    with pytest.raises(Unavailable):
        await lookout.look(away, HOUR)
    await lookout.look(services[1], HOUR)
    assert seen(bounce) == [True, False, False]


async def test_who_has_left_is_not_looked_for(services: list[Database]) -> None:
    lookout = Lookout()
    _, bounce, _ = (watched(lookout, one) for one in services)
    lookout.remove(services[1])
    await publish(services[1])
    await lookout.look(services[0], 0.0)
    assert seen(bounce) == [False] * 3


async def test_taking_rows_off_need_not_wait_for_the_disk(services: list[Database]) -> None:
    access = services[0]
    await publish(access)
    await publish(access)
    async with access.transaction() as connection:
        first = await connection.fetchval("select ctid from outbox order by id limit 1")
        plan = [row[0] for row in await connection.fetch("explain " + _DONE.replace("$1", "array['(0,1)'::tid]"))]
        assert any("Tid Scan" in line for line in plan), plan
        await connection.execute("set local synchronous_commit = on")
        await connection.execute(_DONE, [first])
        assert await connection.fetchval("show synchronous_commit") == "off"
        assert await connection.fetchval("select count(*) from outbox") == 1
