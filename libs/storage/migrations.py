"""Migrations: numbered SQL files per service, each run once in a transaction, in the service's own schema.

`migrate` takes an advisory lock, so that replicas starting together run it once, and refuses a database that is newer
than the code. It runs beside the previous version: no statement waits long for a lock, because all traffic would
queue behind it; it retries instead. Files are `NNNN_name.sql`; those in libs/storage/migrations are common to all
services and come first. A file that begins with `-- outside a transaction` is for `create index concurrently` and the
like: its statements run one by one and may run again. See docs/adr/0162.
"""

import asyncio
import hashlib
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from libs.errors import Permanent, Unavailable
from libs.telemetry import get_logger

COMMON = Path(__file__).parent / "migrations"
OUTSIDE = "-- outside a transaction"
_FILE = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
_LOCK = 0x6465_7065_7363_6865  # "depesche"
_POLL_SECONDS = 0.2
# a `;` in a comment or a body does not end a statement
_STATEMENT = re.compile(r"(?:--[^\n]*|\$\$.*?\$\$|[^;])+", re.DOTALL)
_CONCURRENT_INDEX = re.compile(r"create (?:unique )?index concurrently if not exists (\w+)", re.IGNORECASE)
_INVALID = """
select c.oid::regclass::text from pg_class c join pg_index i on i.indexrelid = c.oid
where c.relnamespace = $1::regnamespace and c.relname = any($2::text[]) and not i.indisvalid
"""

log = get_logger(__name__)


class MigrationRefused(Permanent):
    """The database and the code do not match."""

    status = 409
    slug = "migration-refused"
    title = "Migration refused"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for locks. `lock_seconds`: how long traffic may queue behind one of our statements."""

    lock_seconds: float = 1.0
    pause_seconds: float = 2.0
    tries: int = 30
    turn_seconds: float = 600.0  # to wait for another migrator


PATIENT = Patience()


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: `name` is unique per schema ("common/0001_common", "0001_ledger")."""

    name: str
    sql: str

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(self.sql.encode()).digest()


def migrations_of(folder: Path) -> list[Migration]:
    """Return the common migrations, then the folder's, in order."""
    common = [Migration(f"common/{path.stem}", path.read_text()) for path in _files(COMMON)]
    return common + [Migration(path.stem, path.read_text()) for path in _files(folder)]


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.sql") if _FILE.fullmatch(path.name))


async def migrate(dsn: str, folders: dict[str, Path], patience: Patience = PATIENT) -> list[str]:
    """Run each schema's missing migrations; return what was run (`schema/name`).

    Raises MigrationRefused if a schema has migrations that the code does not know, if a file changed after it had
    run (then nothing is run), or if it would go through a pooler. Raises Unavailable if a lock was not available in
    time; what ran before stays."""
    async with _connected(dsn) as connection:
        await _take_turn(connection, patience)
        wanted = {schema: migrations_of(folder) for schema, folder in sorted(folders.items())}
        missing = [
            (schema, migration)
            for schema, migrations in wanted.items()
            for migration in _missing(schema, migrations, await _applied(connection, schema))
        ]
        for schema, migration in missing:
            await _run_patiently(connection, schema, migration, patience)
        return [f"{schema}/{migration.name}" for schema, migration in missing]


async def pending(dsn: str, folders: dict[str, Path]) -> list[str]:
    """Return what `migrate` would run (`schema/name`)."""
    connection = await asyncpg.connect(dsn)
    try:
        return [
            f"{schema}/{migration.name}"
            for schema, folder in sorted(folders.items())
            for migration in _missing(schema, migrations_of(folder), await _applied(connection, schema))
        ]
    finally:
        await connection.close()


