"""A role per service: it reaches its own schema, and nothing else in the database.

The role that runs `depesche migrate` owns schemas and tables. It needs CREATEROLE and ownership of the database, but
is not a superuser. A service's role may access rows (select, insert, update, delete) but owns no tables, with one
exception: tables partitioned by time, because services create and drop partitions while they run, and Postgres lets
only the owner attach and detach. See docs/adr/0160.
"""

import base64
import hashlib
import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import asyncpg

from libs.errors import Invalid, Permanent

_ITERATIONS = 4096  # Postgres' own default
# Tables partitioned by time, with their partitions. Those partitioned by hash are created once, by a migration.
_BY_TIME = """
select distinct t.relid::regclass::text as name
from pg_class c join pg_partitioned_table p on p.partrelid = c.oid cross join pg_partition_tree(c.oid) t
join pg_class leaf on leaf.oid = t.relid
where c.relnamespace = $1::regnamespace and p.partstrat = 'r' and leaf.relowner <> $2::regrole order by 1
"""


class RolesRefused(Permanent):
    """The current role may not do this; the detail says what it lacks."""

    slug = "roles-refused"
    title = "The services' roles cannot be created"


@dataclass(frozen=True, slots=True)
class ServiceRole:
    """The settings of a service's sessions: behind a pooler, sessions cannot set them themselves."""

    schema: str
    settings: Mapping[str, str]

    @property
    def name(self) -> str:
        return f"depesche_{self.schema}"


async def make_roles(dsn: str, roles: list[ServiceRole], passwords: Mapping[str, str] | None = None) -> list[str]:
    """Create the missing roles, and give each exactly its rights; return their names.

    A new role may not log in. `passwords` (schema → password) lets those roles log in with them; the server gets
    only the SCRAM verifier. Raises RolesRefused, and Invalid for a password that is not printable ASCII."""
    verifiers = {schema: scram_verifier(password) for schema, password in (passwords or {}).items()}
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction():
            for role in roles:
                if not await _exists(connection, role):
                    # granted to ourselves: a table can only be given to a role of which one is a member
                    await connection.execute(f"create role {role.name} nologin; grant {role.name} to current_user")
                if verifier := verifiers.get(role.schema):
                    await connection.execute(f"alter role {role.name} login password '{verifier}'")
            await _close_database(connection, roles)
            for role in roles:
                await _grant(connection, role)
        return [role.name for role in roles]
    except asyncpg.InsufficientPrivilegeError as error:
        raise RolesRefused(
            f"{error}. Run this as the owner of the database and everything in it, with CREATEROLE."
        ) from error
    finally:
        await connection.close()


async def renew_grants(dsn: str, roles: list[ServiceRole]) -> list[str]:
    """Give the existing roles their rights to what migrations have created; return their names."""
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction():
            there = [role for role in roles if await _exists(connection, role)]
            for role in there:
                await _grant(connection, role)
        return [role.name for role in there]
    except asyncpg.InsufficientPrivilegeError as error:
        raise RolesRefused(f"{error}. Run migrations with the same role as before.") from error
    finally:
        await connection.close()


async def _exists(connection: Any, role: ServiceRole) -> bool:
    return bool(await connection.fetchval("select exists (select from pg_roles where rolname = $1)", role.name))


async def _close_database(connection: Any, roles: list[ServiceRole]) -> None:
    """Let only our roles connect: the database is Depesche's alone."""
    database = await connection.fetchval("select quote_ident(current_database())")
    names = ", ".join(role.name for role in roles)
    await connection.execute(
        f"revoke all on database {database} from public; grant connect on database {database} to {names};"
        "revoke all on schema public from public"
    )


async def _grant(connection: Any, role: ServiceRole) -> None:
    name, schema = role.name, role.schema
    # create: for its partitions; `default privileges` covers what later migrations create
    await connection.execute(f"""
        grant usage, create on schema {schema} to {name};
        grant select, insert, update, delete on all tables in schema {schema} to {name};
        grant usage on all sequences in schema {schema} to {name};
        alter default privileges in schema {schema} grant select, insert, update, delete on tables to {name};
        alter default privileges in schema {schema} grant usage on sequences to {name};
        revoke all on {schema}.migration from {name};
    """)
    for row in await connection.fetch(_BY_TIME, schema, name):
        await connection.execute(f"alter table {row['name']} owner to {name}")
    database = await connection.fetchval("select quote_ident(current_database())")
    for setting, value in sorted(role.settings.items()):
        await connection.execute(f"alter role {name} in database {database} set {setting} = '{value}'")


def scram_verifier(password: str, salt: bytes | None = None) -> str:
    """Return what Postgres stores for a password (RFC 5803, SCRAM-SHA-256). Computed here, so that the password
    appears in no statement and no server log. Raises Invalid for a password that SASLprep might change."""
    if not password or not (password.isascii() and password.isprintable()):
        raise Invalid("A password must be printable ASCII and not empty.", pointer="passwords")
    salt = salt or os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    written = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${_ITERATIONS}:{written[0]}${written[1]}:{written[2]}"
