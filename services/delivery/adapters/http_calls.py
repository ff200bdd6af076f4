"""What SMS and webhooks share: one call with its limits, many at a time, and how a failed one is sorted.

httpcore carries the calls over HTTP/1.1 and calls the host that it is given: a provider is where we say that it is.
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
    """Raised by a network that does not connect there."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(str(outcome))
        self.outcome = outcome


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a call may take in all, how many go at a time, how much of a reply is read; whom else we trust."""

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
    """An account's connections, shared by all chunks that go over it. `network` decides whom it connects to."""

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
        """What the server says, or what became of the call."""
        return await self._call(_Request("POST", url, headers, body, self._limits.reply_bytes))

    async def get(self, url: str, headers: Mapping[str, str], reply_bytes: int) -> Reply | Outcome:
        """The same of a question, whose answer may be longer."""
        return await self._call(_Request("GET", url, headers, b"", reply_bytes))

    async def _call(self, request: _Request) -> Reply | Outcome:
        self._under_way += 1
        try:
            try:
                connections = await self._opened()
            except (OSError, ValueError) as error:  # ssl's are OSErrors, too
                text = f"the certificates in ca_file cannot be read: {error}"
                return Deferred(Reason.SENDER_MISCONFIGURED, text, called=False, sender_fault=True)
            return await self._answer(connections, request)
        finally:
            self._under_way -= 1
            if self._retired and not self._under_way:
                await self.close()

    def retire(self) -> None:
        """Close as soon as no call is under way."""
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

        # well before the whole call's, so that a connection that never came is told from a reply that did not
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
            if reply is None or reply.status >= 300:  # why it was refused is in the body
                return _sorted(error, handed_over)
        assert reply is not None
        return reply

    async def _opened(self) -> Connections:
        """Made once. The certificates are read off the loop. Raises OSError and ValueError where they cannot be."""
        async with self._making:
            if self._connections is None:
                context = await asyncio.to_thread(http_replies.trusted, self._limits.ca_file)
                self._connections = Connections(context, self.width, self._network)
        return self._connections


def until(deadline: float, call: Callable[[int], Awaitable[T]], late: T) -> Callable[[int], Awaitable[T]]:
    """`call` as long as the deadline (time.monotonic()) has not come, and `late` from then on."""

    async def timely(index: int) -> T:
        return late if time.monotonic() >= deadline else await call(index)

    return timely


async def call_each(
    lane: Lane, count: int, settle: Callable[[int, T], None], call: Callable[[int], Awaitable[T]]
) -> None:
    """`call` for each index, as many at a time as the lane has places; those waiting are served in order.

    Workers take the indexes one by one, so a chunk has no more waiters than places, and a single message
    of another chunk stands behind a few of them and not behind all messages of a large one.
    """
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
    """A call that gave no reply: not sent where its first byte was never written, otherwise nobody knows."""
    late = isinstance(error, (TimeoutError, httpcore.TimeoutException))
    text = f"no {'reply' if handed_over else 'connection'} in time" if late else _describe(error)
    if handed_over:
        return Ambiguous(Reason.TIMED_OUT if late else Reason.CONNECTION_LOST, text)
    if isinstance(error, ValueError) and not isinstance(error, OSError):  # some of ssl's are both
        return Deferred(Reason.SENDER_MISCONFIGURED, text, called=False, sender_fault=True)
    return Deferred(Reason.PROVIDER_UNAVAILABLE, text)


def _describe(error: BaseException) -> str:
    """Its deepest cause in one line: "connection refused" says more than "all attempts failed"."""
    said = str(error)
    while (cause := error.__cause__ or (None if error.__suppress_context__ else error.__context__)) is not None:
        error, said = cause, str(cause) or said
    return (said or type(error).__name__)[:_TEXT_LIMIT]
