"""A scripted HTTP/2 peer: the `h2` library for correct behaviour, raw bytes for violations."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import cast

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, DataReceived, PingReceived, RequestReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

from services.delivery.adapters.http2 import Call, Failure, Head, Limits, Origin, Pool

FIELDS = (
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":authority", b"fcm.example"),
    (b":path", b"/v1/projects/shop/messages:send"),
    (b"content-type", b"application/json"),
    (b"authorization", b"Bearer " + b"t" * 1_000),
)
ANSWER = (200, b'{"name":"p/1"}')
PATIENT = Limits(call_seconds=10.0)

Settled = tuple[int, bytes] | Failure


class Gone(Exception):
    """The client has closed the connection."""


@dataclass(eq=False)
class Peer:
    """One connection from the server's side. `requests`: complete ones, stream → body, in the order they ended."""

    number: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    h2: H2Connection
    began: dict[int, dict[str, str]] = field(default_factory=dict)
    requests: dict[int, bytes] = field(default_factory=dict)
    resets: list[int] = field(default_factory=list)
    pings: list[bytes] = field(default_factory=list)
    handled: set[int] = field(default_factory=set)  # streams that `serve` does not answer
    farewell: int | None = None  # the error code of the client's GOAWAY
    largest_read: int = 0
    _bodies: dict[int, bytes] = field(default_factory=dict)

    async def until(self, happened: Callable[[], object]) -> None:
        """Read and acknowledge until `enough` holds. Raises Gone if the client closes first."""
        while not happened():
            data = await self.reader.read(1 << 20)
            if not data:
                raise Gone
            self.largest_read = max(self.largest_read, len(data))
            for event in self.h2.receive_data(data):
                self._take(event)
            self.flush()

    async def until_whole(self, count: int) -> list[int]:
        """Wait for so many complete requests; return their streams."""
        await self.until(lambda: len(self.requests) >= count)
        return list(self.requests)

    def answer(self, stream: int, status: int = 200, body: bytes = b'{"name":"p/1"}') -> None:
        self.handled.add(stream)
        self.h2.send_headers(stream, [(":status", str(status)), ("content-type", "application/json")])
        self.h2.send_data(stream, body, end_stream=True)
        self.flush()

    def reset(self, stream: int, code: ErrorCodes) -> None:
        self.handled.add(stream)
        self.h2.reset_stream(stream, code)
        self.flush()

    def raw(self, data: bytes) -> None:
        self.writer.write(data)

    def go_away(self, last_stream: int, code: int = 0) -> None:
        """Write GOAWAY as bytes: the library would send nothing more after it."""
        self.raw(b"\0\0\x08\x07\0\0\0\0\0" + last_stream.to_bytes(4, "big") + code.to_bytes(4, "big"))

    def flush(self) -> None:
        self.writer.write(self.h2.data_to_send())

    async def serve(self) -> None:
        """Answer every request not handled yet until the client closes."""
        while True:
            await self.until(lambda: self.requests.keys() - self.handled)
            for stream in self.requests.keys() - self.handled:
                self.answer(stream)

    def _take(self, event: object) -> None:
        match event:
            case RequestReceived(stream_id=int(stream), headers=headers):
                self.began[stream] = dict(headers)  # type: ignore[arg-type]
                self._bodies[stream] = b""
            case DataReceived(stream_id=int(stream), data=data):
                self._bodies[stream] += data or b""
                self.h2.acknowledge_received_data(event.flow_controlled_length or 0, stream)
            case StreamEnded(stream_id=int(stream)):
                self.requests[stream] = self._bodies[stream]
            case StreamReset(stream_id=int(stream)):
                self.resets.append(stream)
            case PingReceived(ping_data=data):
                self.pings.append(data or b"")
            case ConnectionTerminated(error_code=code):
                self.farewell = int(code or 0)


Script = Callable[[Peer], Awaitable[None]]


