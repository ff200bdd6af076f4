"""Bounce mails come in over SMTP: stored before their 250, strangers refused, limits enforced."""

import asyncio
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiosmtplib
import asyncpg
import pytest
from pydantic import ValidationError

from services.bounce.adapters.peers import Limits, Peers
from services.bounce.adapters.places import Place, Taken, TcpPlace, UnixPlace
from services.bounce.adapters.smtp import SmtpListener
from services.bounce.loops import listener
from services.bounce.settings import BounceSettings
from tests.flows.bounces import MESSAGE, World, report, until, world
from tests.waiting import eventually

__all__ = ["world"]


@asynccontextmanager
async def listening(world: World, place: Place | None = None, *, local: bool = False) -> AsyncIterator[Any]:
    """Run the listener on a free port or at a place, as its loop does."""
    made = SmtpListener(place or TcpPlace("127.0.0.1", 0), limits_of(world), local=local)
    object.__setattr__(world.service.deps, "listener", made)
    stop = asyncio.Event()
    task = asyncio.create_task(listener(world.service.deps, stop))
    try:
        yield await eventually(lambda: made.at)
    finally:
        stop.set()
        await task


def limits_of(world: World) -> Limits:
    return Limits(50_000, 2, 2, 3, 20, 120)


async def test_a_bounce_mail_over_smtp_bars_the_address(world: World) -> None:
    async with listening(world) as port:
        async with aiosmtplib.SMTP(hostname="127.0.0.1", port=port) as smtp:
            await smtp.sendmail("", [world.path.upper()], report("somebody@else.example"))

        async def barred() -> bool:
            return bool(await world.suppressions())

        await until(world, barred)
    assert (await world.get("/v1/bounces", message=MESSAGE))["items"][0]["origin"] == "mail"


async def test_the_senders_return_path_is_kept_with_the_mail(world: World) -> None:
    quoted = b"Subject: Mail delivery failed\r\n\r\nMy colleague got a 550 5.1.1 User unknown. Why?\r\n"
    async with listening(world) as port, aiosmtplib.SMTP(hostname="127.0.0.1", port=port) as smtp:
        await smtp.sendmail("kim@customer.example", [world.path], quoted)
        await smtp.sendmail("", [world.path], quoted)
    connection = await asyncpg.connect(world.dsn)
    rows = await connection.fetch("select raw from bounce.mail order by id")
    await connection.close()
    assert [bytes(row["raw"]).partition(b"\r\n")[0] for row in rows] == [
        b"Return-Path: <kim@customer.example>",
        b"Return-Path: <>",
    ]


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
        waiting = SmtpListener(TcpPlace("127.0.0.1", port), limits_of(world))
        stop = asyncio.Event()

        async def never(*_: Any) -> None:
            return None

        task = asyncio.create_task(waiting.serve(never, never, stop))
        await asyncio.sleep(0.05)
        assert waiting.at is None
        stop.set()
        await task


async def said(at: int | str, *lines: str | bytes) -> list[str]:
    """Return a listener's replies, line by line; the dialogue begins with a greeting and ends with QUIT."""
    connected = asyncio.open_unix_connection(at) if isinstance(at, str) else asyncio.open_connection("127.0.0.1", at)
    reader, writer = await connected
    for line in (*lines, "QUIT"):
        writer.write((line.encode() if isinstance(line, str) else line) + b"\r\n")
    answers = (await reader.read()).decode().splitlines()
    writer.close()
    await writer.wait_closed()
    return [answer for answer in answers if not answer.startswith("250-")]


async def test_lmtp_answers_for_each_recipient_once_the_mail_is_kept(world: World) -> None:
    path = world.path
    mail = ["MAIL FROM:<>", f"RCPT TO:<{path}>", "RCPT TO:<stranger@bounces.example>", f"RCPT TO:<{path.upper()}>"]
    async with listening(world, local=True) as port:
        answers = await said(port, "LHLO mx.shop.example", *mail, "DATA", report(path) + b"\r\n.")
        assert [answer[:3] for answer in answers] == [
            "220",
            "250",
            "250",
            "250",
            "550",
            "250",
            "354",
            "250",
            "250",
            "221",
        ]
        assert (await said(port, "EHLO mx.shop.example"))[1].startswith("500")
        # a refusal after the mail is repeated for each recipient
        large = await said(port, "LHLO x", *mail, "DATA", b"a: b\r\n\r\n" + b"z" * 60_000 + b"\r\n.")
        assert [answer[:3] for answer in large[-4:]] == ["354", "552", "552", "221"]
    connection = await asyncpg.connect(world.dsn)
    assert await connection.fetchval("select count(*) from bounce.mail") == 2
    await connection.close()


async def test_lmtp_says_for_each_recipient_that_nothing_was_kept(world: World) -> None:
    connection = await asyncpg.connect(world.dsn)
    async with listening(world, local=True) as port:
        await connection.execute("alter table bounce.mail rename to mail_away")
        rcpt = f"RCPT TO:<{world.path}>"
        answers = await said(port, "LHLO x", "MAIL FROM:<>", rcpt, rcpt, "DATA", report(world.path) + b"\r\n.")
        assert [answer[:3] for answer in answers[-4:]] == ["354", "451", "451", "221"]
        await connection.execute("alter table bounce.mail_away rename to mail")
    await connection.close()


