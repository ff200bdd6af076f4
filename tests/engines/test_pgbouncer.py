"""Behind PgBouncer in transaction mode the whole line works, and an unsuitable configuration is refused at start-up."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from cli.engines.pgbouncer import PgBouncer
from libs.storage.database import Database, PoolerUnfit
from libs.storage.embedded import EmbeddedServer
from libs.storage.migrations import MigrationRefused, migrate
from libs.storage.roles import make_roles, scram_verifier
from services.__main__ import service_roles
from tests.conftest import by_role
from tests.engines.conftest import running
from tests.flows.test_whole_line import ORDER, customer, why
from tests.flows.whole_suite import open_shop, whole_suite

PASSWORD = "of each service"
POOL = 6


@pytest.fixture(scope="module")
def pgbouncer(run_folder: Path, postgres: EmbeddedServer) -> Iterator[PgBouncer]:
    users = {role.name: scram_verifier(PASSWORD) for role in service_roles()}
    with running(PgBouncer(run_folder, postgres=postgres.dsn, users=users, pool_size=POOL)) as engine:
        yield engine


@pytest.fixture
async def pooled(database: str, pgbouncer: PgBouncer) -> str:
    """Every service's DSN through the pooler; the roles carry their sessions' settings."""
    await make_roles(database, service_roles())
    name = database.partition("@/")[2].partition("?")[0]
    return pgbouncer.dsn("depesche_{schema}", PASSWORD.replace(" ", "%20"), name)


async def test_thirty_orders_pass_end_to_end(pooled: str, database: str, tmp_path: Path) -> None:
    async with whole_suite(pooled, tmp_path, pooler="transaction") as suite:
        await open_shop(suite)
        await customer(suite)
        numbers = range(30)
        await asyncio.gather(*(suite.send("order.placed", f"e-{n}", f"B-{n}", ORDER) for n in numbers))

        async def told() -> bool:
            answers = [await why(suite, order=f"B-{n}") for n in numbers]
            return all(answer["verdict"] == "sent" and answer["messages"] for answer in answers)

        await suite.eventually(told, 150)
        connection = await asyncpg.connect(database)
        sessions: list[Any] = await connection.fetch(
            "select usename, count(*) as n from pg_stat_activity where datname = current_database()"
            " and usename like 'depesche_%' group by usename"
        )
        await connection.close()
        assert {row["usename"] for row in sessions} == {role.name for role in service_roles()}
        assert max(row["n"] for row in sessions) <= POOL


async def test_prepared_statements_are_found_on_any_connection(pooled: str) -> None:
    database = Database(pooled.replace("{schema}", "access"), "access", max_size=20, pooled=True)
    await database.open()
    clients, servers = set(), set()

    async def ask(number: int) -> int:
        async with database.acquire() as connection:
            clients.add(connection.get_server_pid())
            # outside a transaction: each part of a statement may use another connection
            row = await connection.fetchrow("select $1::int as n, pg_backend_pid() as pid, pg_sleep(0.002)", number)
            servers.add(row["pid"])
            return int(row["n"])

    try:
        assert await asyncio.gather(*(ask(n) for n in range(400))) == list(range(400))
        assert len(clients) == 20
        assert len(servers) <= POOL
    finally:
        await database.close()


@pytest.mark.parametrize(
    ("through", "as_pooled", "said"),
    [(True, False, "DEPESCHE_POOLER=transaction"), (False, True, "max_prepared_statements")],
)
async def test_a_wrong_pooler_setting_is_refused_at_start_up(
    pooled: str, database: str, through: bool, as_pooled: bool, said: str
) -> None:
    dsn = pooled.replace("{schema}", "access") if through else by_role(database, "access")
    with pytest.raises(PoolerUnfit, match=said):
        await Database(dsn, "access", pooled=as_pooled).open()


async def test_roles_without_their_session_settings_are_refused_at_start_up(pooled: str) -> None:
    # planned without them, a chunk of a campaign would scan whole tables
    found = Database(
        pooled.replace("{schema}", "access"), "access", pooled=True, server_settings={"enable_seqscan": "off"}
    )
    with pytest.raises(PoolerUnfit, match="enable_seqscan"):
        await found.open()


async def test_migrations_through_the_pooler_are_refused(pooled: str) -> None:
    with pytest.raises(MigrationRefused, match="DEPESCHE_OWNER_DSN"):
        await migrate(pooled.replace("{schema}", "access"), {})
