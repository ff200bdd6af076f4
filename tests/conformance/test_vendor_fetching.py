"""Fetching from a vendor: over verified TLS, from public addresses only, within its limits."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from libs.errors import Unavailable
from services.delivery.adapters.vendors.fetching import Fetching


@asynccontextmanager
async def server(folder: Path, answer: bytes, *, pause: float = 0.0) -> AsyncIterator[tuple[str, str]]:
    """A TLS server that gives everybody `answer`: its URL, and the file with its authority."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(pause)
            writer.write(answer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client has disconnected, or the test has ended
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield f"https://localhost:{listening.sockets[0].getsockname()[1]}/a.pem", str(folder / "ca.pem")
    finally:
        listening.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


OK = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello"


async def test_a_small_document_is_fetched(tmp_path: Path) -> None:
    async with server(tmp_path, OK) as (url, ca):
        assert await Fetching(ca_file=ca, allow_private=True)(url) == b"hello"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 302 Found\r\nlocation: https://evil.example/\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 70000\r\n\r\n" + b"x" * 70_000,
        b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\nhello",
        b"rubbish\r\n\r\n",
    ],
    ids=["redirect", "not found", "too large", "cut off", "no http"],
)
async def test_any_other_reply_is_refused(tmp_path: Path, answer: bytes) -> None:
    async with server(tmp_path, answer) as (url, ca):
        with pytest.raises(Unavailable):
            await Fetching(ca_file=ca, allow_private=True)(url)


async def test_a_slow_server_times_out(tmp_path: Path) -> None:
    async with server(tmp_path, OK, pause=30) as (url, ca):
        started = asyncio.get_running_loop().time()
        with pytest.raises(Unavailable):
            await Fetching(ca_file=ca, allow_private=True, seconds=0.3)(url)
        assert asyncio.get_running_loop().time() - started < 5


async def test_a_name_resolving_to_a_private_address_is_not_contacted(tmp_path: Path) -> None:
    async with server(tmp_path, OK) as (url, ca):
        with pytest.raises(Unavailable, match="Unreachable"):
            await Fetching(ca_file=ca)(url)


async def test_an_untrusted_certificate_is_refused(tmp_path: Path) -> None:
    async with server(tmp_path, OK) as (url, _):
        with pytest.raises(Unavailable):
            await Fetching(allow_private=True)(url)
