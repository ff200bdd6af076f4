"""Unknown messages are listed in a separate table, so that recording a result stays on the page of its claim."""

import asyncio
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from libs.contracts.outcomes import Lane, ReceiptKind
from libs.contracts.reasons import Reason
from libs.storage.embedded import EmbeddedServer
from libs.storage.migrations import migrate
from services.delivery.adapters.postgres.partitions import PostgresPartitions
from services.delivery.adapters.postgres.reads import PostgresReads
from services.delivery.domain.callbacks import ReceiptNews
from services.delivery.domain.outcomes import Ambiguous, Sent
from services.delivery.domain.work import Group
from services.delivery.loops.prepare import prepare
from services.delivery.loops.routes import route
from tests.flows.delivery_world import KEYRING, World, now

FOLDER = Path(__file__).parents[2] / "services/delivery/migrations"
NAME = "0:1718000000000000%8c1f0f0f8c1f0f0f"  # as FCM and Twilio name messages
# rows whose unknown status and its record differ
DIFFER = """
select notification_id, address_id, m.claimed_at, d.claimed_at from (select * from message where status = 6) m
full join doubt d using (notification_id, address_id) where m.claimed_at is distinct from d.claimed_at
"""


async def asked_of(world: World, count: int, channel: str = "push", **fields: Any) -> None:
    """Create a request for `count` recipients, sent once."""
    release = await world.release([channel])
    keys = [f"customer:{n}" for n in range(count)]
    for key in keys:
        world.tokens.add(key, channel)
    await world.request(release, keys, **fields)
    await world.send_all()


@pytest.mark.parametrize("channel", ["email", "push"])
async def test_every_record_of_a_chunk_is_a_heap_only_update(world: World, channel: str) -> None:
    """It writes to no index: none contains what a record changes, and each page has room for all of its rows again."""
    world.provider.answer = lambda _: Sent(NAME)
    await asked_of(world, 500, channel)
    figures = "select sum(n_tup_upd), sum(n_tup_hot_upd) from pg_stat_user_tables where relname like 'message\\_%'"
    for _ in range(600):  # sessions report their statistics within a second, or ten if they are idle
        [(updates, heap_only)] = await world.fetch(figures)
        if updates == 500:
            break
        await asyncio.sleep(0.1)
    assert (updates, heap_only) == (500, 500)


async def test_it_has_what_is_unknown_and_nothing_else(world: World) -> None:
    answers = iter([Ambiguous(Reason.TIMED_OUT, "no answer")] * 6 + [Sent("ref")] * 4)
    world.provider.answer = lambda m: next(answers) if m.attempt == 1 else Ambiguous(Reason.TIMED_OUT, "again")
    await asked_of(world, 10, on_unknown="resend")
    assert await world.value("select count(*) from doubt") == 6
    assert await world.fetch(DIFFER) == []
    await world.execute("update work set due_at = now() - interval '1 s'")
    await world.send_all()  # each is unknown again, at the next attempt and its time
    assert await world.value("select count(*) from message where status = 6 and attempt = 2") == 6
    assert await world.fetch(DIFFER) == []
    assert set((await PostgresReads(world.database, KEYRING).unknown_by_sender()).values()) == {6}

    key = (await world.fetch("select notification_id, address_id from doubt"))[0]
    news = ReceiptNews("model", "e1", key[0], key[1], 2, ReceiptKind.DELIVERED, now(), Reason.NONE)
    await world.ledger.receive([news])
    assert await world.value("select count(*) from doubt") == 5
    assert await world.fetch(DIFFER) == []

    later = now() + timedelta(days=100)
    await world.execute("update request set settled_at = now(), pending = 0")
    await world.execute("delete from work")
    days = PostgresPartitions(world.database, lambda: later, retention_days=90, body_days=30)
    await days.make_ahead(1)
    assert await days.retire() >= 1
    assert await world.value("select count(*) from doubt") == 0
    assert await world.value("select failed from daily") == 5


async def test_it_has_what_a_dead_worker_was_calling(world: World) -> None:
    release = await world.release(["push"])
    world.tokens.add("customer:1", "push")
    await world.request(release, ["customer:1"])
    line = world.line()
    group = Group(Lane.BULK, await world.ledger.lease(Lane.BULK, (1, 1), 30.0), 0.0)
    prepared = await prepare(line, group)
    await route(line, prepared, 0.0)
    assert len((await world.ledger.claim(prepared)).messages) == 1
    await world.execute("update work set leased_until = now() - interval '1 s'")
    assert (await world.ledger.recover(10)).unknown == 1
    assert await world.value("select count(*) from doubt") == 1
    assert await world.fetch(DIFFER) == []


async def test_the_migration_takes_what_was_unknown_before_it(postgres: EmbeddedServer, tmp_path: Path) -> None:
    """And what the previous version's workers find unknown, or known, after it."""
    before = tmp_path / "delivery"
    before.mkdir()
    for path in sorted(FOLDER.glob("000[1-5]_*.sql")):
        shutil.copy(path, before)
    connection = await asyncpg.connect(postgres.dsn)
    await connection.execute("create database before_doubts")
    old = await asyncpg.connect(postgres.dsn_of("before_doubts"), server_settings={"search_path": "delivery"})
    await migrate(postgres.dsn_of("before_doubts"), {"delivery": before})
    await old.execute("select make_partition(date '2026-01-01' + n) from generate_series(0, 1) n")
    await old.execute(
        "insert into message (notification_id, address_id, request_id, ordinal, claimed_at, status, channel, sender,"
        " plan_step, variant, attempt) select (lpad(to_hex((extract(epoch from timestamp '2026-01-01 12:00') * 1000"
        " + n * 3600000)::bigint), 12, '0') || repeat('0', 20))::uuid, n, gen_random_uuid(), 0, now(), 1 + n % 2 * 5,"
        " 1, 1, 0, 0, 1 from generate_series(1, 20) n"
    )
    await migrate(postgres.dsn_of("before_doubts"), {"delivery": FOLDER})
    assert await old.fetchval("select count(*) from doubt") == 10
    await old.execute("update message set status = 6 where address_id in (2, 4)")
    await old.execute("update message set status = 2 where address_id in (1, 3, 5)")
    await old.execute("select make_partition(date '2026-01-03')")
    assert await old.fetchval("select count(*) from doubt") == 9
    assert await old.fetch(DIFFER) == []
    await old.close()
    await connection.execute("drop database before_doubts with (force)")
    await connection.close()