async def test_a_mail_server_hands_over_at_a_socket(world: World, tmp_path: Path) -> None:
    place = UnixPlace(str(tmp_path / "lmtp"), 0o620)
    async with listening(world, place, local=True) as path:
        found = (tmp_path / "lmtp").stat()
        assert (stat.S_ISSOCK(found.st_mode), stat.S_IMODE(found.st_mode)) == (True, 0o620)
        rcpt = f"RCPT TO:<{world.path}>"
        answers = await said(path, "LHLO mx", "MAIL FROM:<>", rcpt, "DATA", report(world.path) + b"\r\n.")
        assert [answer[:3] for answer in answers[-2:]] == ["250", "221"]
    assert not (tmp_path / "lmtp").exists()
    connection = await asyncpg.connect(world.dsn)
    assert await connection.fetchval("select count(*) from bounce.mail") == 1
    await connection.close()


async def test_a_socket_that_a_killed_process_left_is_taken_over(world: World, tmp_path: Path) -> None:
    path = str(tmp_path / "lmtp")
    kill = f"import socket, os; s = socket.socket(socket.AF_UNIX); s.bind({path!r}); s.listen(); os._exit(9)"
    assert (await (await asyncio.create_subprocess_exec(sys.executable, "-c", kill)).wait()) == 9
    assert stat.S_ISSOCK((tmp_path / "lmtp").stat().st_mode)
    async with listening(world, UnixPlace(path, 0o660), local=True) as at:
        assert (await said(at, "LHLO mx"))[0].startswith("220")


async def test_a_socket_at_which_somebody_listens_is_left_alone_and_waited_for(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.bounce.adapters.smtp._RETRY_SECONDS", 0.02)
    path = str(tmp_path / "lmtp")
    stop, first = asyncio.Event(), UnixPlace(path, 0o660)
    second = SmtpListener(UnixPlace(path, 0o660), limits_of(world), local=True)

    async def never(*_: Any) -> None:
        return None

    async with listening(world, first, local=True) as at:
        task = asyncio.create_task(second.serve(never, never, stop))
        await asyncio.sleep(0.1)
        assert second.at is None
        assert (await said(at, "LHLO mx"))[0].startswith("220")
    await eventually(lambda: second.at)
    assert (await said(path, "LHLO mx"))[0].startswith("220")  # it takes over
    stop.set()
    await task
    stranger = await asyncio.start_unix_server(lambda _, writer: writer.close(), path)  # without our lock
    with pytest.raises(Taken):
        await UnixPlace(path, 0o660).listen(asyncio.Protocol)
    stranger.close()
    (tmp_path / "lmtp").unlink()
    (tmp_path / "lmtp").write_text("letters of a lifetime")
    with pytest.raises(FileExistsError):
        await UnixPlace(path, 0o660).listen(asyncio.Protocol)
    assert (tmp_path / "lmtp").read_text() == "letters of a lifetime"


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("8724", 8724),
        (0, 0),
        ("unix:/run/lmtp", "unix:/run/lmtp"),
        *((wrong, None) for wrong in ("unix:lmtp", "-1", 70_000, "unix:/" + "x" * 100, "/run/lmtp")),
    ],
)
def test_the_setting_is_a_port_or_a_socket(given: Any, taken: Any) -> None:
    if taken is None:
        with pytest.raises(ValidationError, match="lmtp_port"):
            BounceSettings(lmtp_port=given)
    else:
        assert BounceSettings(lmtp_port=given).lmtp_port == taken


async def test_a_host_begins_so_many_mails_in_a_minute(world: World) -> None:
    async with listening(world) as port:
        answers = await said(port, "EHLO x", *["MAIL FROM:<>", "RSET"] * 25)
        begun = [answer[:3] for answer in answers[2:-1:2]]
        # the minute may change between two of them
        assert begun.count("250") in range(20, 26)
        assert begun.count("451") in range(6)
    peers = Peers(Limits(1, 9, 2, 1, 3, 1))
    assert [peers.may_send("2001:db8::1") for _ in range(2)] == [True, True]
    assert peers.may_send("2001:db8::2")
    assert not peers.may_send("2001:db8::3"), "one customer's addresses are one host"
    assert peers.may_send("2001:db8:0:1::1")


def test_one_host_cannot_take_every_connection() -> None:
    peers = Peers(Limits(1, 4, 2, 1, 3, 1))
    assert [peers.enter("192.0.2.1") for _ in range(3)] == [True, True, False]
    assert peers.enter("192.0.2.2")
    assert peers.enter("192.0.2.3")
    assert not peers.enter("192.0.2.4"), "and all of them no more than there are"
    peers.leave("192.0.2.1")
    assert peers.enter("::ffff:192.0.2.1")
    assert not peers.enter("192.0.2.1")
