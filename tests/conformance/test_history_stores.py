"""History's stores in Postgres: the shared promises, then weekly partitions and columns."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest

from libs.contracts.orders_notification import Decision
from libs.contracts.outcomes import Mode, Status
from libs.storage.database import Database
from services.history.adapters.postgres import (
    SERVER_SETTINGS,
    PostgresAudit,
    PostgresDays,
    PostgresRecords,
    PostgresTimeline,
    Terms,
)
from tests.conformance.audit_promises import AuditSearchPromises
from tests.conformance.history_events import (
    KIM,
    MESSAGE,
    NOON,
    SENT,
    decided,
    moved,
    recorded,
)
from tests.conformance.history_promises import AuditPromises, TimelinePromises, search
from tests.conftest import by_role


@pytest.fixture
async def database(database: str) -> AsyncIterator[Database]:
    made = Database(by_role(database, "history"), "history", server_settings=SERVER_SETTINGS)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
def timeline(database: Database) -> PostgresTimeline:
    return PostgresTimeline(database, Terms(database))


@pytest.fixture
def audit(database: Database) -> PostgresAudit:
    terms = Terms(database)
    return PostgresAudit(database, terms, PostgresRecords(database, 10.0), PostgresTimeline(database, terms))


class TestPostgresTimeline(TimelinePromises):
    """The column-based timeline."""


class TestPostgresAudit(AuditPromises, AuditSearchPromises):
    """The column-based audit."""


async def test_new_week_partitions_take_over_existing_rows_and_old_ones_are_dropped(
    database: Database, timeline: PostgresTimeline
) -> None:
    await timeline.record_messages([SENT])
    days = PostgresDays(database)
    made = await days.keep(NOON, 3, 30)
    assert "transition_20270301" in made
    assert await days.keep(NOON, 3, 30) == []
    async with database.acquire() as connection:
        assert await connection.fetchval("select count(*) from transition_20270301") == 1
        assert await connection.fetchval("select count(*) from transition_default") == 0
    assert len(await timeline.messages(search(recipient=KIM))) == 1
    gone = await days.keep(NOON + timedelta(days=36, hours=11), 3, 30)
    assert "transition_20270222" in gone
    assert len(await timeline.messages(search(recipient=KIM))) == 1
    assert "transition_20270301" in await days.keep(NOON + timedelta(days=37), 3, 30)
    assert await timeline.messages(search(recipient=KIM)) == []
    await timeline.record_messages([SENT])  # delivered again, after its week is gone
    await days.keep(NOON + timedelta(days=37), 3, 30)
    async with database.acquire() as connection:
        assert await connection.fetchval("select count(*) from transition") == 0, "it names a customer"


async def test_erasure_during_a_write_leaves_no_recipient_in_its_rows(
    database: Database, timeline: PostgresTimeline, audit: PostgresAudit
) -> None:
    """The writer has checked for erasures but has not inserted its rows yet."""
    erased = [(1, Mode.LIVE, KIM, NOON + timedelta(hours=1))]
    asked = decided(Decision(communication="parcel-shipped", outcome="requested", recipient=KIM))
    for table, write, forget in (
        ("request", timeline.record_messages([SENT]), timeline.forget),
        ("decision", audit.record_decisions([asked]), audit.forget),
    ):
        async with database.transaction() as connection:
            await connection.execute(f"lock table {table} in share mode")
            writing = asyncio.create_task(write)
            await asyncio.sleep(0.1)
            erasing = asyncio.create_task(forget(erased))
            await asyncio.wait([erasing], timeout=0.2)
        await asyncio.gather(writing, erasing)
        async with database.transaction() as connection:
            await connection.execute("delete from erased")
    assert await timeline.messages(search(recipient=KIM)) == []
    assert await audit.decisions(search(recipient=KIM)) == []


async def test_lookups_use_indexes_in_every_week(database: Database, timeline: PostgresTimeline) -> None:
    await PostgresDays(database).keep(NOON, 3, 30)
    await timeline.record_messages([SENT])
    async with database.acquire() as connection:
        plan = await connection.fetch(
            "explain select * from transition where hashtextextended(recipient, 0) = hashtextextended($1, 0)", KIM
        )
    text = "\n".join(row[0] for row in plan)
    assert "Seq Scan" not in text
    assert text.count("Index") >= 3


async def test_interned_words_survive_a_failed_transaction(database: Database, timeline: PostgresTimeline) -> None:
    broken = recorded(moved(Status.SENDING, Status.SENT, address_id=2**70))
    with pytest.raises((asyncpg.PostgresError, asyncpg.DataError, OverflowError)):
        await timeline.record_messages([broken])
    await timeline.record_messages([SENT])
    assert (await timeline.messages(search(message=MESSAGE)))[0].communication == "parcel-shipped"
