"""A service's database role reaches its own schema and nothing else; whatever a service does, its role may do.

All other flows run under these roles too (tests/conftest.py), so a missing right is noticed where it is needed.
"""

import base64
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from pydantic import SecretStr

from libs.errors import Invalid
from libs.storage.embedded import EmbeddedServer
from libs.storage.migrations import migrate
from libs.storage.roles import RolesRefused, make_roles, renew_grants, scram_verifier
from libs.suite import SuiteSettings
from services.__main__ import migration_folders, service_roles
from tests.conftest import by_role
from tests.flows.test_whole_line import ORDER, customer, why
from tests.flows.whole_suite import open_shop, whole_suite
from tests.shell import Shell

SCHEMAS = sorted(migration_folders())


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


async def refused(connection: Any, statement: str) -> bool:
    try:
        await connection.execute(statement)
    except asyncpg.InsufficientPrivilegeError:
        return True
    return False


@pytest.fixture
async def owned(postgres: EmbeddedServer) -> AsyncIterator[str]:
    """Yield an empty database owned by a role that is no superuser, as a managed Postgres provides it."""
    async with connected(postgres.dsn) as connection:
        await connection.execute("create role shop_owner login createrole")
        await connection.execute("create database owned owner shop_owner")
        # other tests' roles in this server
        for role in service_roles():
            await connection.execute(f"grant {role.name} to shop_owner with admin option")
        yield postgres.dsn_of("owned").replace("//postgres:", "//shop_owner:")
        await connection.execute("drop database owned with (force)")
        await connection.execute("drop role shop_owner")


@pytest.mark.parametrize("schema", SCHEMAS)
async def test_a_role_reads_and_writes_its_own_schema_alone(database: str, schema: str) -> None:
    async with connected(database) as connection:
        tables = await connection.fetch(
            "select schemaname, format('%I.%I', schemaname, tablename) as name from pg_tables"
            " where schemaname = any($1) and tablename <> 'migration'",
            SCHEMAS,
        )
        for table in tables:
            for right in ("select", "insert", "update", "delete"):
                allowed = await connection.fetchval(
                    "select has_table_privilege($1::name, $2, $3)", f"depesche_{schema}", table["name"], right
                )
                assert allowed is (table["schemaname"] == schema), (right, table["name"])
    async with connected(by_role(database, schema)) as connection:
        for other in SCHEMAS:
            if other != schema:
                assert await refused(connection, f"select from {other}.outbox")
                assert await refused(connection, f"create table {other}.mine (id int)")
        for statement in (
            "create table public.mine (id int)",
            "create schema mine",
            f"select from {schema}.migration",
            f"drop table {schema}.dead_letter",
            f"alter table {schema}.outbox add column mine int",
            f"truncate {schema}.outbox",
            "alter role current_user superuser",
        ):
            assert await refused(connection, statement), statement


async def test_an_owner_without_superuser_migrates_and_the_line_runs_under_the_roles(
    owned: str, tmp_path: Path
) -> None:
    await migrate(owned, migration_folders())
    assert await make_roles(owned, service_roles()) == [f"depesche_{role.schema}" for role in service_roles()]
    async with whole_suite(owned.replace("//shop_owner:", "//postgres:"), tmp_path) as suite:
        for service in suite.services.values():
            assert service.database is not None
            async with service.database.acquire() as connection:
                assert await connection.fetchval("select current_user") == f"depesche_{service.database.schema}"
                assert await refused(connection, "create temporary table mine (id int)")
        await open_shop(suite)
        await customer(suite)
        await suite.send("order.placed", "e-1", "B-1", ORDER)

        async def told() -> Any:
            answer = await why(suite, order="B-1")
            return answer["verdict"] == "sent" and answer["messages"]

        await suite.eventually(told)


async def test_what_a_later_migration_makes_is_the_roles_at_once(owned: str, tmp_path: Path) -> None:
    folder = tmp_path / "templates"
    shutil.copytree(migration_folders()["templates"], folder)
    roles = [role for role in service_roles() if role.schema == "templates"]
    await migrate(owned, {"templates": folder})
    await make_roles(owned, roles)
    (folder / "0099_later.sql").write_text(
        "create table later (id bigint generated always as identity, at date not null);"
        "create table days (at date not null) partition by range (at);"
    )
    await migrate(owned, {"templates": folder})
    async with connected(owned.replace("//shop_owner:", "//depesche_templates:")) as connection:
        # before any right is renewed: the previous version's processes are running
        await connection.execute("insert into templates.later (at) values (now())")
        day = "create table templates.d1 partition of templates.days for values from ('2026-01-01') to ('2026-01-02')"
        assert await refused(connection, day)
        assert await renew_grants(owned, roles) == ["depesche_templates"]
        await connection.execute(day)
        await connection.execute("drop table templates.d1")


async def test_who_owns_nothing_cannot_make_roles_and_is_told_why(database: str) -> None:
    with pytest.raises(RolesRefused, match="CREATEROLE"):
        await make_roles(by_role(database, "access"), service_roles())


async def test_the_verifier_is_what_postgres_itself_would_keep(postgres: EmbeddedServer) -> None:
    async with connected(postgres.dsn) as connection:
        await connection.execute("create role keeper password 'correct horse'")
        theirs = await connection.fetchval("select rolpassword from pg_authid where rolname = 'keeper'")
        await connection.execute("drop role keeper")
    salt = base64.b64decode(theirs.split("$")[1].partition(":")[2])
    assert scram_verifier("correct horse", salt) == theirs
    for wrong in ("", "grün", "two\nlines"):
        with pytest.raises(Invalid):
            scram_verifier(wrong)


def test_the_command_takes_passwords_from_files_and_shows_none(database: str, tmp_path: Path) -> None:
    (tmp_path / "delivery").write_text("s3cret of delivery\n")
    shell = Shell({"DEPESCHE_OWNER_DSN": database, "DEPESCHE_DSN": by_role(database)})
    done = shell.run("migrate", "--roles", "--passwords", str(tmp_path), "--json")
    assert "depesche_delivery" in done.stdout
    assert "s3cret" not in done.output
    (tmp_path / "delivery").unlink()
    assert "delivery" in shell.run("migrate", "--roles", "--passwords", str(tmp_path), exit_code=2).output
    # a DSN for many roles names no owner
    assert "DEPESCHE_OWNER_DSN" in shell.run("migrate", exit_code=2, DEPESCHE_OWNER_DSN="").output


def test_a_dsn_of_many_roles_is_each_services_own() -> None:
    settings = SuiteSettings(dsn=SecretStr("postgresql://depesche_{schema}@db/depesche"))
    with pytest.raises(Invalid):
        _ = settings.migrating_dsn
    own = settings.model_copy(update={"owner_dsn": SecretStr("postgresql://owner@db/depesche")})
    assert own.migrating_dsn == "postgresql://owner@db/depesche"
