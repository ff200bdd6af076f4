"""Migrations: numbered SQL files per service, each run once in a transaction, in the service's own schema.

`migrate` takes an advisory lock, so that replicas starting together do it once, and refuses a database that is newer
than the code. It runs beside the previous version: no statement waits long for a lock, since all traffic would queue
behind it; it is tried again instead. Files are `NNNN_name.sql`; libs/storage/migrations are common to all services and
come first. A file that begins with `-- outside a transaction` has `create index concurrently` and the like: one
statement each, which may be run again. See docs/adr/0162.
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
_STATEMENT = re.compile(r"(?:--[^\n]*|\$\$.*?\$\$|[^;])+", re.DOTALL)  # a `;` in a comment or a body ends none
_CONCURRENT_INDEX = re.compile(r"create (?:unique )?index concurrently if not exists (\w+)", re.IGNORECASE)
_INVALID = """
select c.oid::regclass::text from pg_class c join pg_index i on i.indexrelid = c.oid
where c.relnamespace = $1::regnamespace and c.relname = any($2::text[]) and not i.indisvalid
"""

log = get_logger(__name__)


class MigrationRefused(Permanent):
    """The database and the code do not fit each other."""

    status = 409
    slug = "migration-refused"
    title = "Migration refused"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long locks are waited for. `lock_seconds`: how long traffic may queue behind a statement of ours."""

    lock_seconds: float = 1.0
    pause_seconds: float = 2.0
    tries: int = 30
    turn_seconds: float = 600.0  # for another migrator to end


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
    """The common migrations, then the folder's, in order."""
    common = [Migration(f"common/{path.stem}", path.read_text()) for path in _files(COMMON)]
    return common + [Migration(path.stem, path.read_text()) for path in _files(folder)]


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.sql") if _FILE.fullmatch(path.name))


async def migrate(dsn: str, folders: dict[str, Path], patience: Patience = PATIENT) -> list[str]:
    """Brings each schema up to its folder's files; returns what was run (`schema/name`).

    Raises MigrationRefused where a schema has migrations that the code does not know, or a file was changed after it
    had run (then nothing is run), or where a pooler stands between; Unavailable where a lock could not be had in time:
    what ran before stays.
    """
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
    """What `migrate` would run (`schema/name`)."""
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
                "A pooler stands between, and would give the lock to whoever comes next. Name PostgreSQL itself with "
                "--dsn (DEPESCHE_OWNER_DSN)."
            )
        # a migrator that was killed leaves its statement and its lock within a second, where the server can tell
        with suppress(asyncpg.InvalidParameterValueError):
            await connection.execute("set client_connection_check_interval = '1s'")
        yield connection
    finally:
        await connection.close()


async def _take_turn(connection: Any, patience: Patience) -> None:
    """Asked again and again: who waits in a statement holds a snapshot, which an index made concurrently waits for."""
    until = time.monotonic() + patience.turn_seconds
    while not await connection.fetchval("select pg_try_advisory_lock($1)", _LOCK):
        if time.monotonic() > until:
            raise Unavailable(f"Another migration has run for {patience.turn_seconds:.0f} s; look at it.")
        await asyncio.sleep(_POLL_SECONDS)


async def _applied(connection: Any, schema: str) -> dict[str, bytes]:
    if await connection.fetchval("select to_regclass($1)", f"{schema}.migration") is None:
        return {}
    rows = await connection.fetch(f"select name, digest from {schema}.migration")  # noqa: S608 - our own schema names
    return {row["name"]: row["digest"] for row in rows}


def _missing(schema: str, migrations: list[Migration], applied: dict[str, bytes]) -> list[Migration]:
    """What has not run. Raises MigrationRefused."""
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
                    f"{schema}/{migration.name} got its lock in none of {patience.tries} tries: something holds the "
                    "table for long (pg_stat_activity shows it). What ran before it stays; run this again."
                ) from error
            log.warning("migration_waits", schema=schema, what=migration.name)
            await asyncio.sleep(patience.pause_seconds)


async def _run(connection: Any, schema: str, migration: Migration, lock_timeout: str) -> None:
    async with connection.transaction():
        await connection.execute(_begin(schema, lock_timeout, "set local"))
        await connection.execute(migration.sql)
        await _remember(connection, schema, migration)


async def _run_outside(connection: Any, schema: str, migration: Migration, lock_timeout: str) -> None:
    """Statement by statement. What a broken run has left half made is made anew."""
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
