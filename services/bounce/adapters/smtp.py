"""The listeners (aiosmtpd): bounce mails from the internet over SMTP, from one's own mail server over LMTP.

One protocol object per connection. One process of the suite owns a port or a socket; the others wait and take over when
it ends.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import SMTP, Envelope, Session

from libs.clock import pause
from libs.errors import Transient
from libs.telemetry import get_logger
from services.bounce.adapters.peers import Limits, Peers
from services.bounce.adapters.places import Place, Taken
from services.bounce.ports.mails import Listener

_RETRY_SECONDS = 3.0
_LONG_LINE = 64 * 1024  # returned mails often exceed RFC 5321's 1,000 octets per line

log = get_logger(__name__)

Accept = Callable[[str, str], Awaitable[str | None]]
Keep = Callable[[Sequence[str], bytes], Awaitable[None]]


class SmtpListener:
    """Serves at a place; `at` is its port or path, once it listens.

    `local`: speaks LMTP (RFC 2033) with a mail server, which gets a reply for each recipient.
    """

    def __init__(self, place: Place, limits: Limits, *, local: bool = False) -> None:
        self._place = place
        self._limits = limits
        self._speaks = _LocalConnection if local else _Connection
        self._open: set[asyncio.BaseTransport] = set()
        self.at: int | str | None = None

    async def serve(self, accept: Accept, keep: Keep, stop: asyncio.Event) -> None:
        """Listen until `stop`; then finish the current mail and close connections."""
        peers = Peers(self._limits)
        handler = _Handler(accept, keep, peers)
        make = partial(self._speaks, handler, peers, self._open)
        found = await self._listen(make, stop)
        if found is None:
            return
        server, self.at = found
        async with server:
            log.info("bounce_listening", place=str(self.at))
            try:
                await stop.wait()
            finally:
                self._place.leave()
            server.close()
            await handler.idle()
            for transport in tuple(self._open):
                transport.close()
        self.at = None

    async def _listen(self, make: Any, stop: asyncio.Event) -> tuple[asyncio.Server, int | str] | None:
        told = False
        while not stop.is_set():
            try:
                return await self._place.listen(make)
            except Taken:
                if not told:
                    log.info("bounce_place_taken", place=self._place.name)
                    told = True
                await pause(stop, _RETRY_SECONDS)
        return None


class _Connection(SMTP):
    """One connection; beyond the limits it is told to come back later."""

    line_length_limit = _LONG_LINE

    def __init__(self, handler: "_Handler", peers: Peers, connections: set[asyncio.BaseTransport]) -> None:
        super().__init__(
            handler,
            data_size_limit=peers.limits.max_mail_bytes,
            enable_SMTPUTF8=True,
            ident="Depesche",
            timeout=peers.limits.idle_seconds,
            loop=asyncio.get_running_loop(),
        )
        self._connections = connections
        self._peers = peers
        self._peer = ""

    def connection_made(self, transport: Any) -> None:
        peer = host_of(transport.get_extra_info("peername"))
        if not self._peers.enter(peer):
            transport.write(b"421 4.3.2 Too many connections, come back later\r\n")
            transport.close()
            return
        self._peer = peer
        self._connections.add(transport)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self.transport is None and self.session is None:
            return  # refused in connection_made
        self._peers.leave(self._peer)
        self._connections.discard(self.transport)
        super().connection_lost(error)

    def eof_received(self) -> bool | None:
        return super().eof_received() if self.session is not None else False


class _LocalConnection(_Connection, LMTP):
    """LMTP: the reply to the mail is sent once for each recipient. All get the same one, since there is one commit."""

    _owed = 0  # replies to the current mail

    async def smtp_DATA(self, arg: str) -> None:
        self._owed = len(self.envelope.rcpt_tos) if self.envelope and not arg else 0
        await super().smtp_DATA(arg)

    async def push(self, status: Any) -> None:
        if self._owed and not status.startswith("354"):
            status, self._owed = "\r\n".join([status] * self._owed), 0
        await super().push(status)


class _Handler:
    """aiosmtpd's hooks."""

    def __init__(self, accept: Accept, keep: Keep, peers: Peers) -> None:
        self._accept = accept
        self._keep = keep
        self._peers = peers
        self._busy = 0
        self._free = asyncio.Event()
        self._free.set()

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if not self._peers.may_send(host_of(session.peer)):
            return "451 4.7.1 Too many mails from your host in this minute, come back later"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        # unknown recipients count too: a mail must not be a list of guesses
        envelope.rcpt_options.append(address)
        if len(envelope.rcpt_options) > self._peers.limits.max_recipients:
            return "452 4.5.3 Too many recipients"
        try:
            refusal = await self._accept(address, host_of(session.peer))
        except Transient:
            return "451 4.3.0 Not available right now, come back later"
        if refusal:
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.content
        raw = content.encode("utf-8", "replace") if isinstance(content, str) else bytes(content or b"")
        # RFC 5321, 4.4: the last server writes the return path down; an empty one is what marks a notification
        raw = f"Return-Path: <{(envelope.mail_from or '').strip('<>')}>\r\n".encode("utf-8", "replace") + raw
        self._busy += 1
        self._free.clear()
        try:
            await self._keep(envelope.rcpt_tos, raw)
        except Transient:
            return "451 4.3.0 Not stored, come back later"
        finally:
            self._busy -= 1
            if not self._busy:
                self._free.set()
        return "250 2.0.0 Kept"

    async def handle_exception(self, error: Exception) -> str:
        # our own fault must not make the other server discard its bounce
        log.error("bounce_session_failed", exc_info=error)
        return "451 4.3.0 Our fault, come back later"

    async def idle(self) -> None:
        """Wait until no mail is being stored."""
        await self._free.wait()


@dataclass(frozen=True, slots=True)
class Listeners:
    """Several listeners at once."""

    each: Sequence[Listener]

    async def serve(self, accept: Accept, keep: Keep, stop: asyncio.Event) -> None:
        """Serve until `stop`; if one fails, all end, so that the loop restarts them."""
        async with asyncio.TaskGroup() as group:
            for one in self.each:
                group.create_task(one.serve(accept, keep, stop))
        await stop.wait()


def host_of(peer: object) -> str:
    """Return the host of a socket's name; empty if it has none."""
    return str(peer[0]) if isinstance(peer, tuple) else ""
