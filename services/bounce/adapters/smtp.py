"""The SMTP listener (aiosmtpd): bounce mails from the internet, one protocol object per connection.

One process of the suite holds the port; the others wait and take over when it is gone.
"""

import asyncio
import errno
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session

from libs.errors import Transient
from libs.telemetry import get_logger

_RETRY_SECONDS = 3.0
_LONG_LINE = 64 * 1024  # returned mails are often longer than RFC 5321's 1,000 octets a line

log = get_logger(__name__)

Accept = Callable[[str, str], Awaitable[str | None]]
Keep = Callable[[str, bytes], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a stranger may do to us."""

    max_mail_bytes: int
    max_connections: int
    max_recipients: int
    idle_seconds: float


class SmtpListener:
    """Serves on `host:port`; port 0 takes a free one (`port` tells which, once it listens)."""

    def __init__(self, host: str, port: int, limits: Limits) -> None:
        self._host = host
        self._wanted = port
        self._limits = limits
        self._open: set[asyncio.BaseTransport] = set()
        self.port: int | None = None

    async def serve(self, accept: Accept, keep: Keep, stop: asyncio.Event) -> None:
        """Listens until `stop`; then the mail in hand is finished and connections are closed."""
        handler = _Handler(accept, keep, self._limits)
        make = partial(_Connection, handler, self._limits, self._open)
        server = await self._listen(make, stop)
        if server is None:
            return
        async with server:
            self.port = server.sockets[0].getsockname()[1]
            log.info("bounce_listening", port=self.port)
            await stop.wait()
            server.close()
            await handler.idle()
            for transport in tuple(self._open):
                transport.close()
        self.port = None

    async def _listen(self, make: Any, stop: asyncio.Event) -> asyncio.Server | None:
        loop = asyncio.get_running_loop()
        told = False
        while not stop.is_set():
            try:
                return await loop.create_server(make, self._host, self._wanted)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                if not told:
                    log.info("bounce_port_taken", port=self._wanted)
                    told = True
                await _wait(stop, _RETRY_SECONDS)
        return None


class _Connection(SMTP):
    """One connection; more than the limit are told to come back later."""

    line_length_limit = _LONG_LINE

    def __init__(self, handler: "_Handler", limits: Limits, connections: set[asyncio.BaseTransport]) -> None:
        super().__init__(
            handler,
            data_size_limit=limits.max_mail_bytes,
            enable_SMTPUTF8=True,
            ident="Depesche",
            timeout=limits.idle_seconds,
            loop=asyncio.get_running_loop(),
        )
        self._connections = connections
        self._limit = limits.max_connections

    def connection_made(self, transport: Any) -> None:
        if len(self._connections) >= self._limit:
            transport.write(b"421 4.3.2 Too many connections, come back later\r\n")
            transport.close()
            return
        self._connections.add(transport)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self.transport is None and self.session is None:
            return  # refused in connection_made
        self._connections.discard(self.transport)
        super().connection_lost(error)

    def eof_received(self) -> bool | None:
        return super().eof_received() if self.session is not None else False


class _Handler:
    """aiosmtpd's hooks."""

    def __init__(self, accept: Accept, keep: Keep, limits: Limits) -> None:
        self._accept = accept
        self._keep = keep
        self._max_recipients = limits.max_recipients
        self._busy = 0
        self._free = asyncio.Event()
        self._free.set()

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if len(envelope.rcpt_tos) >= self._max_recipients:
            return "452 4.5.3 Too many recipients"
        try:
            refusal = await self._accept(address, _host(session))
        except Transient:
            return "451 4.3.0 Not available right now, come back later"
        if refusal:
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.content
        raw = content.encode("utf-8", "replace") if isinstance(content, str) else bytes(content or b"")
        self._busy += 1
        self._free.clear()
        try:
            for recipient in dict.fromkeys(envelope.rcpt_tos):
                await self._keep(recipient, raw)
        except Transient:
            return "451 4.3.0 Not stored, come back later"
        finally:
            self._busy -= 1
            if not self._busy:
                self._free.set()
        return "250 2.0.0 Kept"

    async def handle_exception(self, error: Exception) -> str:
        # a fault of ours must not make the other server throw its bounce away
        log.error("bounce_session_failed", exc_info=error)
        return "451 4.3.0 Our fault, come back later"

    async def idle(self) -> None:
        """Returns when no mail is being stored."""
        await self._free.wait()


class NoListener:
    """Where SMTP is switched off: mails come over HTTP only."""

    async def serve(self, accept: Accept, keep: Keep, stop: asyncio.Event) -> None:
        await stop.wait()


def _host(session: Session) -> str:
    peer = session.peer
    return str(peer[0]) if isinstance(peer, tuple) else ""


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
