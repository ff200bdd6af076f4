"""Calls other systems' URLs: public addresses only, no redirects, with a timeout, reading only the start of replies."""

import asyncio
import time
from collections.abc import Mapping
from ssl import SSLContext

from libs import http_replies
from libs.clock import Clock
from libs.guarded_network import GuardedNetwork, NotPublic, NotResolved
from libs.http_connections import FAILURES, Connections
from libs.http_replies import Reply
from libs.retry_after import retry_after_seconds
from services.bounce.domain.webhooks import Answer

_REPLY_BYTES = 512
_MOST_IDLE = 64


class HttpCaller:
    """Implements the port's caller with httpcore. `allow_private`: for intranets, and for http."""

    def __init__(self, clock: Clock, *, allow_private: bool, seconds: float, ca_file: str | None = None) -> None:
        self._clock = clock
        self._allow_private = allow_private
        self._seconds = seconds
        self._ca_file = ca_file
        self._connections: Connections | None = None

    async def call(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        started = time.monotonic()
        reply: Reply | None = None
        error: str | None = None
        try:
            where, host = http_replies.target(url)
            async with (
                asyncio.timeout(self._seconds),
                (await self._opened()).lend(where.origin) as connection,
                connection.stream("POST", where, headers=http_replies.fields(host, headers), content=body) as response,
            ):
                reply = http_replies.reply_of(response)
                await http_replies.read_beginning(response, reply, _REPLY_BYTES)
        except (NotPublic, NotResolved) as refusal:
            error = str(refusal)
        except FAILURES as failure:  # a received status is the answer, even if its body fails
            error = None if reply else _said(failure)
        milliseconds = round((time.monotonic() - started) * 1_000)
        if reply is None:
            return Answer(None, error, milliseconds)
        return Answer(
            reply.status, _refusal(reply), milliseconds, retry_after_seconds(reply.retry_after, self._clock())
        )

    async def aclose(self) -> None:
        if self._connections is not None:
            await self._connections.close()

    async def _opened(self) -> Connections:
        if self._connections is None:
            tls: SSLContext = await asyncio.to_thread(http_replies.trusted, self._ca_file)
            network = GuardedNetwork(allow_private=self._allow_private)
            self._connections = self._connections or Connections(tls, _MOST_IDLE, network)
        return self._connections


def _refusal(reply: Reply) -> str | None:
    if 200 <= reply.status < 300:
        return None
    if 300 <= reply.status < 400:
        return "redirects are not followed; set the new URL"
    return " ".join(reply.body.decode("utf-8", "replace").replace("\x00", "").split())[:300] or None


def _said(failure: BaseException) -> str:
    """Return the failure's deepest cause in one line; a timeout has none."""
    if isinstance(failure, TimeoutError):
        return "no reply in time"
    while (cause := failure.__cause__ or failure.__context__) is not None:
        failure = cause
    return (str(failure) or type(failure).__name__)[:300]
