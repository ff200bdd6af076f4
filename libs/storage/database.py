"""A service's pool: connections with its own schema first, UTC, JSON decoded exactly."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from libs import exact_json
from libs.errors import Invalid, Permanent, Unavailable
from libs.storage.arrays import tell_arrays_by_type
from libs.storage.watched import watched

_CONNECT_SECONDS = 10.0
_PROBE = "depesche_probe"
_IS_OURS = "select exists (select from pg_prepared_statements where name = $1)"
_SETTINGS = "select name, current_setting(name) from unnest($1::text[]) as name"
# What says something about the server and nothing about the statement (PostgreSQL, appendix A).
_AWAY = (
    OSError,  # also asyncpg's TimeoutError for a statement that takes too long
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.InsufficientResourcesError,  # disk full, out of memory, too many connections
    asyncpg.OperatorInterventionError,  # it stops, crashed, is starting, or somebody cancelled the statement
    asyncpg.PostgresIOError,
    asyncpg.ReadOnlySQLTransactionError,  # it is a standby: a failover
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TransactionTimeoutError,
    # raised for a connection that the server has just closed and nobody has read from since
    asyncpg.InternalClientError,
)


class Collided(Unavailable):
    """Postgres ended the transaction because of a concurrent one, and nothing of it was stored: it can be repeated."""


class PoolerUnfit(Permanent):
    """The pooler between us and Postgres does not fit; the detail says what to set."""

    slug = "pooler-unfit"
    title = "The connection pooler does not fit"


@dataclass(slots=True)
class Database:
    """One Postgres schema of one service. Open it in the service's lifespan; network errors become Unavailable.

    `pooled`: behind PgBouncer in transaction mode, where sessions start with their role's settings: see docs/adr/0161.
    `slow_seconds`: a statement that takes longer is reported as slow.
    `statement_timeout_seconds`: less than a handler's time on the bus. So a statement that waits for a lock is an
    outage, which is retried for a day, and no handler that hangs, whose event becomes a dead letter.
    `acquire_seconds`: how long to wait for a free connection; callers without a deadline would otherwise wait forever.
    """

    dsn: str
    schema: str
    min_size: int = 1
    max_size: int = 8
    server_settings: Mapping[str, str] = field(default_factory=dict)
    statement_timeout_seconds: float = 25.0
    pooled: bool = False
    slow_seconds: float = 0.5
    acquire_seconds: float = 10.0
    _pool: Any = None

    @property
    def session_settings(self) -> dict[str, str]:
        """Return the settings that each session starts with."""
        return {"search_path": self.schema, "timezone": "UTC", **self.server_settings}

    async def open(self) -> None:
        """Open the pool. Raises Unavailable if Postgres does not answer, PoolerUnfit."""
        tell_arrays_by_type()
        own = {} if self.pooled else self.session_settings
        try:
            self._pool = await asyncpg.create_pool(
                self.dsn,
                connection_class=watched(self.schema, self.slow_seconds),
                min_size=self.min_size,
                max_size=self.max_size,
                init=_prepare,
                reset=_nothing_to_reset,
                timeout=_CONNECT_SECONDS,
                command_timeout=self.statement_timeout_seconds,
                server_settings={"application_name": f"depesche {self.schema}", **own},
            )
        except (OSError, asyncpg.PostgresError) as error:
            # how PgBouncer refuses a session's settings; once it is known to be there, it has no server to lend
            if isinstance(error, asyncpg.ProtocolViolationError) and not self.pooled:
                raise PoolerUnfit(f"{error}. Behind PgBouncer, set DEPESCHE_POOLER=transaction.") from error
            raise Unavailable(f"Postgres does not answer: {error}") from error
        if self.pooled:
            try:
                await self._examine_pooler()
            except BaseException:
                await self.close()
                raise

    async def _examine_pooler(self) -> None:
        """A pooler that loses prepared statements, or sessions with other settings, would cause occasional failures."""
        async with self.transaction() as connection:
            # kept in a variable: otherwise the statement would be closed
            probe = await connection.prepare("select 1", name=_PROBE)
            if await connection.fetchval(_IS_OURS, probe.get_name()):
                raise PoolerUnfit(
                    "Prepared statements reach the server under their own names: in transaction mode PgBouncer must be "
                    "1.21 or newer, with max_prepared_statements of 500."
                )
            wanted = self.session_settings
            there = dict(await connection.fetch(_SETTINGS, list(wanted)))
            if wrong := sorted(name for name in wanted if there.get(name) != wanted[name]):
                raise PoolerUnfit(
                    f"Sessions start without their {', '.join(wrong)}: connect as depesche_{self.schema}; "
                    "`depesche migrate --roles` gives that role its settings."
                )

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.close()
            self._pool = None

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Any]:
        """Return a connection, outside a transaction. Raises Unavailable if none is free within `acquire_seconds`, or
        Postgres cannot do its work now; Collided after a deadlock or a serialization failure."""
        try:
            connection = await self._free_connection()
            try:
                yield connection
            except asyncpg.ReadOnlySQLTransactionError:
                await self._pool.expire_connections()  # the next ones lead to the new primary
                raise
            finally:
                await self._pool.release(connection)
        except _AWAY as error:
            raise Unavailable(f"Postgres does not answer: {type(error).__name__}") from error
        except (asyncpg.DeadlockDetectedError, asyncpg.SerializationError) as error:
            raise Collided(f"Two transactions collided ({type(error).__name__}); send it again.") from error
        except asyncpg.InvalidCachedStatementError as error:
            # a migration has just changed the table; inside a transaction asyncpg cannot prepare the statement again
            raise Unavailable("The schema has just changed; the statement is retried.") from error
        except (asyncpg.CharacterNotInRepertoireError, asyncpg.UntranslatableCharacterError) as error:
            # a query or path can contain %00, which no JSON parser has checked
            raise Invalid("A text contains the character U+0000, which cannot be stored; remove it.") from error

    async def _free_connection(self) -> Any:
        try:
            return await self._pool.acquire(timeout=self.acquire_seconds)
        except TimeoutError as error:
            raise Unavailable(
                f"None of {self.max_size} connections to Postgres became free within {self.acquire_seconds:g} s."
            ) from error

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        """Return a connection inside a transaction: committed at the end, rolled back on an error."""
        async with self.acquire() as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Any]:
        """Return a connection whose statements all see the same moment; it is read-only."""
        async with self.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
            yield connection


async def _prepare(connection: Any) -> None:
    for type_ in ("json", "jsonb"):
        await connection.set_type_codec(
            type_,
            schema="pg_catalog",
            encoder=lambda value: exact_json.dumps(value).decode(),
            decoder=exact_json.loads,
        )


async def _nothing_to_reset(_: Any) -> None:
    """Skip asyncpg's reset, a round trip per use of a connection. asyncpg has already rolled back; we set nothing per
    session (only `set local`), take no session locks and listen to nothing."""
