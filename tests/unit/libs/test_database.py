"""A database that fails midway is reported as unavailable, whatever the driver raises."""

import asyncio

import asyncpg
import pytest

from libs.errors import Unavailable
from libs.storage.database import Database, PoolerUnfit


class Pool:
    """Lends connections, like asyncpg's."""

    def __init__(self, free: int = 1) -> None:
        self._free = free

    async def acquire(self, *, timeout: float) -> object:
        if not self._free:
            await asyncio.sleep(timeout)
            raise TimeoutError
        self._free -= 1
        return object()

    async def release(self, _: object) -> None:
        self._free += 1


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
        asyncpg.DiskFullError("could not extend file: No space left on device"),
        asyncpg.OutOfMemoryError("out of memory"),
        asyncpg.PostgresIOError("could not read block 7: Input/output error"),
        asyncpg.QueryCanceledError("canceling statement due to statement timeout"),
        asyncpg.IdleInTransactionSessionTimeoutError("terminating connection due to idle-in-transaction timeout"),
        asyncpg.TransactionTimeoutError("terminating connection due to transaction timeout"),
    ],
)
async def test_a_server_that_cannot_do_its_work_now_raises_unavailable(error: Exception) -> None:
    database = Database("postgresql://", "access", _pool=Pool())
    with pytest.raises(Unavailable):
        async with database.acquire():
            raise error


async def test_waiting_too_long_for_a_connection_raises_unavailable_and_leaks_none() -> None:
    database = Database("postgresql://", "access", max_size=1, acquire_seconds=0.01, _pool=Pool())
    async with database.acquire():
        with pytest.raises(Unavailable, match=r"None of 1 connections to Postgres became free within 0\.01 s"):
            async with database.acquire():
                pass
    async with database.acquire():
        pass  # the first has returned its own


@pytest.mark.parametrize(("pooled", "raised"), [(False, PoolerUnfit), (True, Unavailable)])
async def test_a_pooler_without_a_server_is_no_unfit_pooler(
    monkeypatch: pytest.MonkeyPatch, pooled: bool, raised: type[Exception]
) -> None:
    async def refused(*_: object, **__: object) -> None:
        raise asyncpg.ProtocolViolationError("server login has been failing, cached error: connect failed")

    monkeypatch.setattr(asyncpg, "create_pool", refused)
    with pytest.raises(raised):
        await Database("postgresql://", "access", pooled=pooled).open()
