"""Bounce mails come in over SMTP: kept before their 250, strangers refused, limits kept."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiosmtplib
import asyncpg
import pytest

from services.bounce.adapters.smtp import SmtpListener
from services.bounce.loops import listener
from tests.flows.bounces import MESSAGE, World, report, until, world

__all__ = ["world"]


@asynccontextmanager
async def listening(world: World, port: int = 0) -> AsyncIterator[int]:
    """The listener on a free port, as its loop runs it."""
    made = SmtpListener("127.0.0.1", port, limits_of(world))
    object.__setattr__(world.service.deps, "listener", made)
    stop = asyncio.Event()
    task = asyncio.create_task(listener(world.service.deps, stop))
    try:
        for _ in range(500):
            if made.port is None:
                await asyncio.sleep(0.01)
        assert made.port is not None
        yield made.port
    finally:
        stop.set()
        await task


def limits_of(world: World) -> Any:
    from services.bounce.adapters.smtp import Limits

    return Limits(max_mail_bytes=50_000, max_connections=2, max_recipients=3, idle_seconds=5)


async def test_a_bounce_mail_over_smtp_bars_the_address(world: World) -> None:
    async with listening(world) as port:
        async with aiosmtplib.SMTP(hostname="127.0.0.1", port=port) as smtp:
            await smtp.sendmail("", [world.path.upper()], report("somebody@else.example"))

        async def barred() -> bool:
            return bool(await world.suppressions())

        await until(world, barred)
    assert (await world.get("/v1/bounces", message=MESSAGE))["items"][0]["origin"] == "mail"


async def test_strangers_are_refused_at_rcpt_and_counted(world: World) -> None:
    async with listening(world) as port, aiosmtplib.SMTP(hostname="127.0.0.1", port=port) as smtp:
        await smtp.mail("")
        for stranger in ("someone@bounces.example", "b-abcdef@bounces.example"):
            with pytest.raises(aiosmtplib.SMTPResponseException) as refused:
                await smtp.rcpt(stranger)
            assert refused.value.code == 550
    connection = await asyncpg.connect(world.dsn)
    assert await connection.fetchval("select sum(count) from bounce.backscatter") == 2
    assert await connection.fetchval("select count(*) from bounce.mail") == 0
    await connection.close()


async def test_limits_of_size_recipients_and_connections(world: World) -> None:
    async with listening(world) as port, aiosmtplib.SMTP(hostname="127.0.0.1", port=port) as smtp:
        with pytest.raises(aiosmtplib.SMTPException) as too_large:
            await smtp.sendmail("", [world.path], b"x: y\r\n\r\n" + b"z" * 60_000)
        assert "552" in str(too_large.value)
        await smtp.rset()
        await smtp.mail("")
        for _ in range(3):
            await smtp.rcpt(world.path)
        with pytest.raises(aiosmtplib.SMTPResponseException) as too_many:
            await smtp.rcpt(world.path)
        assert too_many.value.code == 452
        second = await asyncio.open_connection("127.0.0.1", port)
        assert (await second[0].readline()).startswith(b"220")
        third = await asyncio.open_connection("127.0.0.1", port)
        assert (await third[0].readline()).startswith(b"421")
        for _, writer in (second, third):
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


async def test_no_250_without_the_bytes_in_the_database(world: World) -> None:
    async with listening(world) as port, aiosmtplib.SMTP(hostname="127.0.0.1", port=port) as smtp:
        await smtp.mail("")
        await smtp.rcpt(world.path)
        connection = await asyncpg.connect(world.dsn)
        await connection.execute("alter table bounce.mail rename to mail_away")
        with pytest.raises(aiosmtplib.SMTPResponseException) as refused:
            await smtp.data(report(world.path))
        assert refused.value.code == 451
        await connection.execute("alter table bounce.mail_away rename to mail")
        await connection.close()


async def test_a_taken_port_is_waited_for(world: World) -> None:
    async with listening(world) as port:
        waiting = SmtpListener("127.0.0.1", port, limits_of(world))
        stop = asyncio.Event()

        async def never(*_: Any) -> None:
            return None

        task = asyncio.create_task(waiting.serve(never, never, stop))
        await asyncio.sleep(0.05)
        assert waiting.port is None
        stop.set()
        await task
