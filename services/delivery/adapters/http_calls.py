"""The calls of SMS and webhooks: one call with its limits, many concurrently, and the classification of failures.

httpcore makes the calls over HTTP/1.1 and connects exactly to the given host.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import httpcore

from libs import http_replies
from libs.contracts.reasons import Reason
from libs.http_connections import FAILURES, Connections
from libs.http_replies import Reply
from services.delivery.domain.outcomes import Ambiguous, Deferred, Outcome

_CONNECT_SECONDS = 5.0
_TEXT_LIMIT = 300
T = TypeVar("T")
_HANDED_OVER = "http11.send_request_headers.started"


class Unreachable(Exception):
    """Raised by a network that refuses to connect there."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(str(outcome))
        self.outcome = outcome


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a call may take in all, how many run concurrently, how much of a reply is read; whom else we trust."""

    seconds: float
    width: int
    reply_bytes: int
    ca_file: str | None = None


class _Request(NamedTuple):
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    reply_bytes: int


class Lane:
    """An account's connections, shared by all chunks that use it. `network` decides which hosts it connects to."""

    def __init__(self, limits: Limits, network: httpcore.AsyncNetworkBackend | None = None) -> None:
        self.width = limits.width
        self.places = asyncio.Semaphore(limits.width)
        self._limits = limits
        self._network = network
        self._connections: Connections | None = None
        self._making = asyncio.Lock()
        self._under_way = 0
        self._retired = False
        self._closing: asyncio.Task[None] | None = None

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply | Outcome:
        """POST and return the server's reply, or the outcome if there is none."""
        return await self._call(_Request("POST", url, headers, body, self._limits.reply_bytes))

    async def get(self, url: str, headers: Mapping[str, str], reply_bytes: int) -> Reply | Outcome:
        """GET, with a longer limit for the reply."""
        return await self._call(_Request("GET", url, headers, b"", reply_bytes))

    async def _call(self, request: _Request) -> Reply | Outcome:
        self._under_way += 1
        try:
            try:
                connections = await self._opened()
            except (OSError, ValueError) as error:  # ssl's errors are OSErrors too
                text = f"the certificates in ca_file cannot be read: {error}"
                return Deferred(Reason.SENDER_MISCONFIGURED, text, called=False, sender_fault=True)
            return await self._answer(connections, request)
        finally:
            self._under_way -= 1
            if self._retired and not self._under_way:
                await self.close()

    def retire(self) -> None:
        """Close as soon as no call is in flight."""
        self._retired = True
        if not self._under_way:
            self._closing = asyncio.get_running_loop().create_task(self.close())

    async def close(self) -> None:
        if self._connections is not None:
            await self._connections.close()

    async def _answer(self, connections: Connections, request: _Request) -> Reply | Outcome:
        reply: Reply | None = None
        handed_over = False

        async def trace(event: str, info: object) -> None:
            nonlocal handed_over
            handed_over = handed_over or event == _HANDED_OVER

        # well below the whole call's, to distinguish a missing connection from a missing reply
        connect_seconds = min(_CONNECT_SECONDS, self._limits.seconds / 2)
        extensions = {"timeout": {"connect": connect_seconds}, "trace": trace}
        try:
            where, host = http_replies.target(request.url)
            fields = http_replies.fields(host, request.headers)
            async with (
                connections.lend(where.origin) as connection,
                asyncio.timeout(self._limits.seconds),
                connection.stream(
                    request.method, where, headers=fields, content=request.body, extensions=extensions
                ) as response,
            ):
                reply = http_replies.reply_of(response)
                await http_replies.read_beginning(response, reply, request.reply_bytes)
        except Unreachable as refusal:
            return refusal.outcome
        except FAILURES as error:
            if reply is None or reply.status >= 300:  # the body says why it was refused
                return _sorted(error, handed_over)
        assert reply is not None
        return reply

    async def _opened(self) -> Connections:
        """Return the connections, created once. Certificates are read off the loop. Raises OSError and ValueError if
        they fail."""
        async with self._making:
            if self._connections is None:
                context = await asyncio.to_thread(http_replies.trusted, self._limits.ca_file)
                self._connections = Connections(context, self.width, self._network)
        return self._connections


def until(deadline: float, call: Callable[[int], Awaitable[T]], late: T) -> Callable[[int], Awaitable[T]]:
    """Return `call`, replaced by `late` once the deadline (time.monotonic()) has passed."""

    async def timely(index: int) -> T:
        return late if time.monotonic() >= deadline else await call(index)

    return timely


async def call_each(
    lane: Lane, count: int, settle: Callable[[int, T], None], call: Callable[[int], Awaitable[T]]
) -> None:
    """Run `call` for each index, as many concurrently as the lane has places; waiting calls are served in order.

    Workers take the indexes one by one. So a chunk has no more waiters than places, and a single message of another
    chunk waits behind a few messages of a large chunk, not behind all."""
    indexes = iter(range(count))

    async def work() -> None:
        for index in indexes:
            async with lane.places:
                settle(index, await call(index))

    workers = min(count, lane.width)
    if workers == 1:
        await work()
        return
    async with asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(work())


def _sorted(error: Exception, handed_over: bool) -> Outcome:
    """Classify a call without a reply: not sent if its first byte was never written, otherwise unknown."""
    late = isinstance(error, (TimeoutError, httpcore.TimeoutException))
    text = f"no {'reply' if handed_over else 'connection'} in time" if late else _describe(error)
    if handed_over:
        return Ambiguous(Reason.TIMED_OUT if late else Reason.CONNECTION_LOST, text)
    if isinstance(error, ValueError) and not isinstance(error, OSError):  # some of ssl's errors are both
        return Deferred(Reason.SENDER_MISCONFIGURED, text, called=False, sender_fault=True)
    return Deferred(Reason.PROVIDER_UNAVAILABLE, text)


def _describe(error: BaseException) -> str:
    """Return the deepest cause in one line: "connection refused" says more than "all attempts failed"."""
    said = str(error)
    while (cause := error.__cause__ or (None if error.__suppress_context__ else error.__context__)) is not None:
        error, said = cause, str(cause) or said
    return (said or type(error).__name__)[:_TEXT_LIMIT]
