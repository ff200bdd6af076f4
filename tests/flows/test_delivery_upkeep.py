"""The ledger's maintenance: impossible states are found, expired data is deleted, a slice at a time."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest

from libs.ids import first_id_at
from services.delivery.adapters.postgres import partitions
from services.delivery.adapters.postgres.ledger import PostgresLedger
from services.delivery.adapters.postgres.partitions import PostgresPartitions
from services.delivery.domain.intake import new_request
from tests.flows.delivery_world import KEYRING, World, now, requested

SENT = 2


async def lost(world: World, *ages: int) -> None:
    """Create open requests without work, of the given ages in days."""
    release = await world.release(["push"])
    for days in ages:
        envelope = await world.request(release, ["customer:1"])
        await world.execute("delete from work where request_id = $1", envelope.data.request_id)
        await world.execute(
            "update request set received_at = received_at - $2 * interval '1 day' where id = $1",
            envelope.data.request_id,
            days,
        )


async def test_an_open_request_without_work_is_found_within_a_round_of_looks(world: World) -> None:
    """Each check covers the last hour and one older day: a request of any age is found, and reported until the next
    round."""
    await lost(world, 0, 0, 5, 89)
    days = PostgresPartitions(world.database, now, retention_days=90, body_days=30)
    found = [(await days.always_empty(turn))["open_requests_without_work"] for turn in range(92)]
    assert (found[0], found[3], found[4], found[87], found[88]) == (2, 2, 3, 3, 4)
    assert (await days.always_empty())["open_requests_without_work"] == 4
    await world.execute("delete from request")
    assert [(await days.always_empty(turn))["open_requests_without_work"] for turn in range(92)][-1] == 0


@pytest.mark.parametrize("statement", [partitions._LOST, partitions._WIPE])
async def test_upkeep_walks_no_further_than_its_slice(world: World, statement: str) -> None:
    values = [now(), now()] if statement is partitions._LOST else [now(), UUID(int=0), now(), 10, now(), now()]
    plan = "\n".join(row[0] for row in await world.fetch(f"explain {statement}", *values))
    assert "Seq Scan on request" not in plan
    assert "request_received_at_idx" in plan


async def a_day_of_old(world: World, requests: int) -> PostgresPartitions:
    """Sent three days ago, and due to be dropped: the ledger keeps one day."""
    release = await world.release(["push"])
    world.tokens.add("customer:1", "push")
    cause = first_id_at(now() - timedelta(days=3))
    for part in range(requests):
        envelope = requested(release, ["customer:1", f"customer:nobody-{part}"], now(), cause=cause, part=part)
        await world.ledger.accept([new_request(envelope, KEYRING)])
    await world.send_all()
    return PostgresPartitions(world.database, now, retention_days=1, body_days=1)


async def test_an_old_day_is_dropped_and_its_sums_are_kept_however_long_that_takes(world: World, database: str) -> None:
    days = await a_day_of_old(world, 3)
    connection = await asyncpg.connect(database)
    await connection.execute(
        "create function delivery.slowly() returns trigger language plpgsql as"
        " $$ begin perform pg_sleep(1.4); return old; end $$;"
        "create trigger slowly before delete on delivery.request for each row execute function delivery.slowly()"
    )
    await connection.close()
    impatient = replace(world.database, statement_timeout_seconds=4.0, _pool=None)
    await impatient.open()
    try:
        assert await replace(days, database=impatient).retire() == 1
    finally:
        await impatient.close()
    sums = await world.fetch("select requests, recipients, sent, skipped from daily")
    assert [tuple(row) for row in sums] == [(3, 6, 1, 5)]  # the first one's; the others learn that it has them
    assert await world.value("select count(*) from request") == await world.value("select count(*) from message") == 0


async def test_the_oldest_day_of_the_retention_stays_whole(world: World) -> None:
    """What came late is still sent on that day, and found afterwards."""
    noon = now().replace(hour=12)
    # what is stored at noon is due then, also if the tests run in the morning
    world = World(world.database, lambda: noon)
    release = await world.release(["push"])
    world.tokens.add("customer:1", "push")
    cause = first_id_at(noon.replace(hour=0, minute=1) - timedelta(days=1))
    ledger = PostgresLedger(world.database, lambda: noon, KEYRING, retention_days=1)
    await ledger.accept([new_request(requested(release, ["customer:1"], now(), cause=cause), KEYRING)])
    await world.send_all()
    assert await world.statuses() == {(SENT, 0): 1}
    for later, dropped in ((0, 0), (1, 1)):
        at = noon + timedelta(days=later)
        days = PostgresPartitions(world.database, lambda at=at: at, retention_days=1, body_days=1)
        assert await days.retire() == dropped
        assert await world.value("select count(*) from message") == 1 - dropped


async def test_a_day_that_is_being_read_is_dropped_later_and_keeps_nobody_waiting(world: World) -> None:
    days = await a_day_of_old(world, 1)
    async with world.database.transaction() as reading:
        await reading.fetch("select from message limit 1")
        assert await days.retire() == 0
    assert await world.value("select count(*) from request") == 1
    assert await days.retire() == 1


async def test_callbacks_and_replies_are_forgotten_by_age_however_many_came_together(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "_STEP", 10)
    tables = {
        "receipt": ("event_id", ", notification_id, address_id, attempt, kind", ", gen_random_uuid(), 1, 1, 1"),
        "reply": ("event_id", "", ""),
        "nonce": ("nonce", ", body", ", ''"),
    }
    for table, (key, others, rest) in tables.items():
        columns = f"provider, {key}, at{others}"
        await world.execute(
            f"insert into {table} ({columns}) select 'p', n::text, now() - n * interval '1 day'{rest}"
            " from generate_series(60, 119) n"
        )
    await PostgresPartitions(world.database, now, retention_days=90, body_days=30).retire()
    for table, (key, *_) in tables.items():
        assert await world.value(f"select count(*) || ' ' || max({key}::int) from {table}") == "30 89"


async def test_bodies_go_when_their_days_are_over_however_many_came_together(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those that settled late; open requests keep their variables."""
    monkeypatch.setattr(partitions, "_STEP", 10)
    release = await world.release(["push"])
    world.tokens.add("customer:1", "push")
    ids = [(await world.request(release, ["customer:1"])).data.request_id for _ in range(40)]
    await world.execute(
        "update request r set received_at = r.received_at - k.age * interval '1 hour',"
        " settled_at = case when k.n % 4 > 0 then r.received_at - k.settled * interval '1 hour' end,"
        " pending = case when k.n % 4 > 0 then 0 else 1 end, sent = case when k.n % 4 > 0 then 1 else 0 end"
        " from (select id, n, 725 as age, case when n % 4 = 1 then 10 else 722 end as settled"
        "       from unnest($1::uuid[]) with ordinality as i (id, n)) k where r.id = k.id",
        ids,
    )
    days = PostgresPartitions(world.database, now, retention_days=90, body_days=30)
    kept = "select count(*) from request where body is not null"
    await days.retire()
    assert await world.value(kept) == 20  # ten are open, ten settled only now
    for hour in range(96):  # a round of 90 slices, which move on meanwhile
        later = now() + timedelta(days=35, hours=hour)
        await PostgresPartitions(world.database, lambda at=later: at, retention_days=90, body_days=30).retire()
    assert await world.value(kept) == 10
