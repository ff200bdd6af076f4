"""A database that goes away in the middle is told as such, whatever the driver calls it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from libs.errors import Unavailable
from libs.storage.database import Database


class Pool:
    """Gives connections, as asyncpg's."""

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[object]:
        yield object()


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
        asyncpg.AdminShutdownError("terminating connection due to administrator command"),
        asyncpg.CrashShutdownError("terminating connection because of crash of another server process"),
        asyncpg.CannotConnectNowError("the database system is starting up"),
        asyncpg.TooManyConnectionsError("sorry, too many clients already"),
        asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress"),
    ],
)
async def test_a_connection_that_was_cut_is_unavailable(error: Exception) -> None:
    database = Database("postgresql://", "access", _pool=Pool())
    with pytest.raises(Unavailable):
        async with database.acquire():
            raise error
