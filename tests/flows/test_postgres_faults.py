"""What a service reports while Postgres answers, and cannot do its work: never a bug, always "try again"."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import asyncpg
import pytest

from libs.contracts.envelope import Envelope
from libs.contracts.outcomes import Mode
from libs.contracts.tokens import RecipientErased
from libs.errors import Unavailable
from libs.messaging import delivering
from libs.messaging.bus import Subscriber
from libs.messaging.reading import Entry
from libs.storage.database import Collided, Database
from tests.conftest import by_role
from tests.waiting import eventually

_WRITE = "insert into probe (id) values ($1)"


@pytest.fixture
async def owner(database: str) -> AsyncIterator[asyncpg.Connection]:
    """The owner's connection, and a table that the service may write to."""
    connection = await asyncpg.connect(database)
    await connection.execute("create table access.probe (id int primary key, at int)")
    await connection.execute("grant all on access.probe to public")
    yield connection
    await connection.close()


@pytest.fixture
async def store(database: str, owner: asyncpg.Connection) -> AsyncIterator[Database]:
    store = Database(by_role(database, "access"), "access", max_size=2)
    await store.open()
    yield store
    await store.close()


async def opened(store: Database) -> bool:
    """Open it, if the server is fast enough for its time-out at the moment."""
    try:
        await store.open()
    except Unavailable:
        return False
    return True


async def written(store: Database, id_: int) -> None:
    async with store.transaction() as connection:
        await connection.execute(_WRITE, id_)


async def test_after_a_failover_the_old_primary_is_left(store: Database, owner: asyncpg.Connection) -> None:
    await written(store, 1)
    # the server becomes a standby: whoever is connected now can only read, and later connections reach the new primary
    async with store.acquire() as one, store.acquire() as other:
        for connection in (one, other):
            await connection.execute("set default_transaction_read_only = on")
    with pytest.raises(Unavailable):
        await written(store, 2)
    for id_ in (3, 4):
        await written(store, id_)
    assert [row["id"] for row in await owner.fetch("select id from access.probe order by id")] == [1, 3, 4]


async def test_a_deadlock_is_no_bug_and_nothing_of_it_is_stored(store: Database, owner: asyncpg.Connection) -> None:
    await written(store, 1)
    await written(store, 2)
    both = asyncio.Barrier(2)

    async def crossing(first: int, second: int) -> None:
        async with store.transaction() as connection:
            await connection.execute("update probe set at = $1 where id = $1", first)
            await both.wait()
            await connection.execute("update probe set at = $2 where id = $1", second, first)

    ended = await asyncio.gather(crossing(1, 2), crossing(2, 1), return_exceptions=True)
    (failed,) = [error for error in ended if error is not None]
    assert isinstance(failed, Collided)
    assert len({row["at"] for row in await owner.fetch("select at from access.probe")}) == 1


async def test_a_statement_that_somebody_cancelled_is_tried_again(store: Database) -> None:
    async def cut_off() -> None:
        async with store.transaction() as connection:
            await connection.execute("set local statement_timeout = '1ms'")
            await connection.execute("select pg_sleep(60)")

    with pytest.raises(Unavailable):
        await cut_off()


async def test_an_event_whose_handler_waits_for_a_lock_is_retried_like_in_an_outage(
    store: Database, owner: asyncpg.Connection
) -> None:
    """Somebody rewrites the table, for minutes."""
    brief = replace(store, statement_timeout_seconds=0.2, _pool=None)
    assert store.statement_timeout_seconds < delivering.HANDLER_SECONDS
    await eventually(lambda: opened(brief), 120)

    async def handle(_: Sequence[Envelope]) -> None:
        await written(brief, 1)

    now = datetime.now(UTC)
    event = RecipientErased(recipient="customer:1", at=now)
    envelope = Envelope(
        id=uuid4(), type=event.TYPE, source=event.SOURCE, time=now, tenant=1, mode=Mode.LIVE, key="k", data=event
    )
    async with owner.transaction():
        await owner.execute("lock table access.probe in access exclusive mode")
        subscriber = Subscriber("access", event.TYPE, handle)
        ((_, failure),) = await delivering.deliver(subscriber, [Entry({"entries": 1}, 0, envelope)])
    await brief.close()
    assert failure.outage
