"""A client that stops in the middle of a request gets 408, and holds neither a socket nor a shutdown."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import uvicorn
from fastapi import FastAPI, Request

from libs.http_server import HttpProtocol

_HEAD = b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n"


class _Impatient(HttpProtocol):
    patience_seconds = 1.0
    look_seconds = 0.05


async def echo(request: Request) -> int:
    return len(await request.body())


async def slow() -> str:
    await asyncio.sleep(1.5)
    return "done"


@pytest.fixture
async def port() -> AsyncIterator[int]:
    app = FastAPI()
    app.add_api_route("/echo", echo, methods=["POST"])
    app.add_api_route("/slow", slow)
    server = uvicorn.Server(uvicorn.Config(app, port=0, http=_Impatient, log_config=None, lifespan="off"))
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
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert b"content-type: application/problem+json" in head
    assert json.loads(body)["detail"].startswith(f"The {part} of the request stalled")


async def test_a_head_that_comes_in_drops_ends_as_well(port: int) -> None:
    async with connected(port) as (reader, writer):
        writer.write(b"GET /slow HTTP/1.1\r\nx-drops: ")
        answer = asyncio.create_task(reader.read())
        while not answer.done():  # its time runs since the first drop, not since the last
            with suppress(ConnectionError):
                writer.write(b"x")
            await asyncio.sleep(0.1)
        assert (await answer).startswith(b"HTTP/1.1 408 ")


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
        with suppress(ConnectionError):
            while not answer.done():
                writer.write(endless * (30_000 // len(endless)))
                sent += 30_000
                await writer.drain()
                await asyncio.sleep(0.001)
        with suppress(ConnectionError):
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
        assert await reader.read() == b""


async def test_a_body_that_moves_on_and_an_answer_that_takes_its_time_are_waited_for(port: int) -> None:
    async with connected(port) as (reader, writer):
        writer.write(_HEAD)
        for _ in range(10):
            await asyncio.sleep(0.15)
            writer.write(b"1")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        await reader.readexactly(2)
        # the next request begins while this one is answered
        writer.write(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\nGET /sl")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("sent", [b"\x16\x03\x01\x02\x00\r\n\r\n", b"GARBAGE\r\n\r\n", _HEAD.replace(b"10", b"-1")])
async def test_what_is_no_http_is_a_problem_like_any_other(port: int, sent: bytes) -> None:
    async with connected(port) as (reader, writer):
        writer.write(sent)
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert json.loads(body)["status"] == 400
