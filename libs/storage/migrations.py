"""Migrations: numbered SQL files per service, each run once in a transaction, in the service's own schema.

`migrate` takes an advisory lock, so that replicas starting together do it once, and refuses a database that
is newer than the code. Files are `NNNN_name.sql`; libs/storage/migrations are common to all services and
come first.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from libs.errors import Permanent

COMMON = Path(__file__).parent / "migrations"
_FILE = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
_LOCK = 0x6465_7065_7363_6865  # "depesche"


class MigrationRefused(Permanent):
    """The database and the code do not fit each other."""

    slug = "migration-refused"
    title = "Migration refused"


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


async def migrate(dsn: str, folders: dict[str, Path]) -> list[str]:
    """Brings each schema up to its folder's files; returns what was run (`schema/name`).

    Raises MigrationRefused where a schema has migrations that the code does not know, or a file was changed
    after it had run.
    """
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("select pg_advisory_lock($1)", _LOCK)
        done: list[str] = []
        for schema, folder in sorted(folders.items()):
            done += await _migrate_schema(connection, schema, migrations_of(folder))
        return done
    finally:
        await connection.close()


async def pending(dsn: str, folders: dict[str, Path]) -> list[str]:
    """What `migrate` would run (`schema/name`)."""
    connection = await asyncpg.connect(dsn)
    try:
        missing: list[str] = []
        for schema, folder in sorted(folders.items()):
            known = await _applied(connection, schema)
            missing += [f"{schema}/{m.name}" for m in migrations_of(folder) if m.name not in known]
        return missing
    finally:
        await connection.close()


async def _applied(connection: Any, schema: str) -> dict[str, bytes]:
    if await connection.fetchval("select to_regclass($1)", f"{schema}.migration") is None:
        return {}
    rows = await connection.fetch(f"select name, digest from {schema}.migration")  # noqa: S608 - our own schema names
    return {row["name"]: row["digest"] for row in rows}


async def _migrate_schema(connection: Any, schema: str, migrations: list[Migration]) -> list[str]:
    applied = await _applied(connection, schema)
    unknown = applied.keys() - {m.name for m in migrations}
    if unknown:
        raise MigrationRefused(
            f"Schema {schema} has migrations that this version does not know ({', '.join(sorted(unknown))}): "
            "the database was used by a newer Depesche. Start that version, or another database."
        )
    done: list[str] = []
    for migration in migrations:
        if (digest := applied.get(migration.name)) is not None:
            if digest != migration.digest:
                raise MigrationRefused(
                    f"{schema}/{migration.name} was changed after it had run; add a new file instead."
                )
            continue
        async with connection.transaction():
            await connection.execute(
                f"create schema if not exists {schema}; set local search_path to {schema};"
                "create table if not exists migration (name text primary key, digest bytea not null,"
                " at timestamptz not null default now())"
            )
            await connection.execute(migration.sql)
            await connection.execute(
                f"insert into {schema}.migration (name, digest) values ($1, $2)",  # noqa: S608
                migration.name,
                migration.digest,
            )
        done.append(f"{schema}/{migration.name}")
    return done
