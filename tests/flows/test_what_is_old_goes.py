"""Retention at scale: old rows are found by an index and deleted in portions, however many there are."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from libs.contracts.outcomes import Mode
from libs.ids import first_id_at
from libs.messaging import keeping
from libs.storage.database import Database
from libs.storage.portions import in_portions
from services.bounce.adapters.postgres import contacts, pruning, telling
from services.bounce.adapters.postgres import mails as mail_rows
from services.delivery.adapters.postgres import partitions
from services.history.adapters.postgres import PostgresDays, days
from services.orders_notification.adapters.postgres import retention
from tests.conftest import by_role
from tests.flows.bounce_policy import DAY, hash_of, rows, said
from tests.flows.bounces import NOW, World, report, world

__all__ = ["world"]

STATEMENTS = {
    "orders_notification": [
        retention._PRUNE_KEYS, retention._PRUNE_RECIPIENTS, retention._PRUNE_REJECTIONS, retention._PRUNE_SETTLEMENTS,
        keeping._KEYS, keeping._LETTERS, keeping._ERASURES,
    ],
    "delivery": list(partitions._FORGET),
    "history": [days._DROP_REQUESTS],
    "bounce": [mail_rows._DROP, mail_rows._DROP_RAW, contacts._DROP, pruning._FACTS, *telling._FORGET],
}  # fmt: skip
ARGUMENTS: dict[str, Any] = {
    "uuid": UUID(int=0), "timestamptz": NOW, "int8": 5, "int2": 1, "text": "1 day", "date": NOW.date(),
}  # fmt: skip


@pytest.fixture
async def connection(database: str) -> AsyncIterator[Any]:
    opened = await asyncpg.connect(database)
    await opened.execute("set enable_seqscan = off")  # a scan of these empty tables then means: no index
    yield opened
    await opened.close()


@pytest.mark.parametrize("schema", STATEMENTS)
async def test_what_is_old_is_found_by_an_index(connection: Any, schema: str) -> None:
    await connection.execute(f"set search_path to {schema}")
    for statement in STATEMENTS[schema]:
        prepared = await connection.prepare(statement)
        values = [ARGUMENTS[parameter.name] for parameter in prepared.get_parameters()]
        plan = "\n".join(row[0] for row in await connection.fetch("explain (costs off) " + statement, *values))
        assert re.findall(r"Seq Scan on (\w+)", plan) == [], plan


async def test_old_rows_go_in_portions_until_none_is_left(database: str) -> None:
    opened = Database(by_role(database, "access"), "access")
    await opened.open()
    try:
        async with opened.acquire() as connection:
            await connection.execute(
                "insert into idempotency (scope, key, body_hash, created_at) "
                "select '', n::text, '', now() - interval '2 days' from generate_series(1, 25) as n"
            )
        assert await in_portions(opened, keeping._KEYS, "1 day", portion=10) == 25
        assert await in_portions(opened, keeping._KEYS, "1 day", portion=10) == 0
        async with opened.acquire() as connection:
            await connection.execute(
                "insert into idempotency (scope, key, body_hash, created_at) "
                "select '', n::text, '', now() - n * interval '1 hour' from generate_series(23, 25, 2) as n"
            )
        await keeping.forget_old(opened, keeping.Kept())
        async with opened.acquire() as connection:  # a day, as the API says
            assert [row["key"] for row in await connection.fetch("select key from idempotency")] == ["23"]
    finally:
        await opened.close()


async def test_old_facts_go_and_the_evidence_of_what_is_in_force_stays(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "_MOST", 2)  # several steps
    for tenant, mode in ((1, Mode.LIVE), (2, Mode.TEST)):
        for name, ago in (("ann", 500), ("bob", 399), ("cid", 0)):
            world.clock.now = NOW - ago * DAY
            await said(world, [name], tenant=tenant, mode=mode)  # suppresses the address at once
        world.clock.now = NOW - 450 * DAY
        full = "452 4.2.2 mailbox full"  # suppresses nobody
        await said(world, ["dan", "eve", "fay"], full, tenant=tenant, mode=mode)
        for ago in (450, 449, 448):
            world.clock.now = NOW - ago * DAY
            await said(world, ["gus"], full, tenant=tenant, mode=mode)  # three days together suppress
    world.clock.now = NOW
    facts = world.service.deps.facts
    assert await facts.drop_before(NOW - 400 * DAY) == 6
    left = await rows(world, "select address_hash, count(*) from bounce group by 1")
    assert {row[0]: row[1] for row in left} == {hash_of("gus"): 6} | {
        hash_of(name): 2 for name in ("ann", "bob", "cid")
    }
    await rows(world, "update suppression set active = false where address_hash = $1", hash_of("ann"))
    assert await facts.drop_before(NOW - 400 * DAY) == 2
    assert await facts.drop_before(NOW - 400 * DAY) == 0


async def test_what_was_parked_and_decided_and_old_strays_go(world: World) -> None:
    at = NOW - 401 * DAY
    breaker = uuid4()
    await rows(
        world,
        "insert into breaker (id, mode, provider, doubtful_from, opened_at, refused, expected)"
        " values ($1, 1, 'x', $2, $2, 9, 1)",
        breaker, at,
    )  # fmt: skip
    for state in (0, 2):
        await rows(
            world,
            "insert into parked (id, breaker_id, tenant, mode, address_hash, scope, reason, parked_at, state,"
            " bounce_id, recipient, category, provider, policy, evidence)"
            " values (gen_random_uuid(), $1, 1, 1, '', 0, 1, $2, $3, $1, 'customer:ann', 'x', 'x', 'x', '{}')",
            breaker, at, state,
        )  # fmt: skip
    await rows(world, "insert into backscatter values ($1::date, 'why', 1, $1, 'ann@mail.example', '192.0.2.1')", at)
    await world.service.deps.facts.drop_before(NOW - 400 * DAY)
    assert [row["state"] for row in await rows(world, "select state from parked")] == [0]
    assert await rows(world, "select from backscatter") == []


async def test_what_opensearch_refused_goes_with_the_history(database: str) -> None:
    opened = Database(by_role(database, "history"), "history")
    await opened.open()
    async with opened.acquire() as connection:
        for ago, refused in ((120, "so"), (120, None), (1, "so")):
            await connection.execute(
                "insert into spill (at, documents, bytes, refused, body)"
                " values (now() - $1 * interval '1 day', 1, 1, $2, '')",
                ago, refused,
            )  # fmt: skip
        await PostgresDays(opened).keep(datetime.now(UTC), 1, 90)
        assert await connection.fetchval("select count(*) from spill where at < now() - interval '2 days'") == 1
        assert await connection.fetchval("select count(*) from spill") == 2
    await opened.close()


async def test_old_mails_go_but_not_before_they_are_read(world: World) -> None:
    ids = [
        UUID((await world.hand_in(report(world.path, status=status)))["id"]) for status in ("5.1.1", "5.2.1", "5.2.2")
    ]
    long_ago = [first_id_at(NOW - timedelta(days=500 + n)) for n in range(2)]
    for old, id_, state in zip(long_ago, ids, (0, 1), strict=False):
        await rows(world, "update mail set id = $1, state = $3 where id = $2", old, id_, state)
    assert await world.service.deps.mails.drop_before(NOW - 400 * DAY) == 1
    assert {row["id"] for row in await rows(world, "select id from mail")} == {long_ago[0], ids[2]}
