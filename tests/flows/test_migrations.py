"""Migrations run once, forwards, beside traffic; a failure halfway leaves nothing half done."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from libs.errors import Unavailable
from libs.storage.database import Database
from libs.storage.embedded import EmbeddedServer
from libs.storage.migrations import MigrationRefused, Patience, migrate, migrations_of, pending
from tests.shell import Shell

ROOT = Path(__file__).parents[2]
QUICK = Patience(lock_seconds=0.2, pause_seconds=0.1, tries=1_000, turn_seconds=120)


@pytest.fixture
async def empty(postgres: EmbeddedServer) -> AsyncIterator[str]:
    """Yield an empty database."""
    connection = await asyncpg.connect(postgres.dsn)
    await connection.execute("create database fresh")
    yield postgres.dsn_of("fresh")
    await connection.execute("drop database fresh with (force)")
    await connection.close()


@pytest.fixture
def shop(tmp_path: Path) -> dict[str, Path]:
    """Return a service's folder with one table."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "0001_shop.sql").write_text("create table basket (id int primary key, total int);")
    return {"shop": folder}


async def connected(dsn: str) -> Any:
    return await asyncpg.connect(dsn, server_settings={"search_path": "shop"})


async def test_two_migrators_at_once_run_each_file_once(empty: str, shop: dict[str, Path]) -> None:
    for number in range(2, 8):
        (shop["shop"] / f"000{number}_more.sql").write_text(f"create table t{number} (); select pg_sleep(0.02);")
    both = await asyncio.gather(*(migrate(empty, shop, QUICK) for _ in range(3)))
    assert sorted(map(len, both)) == [0, 0, len(migrations_of(shop["shop"]))]
    assert await pending(empty, shop) == []


async def test_one_that_is_killed_leaves_nothing_and_the_next_goes_on(empty: str, shop: dict[str, Path]) -> None:
    await migrate(empty, shop)
    slow = shop["shop"] / "0002_slow.sql"
    slow.write_text("create table half (id int); select pg_sleep(3600);")
    code = (
        "import asyncio, pathlib; from libs.storage.migrations import migrate;"
        f"asyncio.run(migrate({empty!r}, {{'shop': pathlib.Path({str(shop['shop'])!r})}}))"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, cwd=ROOT)
    watcher = await connected(empty)
    while not await watcher.fetchval(
        "select exists (select from pg_stat_activity where query like '%pg_sleep(3600)%' and pid <> pg_backend_pid())"
    ):
        assert process.returncode is None
        await asyncio.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    await process.wait()
    slow.write_text("create table half (id int);")  # it had not run, so it may be changed
    assert await migrate(empty, shop, QUICK) == ["shop/0002_slow"]  # the statement of the dead one has been ended
    await watcher.close()


def test_a_database_that_is_newer_or_was_made_by_other_files_is_refused(database: str, shop: dict[str, Path]) -> None:
    shell = Shell({"DEPESCHE_DSN": database})

    async def pretend(statement: str) -> None:
        connection = await asyncpg.connect(database)
        await connection.execute(statement)
        await connection.close()

    asyncio.run(pretend("insert into tokens.migration (name, digest) values ('0099_tomorrow', '')"))
    for words in (("migrate",), ("migrate", "--dry-run")):
        told = shell.run(*words, exit_code=5)
        assert "0099_tomorrow" in told.output
        assert "newer" in told.output
    asyncio.run(pretend("delete from tokens.migration where name = '0099_tomorrow'"))
    asyncio.run(pretend("update access.migration set digest = 'x' where name = '0001_access'"))
    assert "was changed after it had run" in shell.run("migrate", exit_code=5).output


async def test_nothing_is_run_where_one_schema_is_refused(empty: str, shop: dict[str, Path], tmp_path: Path) -> None:
    other = {"another": tmp_path / "another"}
    other["another"].mkdir()
    await migrate(empty, shop)
    changed = shop["shop"] / "0001_shop.sql"
    changed.write_text(changed.read_text() + " -- changed")
    with pytest.raises(MigrationRefused, match="shop/0001_shop"):
        await migrate(empty, shop | other)
    assert len(await pending(empty, other)) == len(migrations_of(other["another"]))


async def test_readers_never_queue_behind_a_migration_that_waits(empty: str, shop: dict[str, Path]) -> None:
    await migrate(empty, shop)
    (shop["shop"] / "0002_note.sql").write_text("alter table basket add column note text;")
    report, till = await connected(empty), await connected(empty)
    transaction = report.transaction()
    await transaction.start()
    await report.fetch("select id from basket")  # a long report holds the table
    migrating = asyncio.create_task(migrate(empty, shop, QUICK))
    while not await queued(report, till):
        pass
    # it was served although the report holds the table on, and the migration has not run
    assert not migrating.done()
    await transaction.rollback()
    assert await migrating == ["shop/0002_note"]
    await till.fetch("select note from basket")

    await transaction_that_never_ends(empty, shop, report)
    await report.close()
    await till.close()


async def queued(watcher: Any, till: Any) -> bool:
    """Read what the migration changes; return whether that had to queue behind its lock."""
    reading = asyncio.create_task(till.fetch("select * from basket"))
    waited = False
    while not reading.done():
        waited |= await watcher.fetchval("select pg_blocking_pids($1) <> '{}'", till.get_server_pid())
    await reading
    return waited


async def transaction_that_never_ends(empty: str, shop: dict[str, Path], report: Any) -> None:
    (shop["shop"] / "0003_more.sql").write_text("alter table basket add column more text;")
    async with report.transaction():
        await report.fetch("select id from basket")
        with pytest.raises(Unavailable, match="shop/0003_more"):
            await migrate(empty, shop, replace(QUICK, tries=4))
    assert await pending(empty, shop) == ["shop/0003_more"]


async def test_an_index_is_made_beside_traffic_and_anew_where_it_broke(empty: str, shop: dict[str, Path]) -> None:
    await migrate(empty, shop)
    index = shop["shop"] / "0002_totals.sql"
    index.write_text(
        "-- outside a transaction\ncreate unique index concurrently if not exists totals on basket (total);\n"
    )
    till = await connected(empty)
    await till.execute("insert into basket values (1, 10), (2, 10)")
    with pytest.raises(asyncpg.UniqueViolationError):
        await migrate(empty, shop, QUICK)
    assert await till.fetchval("select not indisvalid from pg_index where indexrelid = 'totals'::regclass")
    await till.execute("delete from basket where id = 2")
    both = await asyncio.gather(migrate(empty, shop, QUICK), migrate(empty, shop, QUICK))
    assert sorted(map(len, both)) == [0, 1]
    assert await till.fetchval("select indisvalid from pg_index where indexrelid = 'totals'::regclass")
    await till.close()


async def test_a_transaction_whose_statement_the_schema_overtook_may_be_tried_again(
    empty: str, shop: dict[str, Path]
) -> None:
    """The previous version has prepared statements; asyncpg cannot prepare them again inside a transaction."""
    await migrate(empty, shop)
    database = Database(empty, "shop", max_size=1)
    await database.open()
    look = "select * from basket"
    async with database.transaction() as connection:
        await connection.fetch(look)
    (shop["shop"] / "0002_note.sql").write_text("alter table basket add column note text;")
    await migrate(empty, shop)
    with pytest.raises(Unavailable):
        async with database.transaction() as connection:
            await connection.fetch(look)
    async with database.transaction() as connection:
        await connection.fetch(look)
    await database.close()
