"""A client that stops in the middle of a request gets 408, and holds neither a socket nor a shutdown."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, Request

from libs.http_server import HttpProtocol

_HEAD = b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n"


class _Clock:
    """The loop of the protocols, with a time that only the test moves; and what the protocols have seen."""

    now = 0.0
    received = looks = 0
    answered: asyncio.Event

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def time(self) -> float:
        return _Clock.now

    @classmethod
    async def has_received(cls, count: int) -> None:
        while cls.received < count:  # noqa: ASYNC110 - seen from the protocol's callbacks
            await asyncio.sleep(0.001)

    @classmethod
    async def has_looked(cls) -> None:
        seen = cls.looks
        while cls.looks == seen:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.001)


class _Watched(HttpProtocol):
    patience_seconds = 1.0
    look_seconds = 0.02
    linger_seconds = 60.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.loop = _Clock(self.loop)  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        _Clock.received += len(data)

    def _look_again(self) -> None:
        super()._look_again()
        _Clock.looks += 1


async def echo(request: Request) -> int:
    return len(await request.body())


async def slow() -> str:
    await _Clock.answered.wait()
    return "done"


@pytest.fixture
async def port() -> AsyncIterator[int]:
    _Clock.now, _Clock.received, _Clock.answered = 0.0, 0, asyncio.Event()
    app = FastAPI()
    app.add_api_route("/echo", echo, methods=["POST"])
    app.add_api_route("/slow", slow)
    server = uvicorn.Server(uvicorn.Config(app, port=0, http=_Watched, log_config=None, lifespan="off"))
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await task


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("sent", "part"), [(b"POST /echo HTTP/1.1\r\nhost:", "head"), (_HEAD, "body"), (_HEAD + b"12345", "body")]
)
async def test_a_request_that_does_not_go_on_is_answered_408_and_ends(port: int, sent: bytes, part: str) -> None:
    async with connected(port) as (reader, writer):
        writer.write(sent)
        await _Clock.has_received(len(sent))
        _Clock.now += 1
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert b"content-type: application/problem+json" in head
    assert json.loads(body)["detail"].startswith(f"The {part} of the request stalled")


async def test_a_head_that_comes_in_drops_ends_as_well(port: int) -> None:
    async with connected(port) as (reader, writer):
        for drop in [b"GET /slow HTTP/1.1\r\nx-drops: ", b"x", b"x", b"x"]:
            await _Clock.has_looked()  # its time runs since the first drop, not since the last
            received = _Clock.received
            writer.write(drop)
            await _Clock.has_received(received + len(drop))
            _Clock.now += 0.25
        assert (await reader.read()).startswith(b"HTTP/1.1 408 ")


async def test_a_client_that_sends_on_after_its_refusal_still_reads_it(port: int) -> None:
    client = socket.create_connection(("127.0.0.1", port))
    with client:
        client.sendall(b"GET /slow HTTP/1.1\r\nx-drops: ")
        await _Clock.has_received(1)
        _Clock.now += 1
        await asyncio.to_thread(
            client.recv, 1, socket.MSG_PEEK
        )  # it is there; now the client sends on, without looking
        for _ in range(3):
            client.sendall(b"x" * 10)
        answer = await asyncio.to_thread(_all_of, client)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert answer.endswith(b"}")


def _all_of(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(65_536), b""))


@pytest.mark.parametrize(
    ("begun", "endless"),
    [
        (b"GET /", b"a"),
        (b"GET /slow HTTP/1.1\r\nx-long: ", b"a"),
        (b"GET /slow HTTP/1.1\r\n", b"x-many: a\r\n"),
        (b"POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx-trailer: ", b"a"),
    ],
)
async def test_a_head_that_never_ends_is_refused_before_it_blocks_the_others(
    port: int, begun: bytes, endless: bytes
) -> None:
    async with connected(port) as (reader, writer):
        writer.write(begun)
        answer = asyncio.create_task(reader.read())
        sent = 0
        while not answer.done():
            writer.write(endless * (30_000 // len(endless)))
            sent += 30_000
            await writer.drain()
            await asyncio.sleep(0.001)
        assert (await answer).startswith(b"HTTP/1.1 431 ")
    assert sent < 2_000_000


@pytest.mark.parametrize("size", [1, 1_000])
async def test_many_small_chunks_and_long_headers_are_no_endless_head(port: int, size: int) -> None:
    count = 40_000 if size == 1 else 400
    head = b"POST /echo HTTP/1.1\r\nhost: x\r\nx-long: " + b"a" * 50_000 + b"\r\ntransfer-encoding: chunked\r\n\r\n"
    async with connected(port) as (reader, writer):
        for _ in range(2):  # the second one on the same connection
            writer.write(head + b"%x\r\n%s\r\n" % (size, b"a" * size) * count + b"0\r\n\r\n")
            await writer.drain()
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
            assert int(await reader.readexactly(len(str(size * count)))) == size * count


async def test_a_connection_that_asks_nothing_is_closed_without_a_word(port: int) -> None:
    async with connected(port) as (reader, _):
        await _Clock.has_looked()
        _Clock.now += 1
        assert await reader.read() == b""


async def test_a_body_that_moves_on_and_an_answer_that_takes_its_time_are_waited_for(port: int) -> None:
    async with connected(port) as (reader, writer):
        writer.write(_HEAD)
        await _Clock.has_received(len(_HEAD))
        for count in range(1, 11):
            _Clock.now += 0.9
            await _Clock.has_looked()
            writer.write(b"1")
            await _Clock.has_received(len(_HEAD) + count)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        await reader.readexactly(2)
        writer.write(
            request := b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\nGET /sl"
        )  # the next begins while this is answered
        await _Clock.has_received(len(_HEAD) + 10 + len(request))
        _Clock.now += 5
        await _Clock.has_looked()
        _Clock.answered.set()
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("sent", [b"\x16\x03\x01\x02\x00\r\n\r\n", b"GARBAGE\r\n\r\n", _HEAD.replace(b"10", b"-1")])
async def test_what_is_no_http_is_a_problem_like_any_other(port: int, sent: bytes) -> None:
    async with connected(port) as (reader, writer):
        writer.write(sent)
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert json.loads(body)["status"] == 400


_OFFER = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAEAAEAAAAIAAAAB\r\n"
_OFFERING = b"POST /echo HTTP/1.1\r\nhost: x\r\n" + _OFFER  # as Java's client sends each request over plain HTTP


async def answer_of(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length: "))
    return head.split(b"\r\n")[0], await reader.readexactly(int(length.split(b": ")[1]))


@pytest.mark.parametrize(
    "pieces",
    [
        [_OFFERING + b"content-length: 10\r\n\r\n1234567890"],
        [_OFFERING + b"content-length: 10\r\n\r\n", b"1234567890"],
        [_OFFERING + b"content-length: 10\r\n\r\n12345", b"67890"],
        [_OFFERING[:50], _OFFERING[50:] + b"transfer-encoding: chunked\r\n\r\na\r\n1234567", b"890\r\n0\r\n\r\n"],
        [b"POST /echo HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\ncontent-length: 10\r\n\r\n",
         b"1234567890"],
    ],
    ids=["at once", "head first", "half", "chunked", "websocket"],
)  # fmt: skip
async def test_a_request_that_offers_another_protocol_keeps_its_body(port: int, pieces: list[bytes]) -> None:
    async with connected(port) as (reader, writer):
        for _ in range(2):  # the second one on the same connection
            for piece in pieces:
                received = _Clock.received
                writer.write(piece)
                await _Clock.has_received(received + len(piece))
            assert await answer_of(reader) == (b"HTTP/1.1 200 OK", b"10")


async def test_requests_behind_one_that_offers_another_protocol_are_answered_in_order(port: int) -> None:
    one = _OFFERING + b"content-length: 3\r\n\r\nabc"
    async with connected(port) as (reader, writer):
        writer.write(one * 300 + _HEAD + b"1234567890" + one.replace(b"Upgrade,", b"Upgrade, close,"))
        for length in [b"3"] * 300 + [b"10", b"3"]:
            assert await answer_of(reader) == (b"HTTP/1.1 200 OK", length)
        assert await reader.read() == b""


async def test_a_body_is_never_read_as_the_next_request(port: int) -> None:
    hidden = b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"
    async with connected(port) as (reader, writer):
        writer.write(_OFFERING + b"content-length: %d\r\n\r\n" % len(hidden))
        await _Clock.has_received(len(_OFFERING))
        writer.write(hidden + _HEAD + b"1234567890")
        assert [await answer_of(reader) for _ in range(2)] == [
            (b"HTTP/1.1 200 OK", b"%d" % len(hidden)), (b"HTTP/1.1 200 OK", b"10")
        ]  # fmt: skip
