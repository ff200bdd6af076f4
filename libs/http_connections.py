"""A pool of outgoing HTTP/1.1 connections, built on httpcore.

httpcore's own pool polls the socket of every idle connection twice per call: with twenty of them, that alone costs
more than a millisecond of CPU. This pool checks only the connection that it is about to use.
"""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpcore

_IDLE_SECONDS = 30.0

FAILURES = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
    httpcore.ConnectionNotAvailable,
    OSError,  # includes asyncio's TimeoutError and ssl's errors
    ValueError,  # an invalid URL or host name
)


class Connections:
    """Idle connections, the most recently used last. Callers decide how many are in use."""

    def __init__(
        self, tls: ssl.SSLContext, most_idle: int, network: httpcore.AsyncNetworkBackend | None = None
    ) -> None:
        self._tls = tls
        self._most_idle = most_idle
        self._network = network or httpcore.AnyIOBackend()
        self._idle: list[httpcore.AsyncHTTPConnection] = []

    @asynccontextmanager
    async def lend(self, origin: httpcore.Origin) -> AsyncIterator[httpcore.AsyncHTTPConnection]:
        """Lend a connection for one call; it connects when the call is made."""
        connection = await self._taken(origin)
        try:
            yield connection
        finally:
            if not connection.is_available():  # cut off, or its reply was not read to the end
                await connection.aclose()
            else:
                self._idle.append(connection)
                if len(self._idle) > self._most_idle:
                    await self._idle.pop(0).aclose()

    async def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            await self._idle.pop().aclose()

    async def _taken(self, origin: httpcore.Origin) -> httpcore.AsyncHTTPConnection:
        while (kept := next((c for c in reversed(self._idle) if c.can_handle_request(origin)), None)) is not None:
            self._idle.remove(kept)
            if not kept.has_expired():  # idle for too long, or closed by the other side
                return kept
            await kept.aclose()
        return httpcore.AsyncHTTPConnection(
            origin, self._tls, keepalive_expiry=_IDLE_SECONDS, network_backend=self._network
        )
