"""The ledger looks after itself: what must never be is found, what has had its time is forgotten, a slice at a time."""

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import pytest

from services.delivery.adapters.postgres import partitions
from services.delivery.adapters.postgres.partitions import PostgresPartitions
from tests.flows.delivery_world import World, now, opened


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    ledger = await opened(database)
    yield World(ledger, now)
    await ledger.close()


async def lost(world: World, *ages: int) -> None:
    """Open requests without work, so many days old."""
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
    """Each look takes the last hour and one older day: whatever its age, it is seen, and until the next round too."""
    await lost(world, 0, 0, 5, 89)
    days = PostgresPartitions(world.database, now, retention_days=90, body_days=30)
    found = [(await days.always_empty(turn))["open_requests_without_work"] for turn in range(92)]
    assert (found[0], found[3], found[4], found[87], found[88]) == (2, 2, 3, 3, 4)
    assert (await days.always_empty())["open_requests_without_work"] == 4
    await world.execute("delete from request")
    assert [(await days.always_empty(turn))["open_requests_without_work"] for turn in range(92)][-1] == 0


@pytest.mark.parametrize("statement", [partitions._LOST, partitions._WIPE])
async def test_upkeep_walks_no_further_than_its_slice(world: World, statement: str) -> None:
    values = [now(), now()] if statement is partitions._LOST else [now(), UUID(int=0), now(), 10, now()]
    plan = "\n".join(row[0] for row in await world.fetch(f"explain {statement}", *values))
    assert "Seq Scan on request" not in plan
    assert "request_received_at_idx" in plan


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
    """Also of what was settled late; what is open keeps its variables."""
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
    assert await world.value(kept) == 20  # ten are open, ten were settled only now
    for hour in range(96):  # a round of 90 slices, which move on meanwhile
        later = now() + timedelta(days=35, hours=hour)
        await PostgresPartitions(world.database, lambda at=later: at, retention_days=90, body_days=30).retire()
    assert await world.value(kept) == 10