@asynccontextmanager
async def listening(
    talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], context: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Listen on a port. Each connection closes after its script, and all of them at the end."""
    talks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.add(cast(asyncio.Task[None], asyncio.current_task()))
        try:
            await talk(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]
        _, late = await asyncio.wait(talks, timeout=0.5) if talks else (None, set[asyncio.Task[None]]())
        for task in late:
            task.cancel()
        await asyncio.gather(*talks)


@asynccontextmanager
async def peer(
    script: Script, settings: Mapping[SettingCodes, int] | None = None, *, forgiving: bool = False
) -> AsyncIterator[tuple[int, list[Peer]]]:
    """Run a plaintext server; yield its port and the connections so far. Each connection runs the script, then
    closes. An error that the script or the library finds is raised at the end, unless the script breaks the library
    on purpose."""
    peers: list[Peer] = []
    complaints: list[Exception] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        if settings is not None:
            h2.local_settings = Settings(client=False, initial_values=dict(settings))
        one = Peer(len(peers), reader, writer, h2)
        peers.append(one)
        h2.initiate_connection()
        one.flush()
        try:
            await script(one)
        except Gone:
            pass
        except (AssertionError, ProtocolError) as error:
            complaints.append(error)

    async with listening(talk) as port:
        yield port, peers
    if complaints and not forgiving:
        raise complaints[0]


class Letters:
    """A batch that records each call's outcome and raises if a call is settled twice."""

    def __init__(self, bodies: list[bytes]) -> None:
        self.settled: dict[int, Settled] = {}
        self.done = asyncio.get_running_loop().create_future()
        self._bodies = bodies
        self._waiting = list(range(len(bodies)))
        self._again: set[int] = set()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def take(self, now: float) -> Call | None:
        if not self._waiting:
            return None
        index = self._waiting.pop(0)
        call = Call(self, index, self._bodies[index])
        call.again = index in self._again
        return call

    def give_back(self, call: Call) -> None:
        assert call.index not in self.settled
        self._again.add(call.index)
        self._waiting.append(call.index)

    def answered(self, call: Call, head: Head, body: bytes) -> None:
        self._settle(call.index, (head.status, body))

    def failed(self, call: Call, failure: Failure) -> None:
        self._settle(call.index, failure)

    def fail_waiting(self, failure: Failure) -> None:
        waiting, self._waiting = self._waiting, []
        for index in waiting:
            self._settle(index, failure)

    def _settle(self, index: int, settled: Settled) -> None:
        assert index not in self.settled, "settled twice"
        self.settled[index] = settled
        if len(self.settled) == len(self._bodies):
            self.done.set_result(None)


def letters(count: int, size: int = 20) -> Letters:
    return Letters([b"%0*d" % (size, n) for n in range(count)])


@asynccontextmanager
async def pool_to(port: int, limits: Limits = PATIENT, connections: int = 1) -> AsyncIterator[Pool]:
    """Close the pool at the end; closing must not take long."""
    pool = Pool(Origin(f"http://127.0.0.1:{port}"), limits, connections)
    pool.fields = FIELDS
    yield pool
    async with asyncio.timeout(10):
        await pool.close()


async def until(happened: Callable[[], object]) -> None:
    """Wait for what neither side announces."""
    while not happened():  # noqa: ASYNC110
        await asyncio.sleep(0.001)


async def send(pool: Pool, batch: Letters) -> list[Settled]:
    pool.add(batch)
    await batch.done
    return [batch.settled[index] for index in sorted(batch.settled)]


async def exchange(
    script: Script, count: int, limits: Limits = PATIENT, settings: Mapping[SettingCodes, int] | None = None
) -> tuple[list[Settled], list[Peer]]:
    """Make `count` calls to a server that runs this script."""
    async with peer(script, settings) as (port, peers), pool_to(port, limits) as pool:
        return await send(pool, letters(count)), peers
