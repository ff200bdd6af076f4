"""Promises of our own mail dialogue only: connection reuse, few packets, fairness, and staying in step."""

import asyncio
import gc
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from libs.clock import system_clock
from libs.contracts.outcomes import Channel, Mode
from services.delivery.adapters.smtp import SmtpProvider
from services.delivery.adapters.smtp.connection import SmtpConnection
from services.delivery.domain.outbound import Outbound, Sender, SmtpAccount
from services.delivery.domain.outcomes import NOT_CALLED, Deferred, Outcome, Rejected, Sent
from tests.conformance.mail_server import MailServer
from tests.conformance.mail_world import VERP_KEY, mail_to, send, sender_for

MakeServer = Callable[..., MailServer]


@pytest.fixture(params=["by chunks", "by data"])
def mail_server(request: pytest.FixtureRequest) -> MakeServer:
    """The two ways to send texts."""
    return partial(MailServer, chunking="real" if request.param == "by chunks" else "")


async def test_connections_are_reused_and_commands_pipelined(mail_server: MakeServer) -> None:
    """A hundred mails in two chunks: two connections, and whole envelopes in one packet."""
    provider = SmtpProvider(VERP_KEY, system_clock)
    async with mail_server() as server:
        for _ in range(2):
            await send(provider, sender_for(server), [mail_to(f"u{n}@example.org") for n in range(50)])
        await provider.close()
    assert len(server.accepted) == 100
    assert server.connections == 2
    assert server.most_in_one_read >= 3


async def test_a_refusal_leaves_the_connection_in_step(mail_server: MakeServer) -> None:
    """Even if the server accepts DATA without a recipient, one connection handles all mails without a timeout."""
    provider = SmtpProvider(VERP_KEY, system_clock)
    for extensions in (("PIPELINING",), ("PIPELINING", "LENIENT-DATA"), ("LENIENT-DATA",)):
        async with mail_server(extensions=extensions) as server:
            sender = sender_for(server, connections=1)
            changed = Sender(7, 1, Mode.LIVE, Channel.EMAIL, len(str(extensions)), sender.account)
            outcomes = await send(
                provider, changed, [mail_to(f"{x}@example.org") for x in ("a", "dead", "b", "later", "c")]
            )
        assert [type(outcome) for outcome in outcomes] == [Sent, Rejected, Sent, Deferred, Sent]
        assert server.connections == 1


async def test_a_stale_connection_is_replaced_silently(mail_server: MakeServer) -> None:
    """The server has closed the cached connection: the next mail uses a fresh one."""
    provider = SmtpProvider(VERP_KEY, system_clock)
    async with mail_server(mails_per_connection=1) as server:
        sender = sender_for(server, connections=1)
        first = await send(provider, sender, [mail_to("a@example.org")])
        second = await send(provider, sender, [mail_to("b@example.org")])
    assert [type(o) for o in first + second] == [Sent, Sent]
    assert server.connections == 2


async def test_a_changed_sender_gets_new_connections(mail_server: MakeServer) -> None:
    provider = SmtpProvider(VERP_KEY, system_clock)
    async with mail_server() as old, mail_server() as new:
        await send(provider, sender_for(old), [mail_to("a@example.org")])
        changed = Sender(7, 1, Mode.LIVE, Channel.EMAIL, 2, sender_for(new).account)
        await send(provider, changed, [mail_to("b@example.org")])
    assert [len(old.accepted), len(new.accepted)] == [1, 1]


async def test_a_cancelled_chunk_leaves_no_dirty_connection(mail_server: MakeServer) -> None:
    """After a cancellation in the middle of a mail, the next mail does not read its reply."""
    provider = SmtpProvider(VERP_KEY, system_clock)
    async with mail_server() as server:
        sender = sender_for(server, connections=1, timeout_seconds=20.0)
        task = asyncio.create_task(send(provider, sender, [mail_to("accepted-then-slow@example.org")]))
        await server.arrived.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        [outcome] = await send(provider, sender, [mail_to("b@example.org")])
    assert isinstance(outcome, Sent)
    assert server.connections == 2


async def test_two_chunks_share_a_connection_fairly(mail_server: MakeServer) -> None:
    """On a slow connection, a single mail does not wait for the end of a large chunk."""
    provider = SmtpProvider(VERP_KEY, system_clock)
    order: list[str] = []
    async with mail_server(chunk=20, pause=0.02) as server:
        sender = sender_for(server, connections=1, timeout_seconds=5.0)
        deadline = time.monotonic() + 20
        bulk = [mail_to(f"bulk{n}@example.org") for n in range(60)]
        large = asyncio.create_task(provider.send(sender, bulk, deadline, lambda i, o: order.append("bulk")))
        await server.arrived.wait()
        await provider.send(sender, [mail_to("one@example.org")], deadline, lambda i, o: order.append("one"))
        await large
    assert order.index("one") < 30
    assert len(server.accepted) == 61


async def test_refused_mails_do_not_monopolise_a_connection(mail_server: MakeServer) -> None:
    provider = SmtpProvider(VERP_KEY, system_clock)
    order: list[str] = []
    async with mail_server(chunk=20) as server:
        sender = sender_for(server, connections=1, timeout_seconds=5.0)
        deadline = time.monotonic() + 20
        bulk = [mail_to("dead@example.org") for _ in range(150)]
        large = asyncio.create_task(provider.send(sender, bulk, deadline, lambda i, o: order.append("bulk")))
        await asyncio.sleep(0.05)
        await provider.send(sender, [mail_to("one@example.org")], deadline, lambda i, o: order.append("one"))
        await large
    assert order.index("one") < 100