@asynccontextmanager
async def _connected(dsn: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(dsn)
    try:
        if connection.get_server_pid() != await connection.fetchval("select pg_backend_pid()"):
            raise MigrationRefused(
                "This goes through a pooler, which would pass the lock to the next client. Connect to PostgreSQL "
                "itself with --dsn (DEPESCHE_OWNER_DSN)."
            )
        # so that the server ends the statement and lock of a killed migrator within a second, if it supports this
        with suppress(asyncpg.InvalidParameterValueError):
            await connection.execute("set client_connection_check_interval = '1s'")
        yield connection
    finally:
        await connection.close()


async def _take_turn(connection: Any, patience: Patience) -> None:
    """Poll for the lock: a statement that waits for it would hold a snapshot, which `create index concurrently` waits
    for."""
    until = time.monotonic() + patience.turn_seconds
    while not await connection.fetchval("select pg_try_advisory_lock($1)", _LOCK):
        if time.monotonic() > until:
            raise Unavailable(f"Another migration has been running for {patience.turn_seconds:.0f} s; check it.")
        await asyncio.sleep(_POLL_SECONDS)


async def _applied(connection: Any, schema: str) -> dict[str, bytes]:
    if await connection.fetchval("select to_regclass($1)", f"{schema}.migration") is None:
        return {}
    rows = await connection.fetch(f"select name, digest from {schema}.migration")  # noqa: S608 - our own schema names
    return {row["name"]: row["digest"] for row in rows}


def _missing(schema: str, migrations: list[Migration], applied: dict[str, bytes]) -> list[Migration]:
    """Return the migrations that have not run. Raises MigrationRefused."""
    unknown = applied.keys() - {migration.name for migration in migrations}
    if unknown:
        raise MigrationRefused(
            f"Schema {schema} has migrations that this version does not know ({', '.join(sorted(unknown))}): "
            "the database was used by a newer Depesche. Start that version, or another database."
        )
    for migration in migrations:
        if applied.get(migration.name, migration.digest) != migration.digest:
            raise MigrationRefused(f"{schema}/{migration.name} was changed after it had run; add a new file instead.")
    return [migration for migration in migrations if migration.name not in applied]


async def _run_patiently(connection: Any, schema: str, migration: Migration, patience: Patience) -> None:
    run = _run_outside if migration.sql.startswith(OUTSIDE) else _run
    for left in reversed(range(patience.tries)):
        try:
            await run(connection, schema, migration, f"{patience.lock_seconds * 1000:.0f}ms")
            return
        except asyncpg.LockNotAvailableError as error:
            if not left:
                raise Unavailable(
                    f"{schema}/{migration.name} did not get its lock in {patience.tries} attempts: something holds the "
                    "table for long (see pg_stat_activity). Earlier migrations stay; run this again."
                ) from error
            log.warning("migration_waits", schema=schema, what=migration.name)
            await asyncio.sleep(patience.pause_seconds)


async def _run(connection: Any, schema: str, migration: Migration, lock_timeout: str) -> None:
    async with connection.transaction():
        await connection.execute(_begin(schema, lock_timeout, "set local"))
        await connection.execute(migration.sql)
        await _remember(connection, schema, migration)


async def _run_outside(connection: Any, schema: str, migration: Migration, lock_timeout: str) -> None:
    """Run statement by statement. What an interrupted run left half built is built again."""
    await connection.execute(_begin(schema, lock_timeout, "set"))
    try:
        names = _CONCURRENT_INDEX.findall(migration.sql)
        for row in await connection.fetch(_INVALID, schema, names):
            await connection.execute(f"drop index concurrently {row[0]}")
        for statement in filter(None, map(str.strip, _STATEMENT.findall(migration.sql.removeprefix(OUTSIDE)))):
            await connection.execute(statement)
        await _remember(connection, schema, migration)
    finally:
        await connection.execute("reset search_path; reset lock_timeout")


def _begin(schema: str, lock_timeout: str, set_: str) -> str:
    return (
        f"create schema if not exists {schema};"
        f"{set_} search_path to {schema}; {set_} lock_timeout to '{lock_timeout}';"
        "create table if not exists migration (name text primary key, digest bytea not null,"
        " at timestamptz not null default now())"
    )


async def _remember(connection: Any, schema: str, migration: Migration) -> None:
    await connection.execute(
        f"insert into {schema}.migration (name, digest) values ($1, $2)",  # noqa: S608 - our own schema names
        migration.name,
        migration.digest,
    )