async def test_a_fast_chunk_completes_before_the_next_starts(
    mail_server: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interleaved, both would be recorded in tiny batches."""
    monkeypatch.setattr(time, "monotonic", lambda: 1_000.0)  # no time passes
    provider = SmtpProvider(VERP_KEY, system_clock)
    order: list[str] = []
    async with mail_server() as server:
        sender = sender_for(server, connections=1, timeout_seconds=5.0)
        deadline = time.monotonic() + 20
        first, second = ([mail_to(f"{word}{n}@example.org") for n in range(15)] for word in ("first", "second"))
        begun = asyncio.create_task(provider.send(sender, first, deadline, lambda i, o: order.append("first")))
        await server.arrived.wait()
        await provider.send(sender, second, deadline, lambda i, o: order.append("second"))
        await begun
    assert order == ["first"] * 15 + ["second"] * 15


async def test_an_error_while_settling_reaches_the_caller(mail_server: MakeServer) -> None:
    """Settlement runs where replies arrive; an error must neither be swallowed there nor leave a reply for the next
    mail."""
    provider = SmtpProvider(VERP_KEY, system_clock)

    def broken(index: int, outcome: Outcome) -> None:
        raise LookupError("a bug of the caller")

    async with mail_server() as server:
        sender = sender_for(server, connections=1)
        with pytest.raises(LookupError):
            await provider.send(sender, [mail_to("a@example.org")], time.monotonic() + 5, broken)
        [outcome] = await send(provider, sender, [mail_to("b@example.org")])
    assert isinstance(outcome, Sent)
    assert server.connections == 2


@pytest.mark.parametrize(
    ("offered", "chatter"), [("PIPELINING", (250, 250, 354, 250)), ("PIPELINING\r\n250-CHUNKING", (250, 250, 250, 250))]
)
async def test_unsolicited_replies_are_not_trusted(offered: str, chatter: tuple[int, ...]) -> None:
    """A positive reply that precedes the text does not answer it: such a server has accepted nothing."""

    class Chatterbox(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            transport.write(b"220 mail.test\r\n")
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            if data.startswith(b"EHLO"):
                self.transport.write(f"250-mail.test\r\n250-{offered}\r\n250 SIZE\r\n".encode())
            else:
                self.transport.write("".join(f"{code} ok\r\n" for code in chatter).encode() * 3_000)
                self.transport.close()

    server = await asyncio.get_running_loop().create_server(Chatterbox, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    account = SmtpAccount("127.0.0.1", port, "shop@example.com", tls="off", connections=1)
    sender = Sender(7, 1, Mode.LIVE, Channel.EMAIL, 1, account)
    outcomes = await send(
        SmtpProvider(VERP_KEY, system_clock), sender, [mail_to(f"u{n}@example.org") for n in range(5)]
    )
    server.close()
    assert {type(outcome) for outcome in outcomes} == {Deferred}


async def test_no_text_is_sent_after_the_deadline(mail_server: MakeServer) -> None:
    """The server delayed the envelope until the lease had no time left for the text."""
    provider = SmtpProvider(VERP_KEY, system_clock)
    async with mail_server() as server:
        [outcome] = await send(provider, sender_for(server), [mail_to("ponders@example.org")], seconds=0.2)
    assert outcome == NOT_CALLED
    assert server.accepted == []


async def test_a_server_slow_at_each_command_gets_its_mail(mail_server: MakeServer) -> None:
    """Each reply is in time, though the three of an envelope together take longer."""
    provider = SmtpProvider(VERP_KEY, system_clock)
    async with mail_server(command_pause=0.4) as server:
        sender = sender_for(server, reply_timeout_seconds=1.0, timeout_seconds=3.0)
        [outcome] = await send(provider, sender, [mail_to("a@example.org")])
        await provider.close()
    assert isinstance(outcome, Sent)
    assert len(server.accepted) == 1


async def test_mails_are_released_once_sent(mail_server: MakeServer) -> None:
    """No reference cycle of ours holds a chunk: at ten thousand mails a second, memory cannot wait for the garbage
    collector."""

    class Chunk(list[Outbound]):
        pass

    provider = SmtpProvider(VERP_KEY, system_clock)
    gc.disable()
    try:
        async with mail_server() as server:
            chunk = Chunk([mail_to(f"{local}@example.org") for local in ("a", "dead", "later", "busy", "b")])
            held = weakref.ref(chunk)
            await send(provider, sender_for(server), chunk)
            del chunk
            await asyncio.sleep(0)
            assert held() is None
    finally:
        gc.enable()


async def test_a_text_not_read_in_time_does_not_arrive_later() -> None:
    """By then it is recorded as unknown and may be sent again on another connection."""
    came, goes_on, ended = 0, asyncio.Event(), asyncio.Event()

    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal came
        await goes_on.wait()
        with suppress(ConnectionError):
            while part := await reader.read(1 << 20):
                came += len(part)
        writer.close()
        ended.set()

    text = bytes(64 << 20)  # more than the kernel's buffers hold
    async with await asyncio.start_server(stall, "127.0.0.1", 0) as server:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: SmtpConnection(loop), *server.sockets[0].getsockname())
        connection.write(text)
        assert not await connection.wait(1, 0.05)
        connection.close()
        goes_on.set()
        await ended.wait()
    assert came < len(text)
