"""One TCP connection to a mail server: bytes out, replies in.

A protocol instead of a StreamReader, because a mail's replies mostly arrive in one packet; and callbacks instead of
tasks to wake, because nothing else has to happen between two mails. A lost connection or a timeout is a state, not an
exception: the dialogue considers the replies that did arrive before it judges.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import cast

from services.delivery.domain.refusals.smtp import Reply

_LONGEST_LINE = 4_096  # RFC 5321 says 512; some servers write whole essays into a refusal
_LONGEST_REPLY = 65_536
_LONGEST_WATCH = 1.0
_REMEMBERED = 64


class End(Enum):
    """Why nothing more will come."""

    LOST = "the connection broke"
    TIMED_OUT = "no reply in time"
    NONSENSE = "the server sent something that is not SMTP"
    CLOSED = "we closed it"


class SmtpConnection(asyncio.Protocol):
    """Collects replies in order. One dialogue uses it at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._tail = b""
        self._lines: list[bytes] = []  # of an incomplete multi-line reply
        self._known: dict[bytes, Reply] = {}  # by line: servers answer MAIL, RCPT and DATA in the same words each time
        self._size = 0
        self._wanted = 0
        self._then: Callable[[], None] | None = None
        self._calling = False
        self._patience: float | None = None
        self._due = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self.replies: deque[Reply] = deque()
        self.end: End | None = None

    # ---- what the dialogue does

    def write(self, data: bytes) -> None:
        """Pass bytes to the kernel, or to the transport's buffer."""
        if self._transport is not None and self.end is None:
            self._transport.write(data)

    def expect(self, count: int, timeout: float, then: Callable[[], None], *, each: bool = False) -> None:
        """Call `then` once: when `count` replies have arrived, or when the connection has ended; see `end`.
        `each`: the timeout applies to every reply, because a slow server answers pipelined commands one by one.

        Immediately, if that is already so. `then` may write and expect again."""
        self._wanted, self._then = count, then
        if len(self.replies) >= count or self.end is not None:
            self._go_on()
            return
        self._patience = timeout if each else None
        self._due = self._loop.time() + timeout
        # one timer covers many waits: arming and cancelling one per reply costs more than the reply
        if self._watch is None:
            self._watch = self._loop.call_later(min(timeout, _LONGEST_WATCH), self._look)
        elif timeout < _LONGEST_WATCH:
            self._watch.cancel()
            self._watch = self._loop.call_later(timeout, self._look)

    def forget(self) -> None:
        """Cancel the pending callback."""
        self._then = None

    async def wait(self, count: int, timeout: float) -> bool:
        """Wait for `count` replies. False if the connection ended first; see `end`."""
        waiter: asyncio.Future[None] = self._loop.create_future()
        self.expect(count, timeout, partial(_wake, waiter))
        try:
            await waiter
        finally:
            self.forget()
        return len(self.replies) >= count

    async def start_tls(self, context: ssl.SSLContext, host: str, timeout: float) -> None:
        """Continue encrypted. Raises OSError if the handshake fails."""
        transport = cast(asyncio.Transport, self._transport)
        upgraded = await self._loop.start_tls(
            transport, self, context, server_hostname=host, ssl_handshake_timeout=timeout
        )
        self._transport = cast(asyncio.Transport, upgraded)

    @property
    def has_unread(self) -> bool:
        """Whether unexpected bytes have arrived."""
        return bool(self._tail or self._lines or self.replies)

    @property
    def is_encrypted(self) -> bool:
        return self._transport is not None and self._transport.get_extra_info("ssl_object") is not None

    def close(self, why: End = End.CLOSED) -> None:
        """Close without QUIT. What the server has not received by now, it must not get: the rest of a mail that we
        call unknown or not sent must not arrive when the server reads again."""
        self._finish(why)
        if self._transport is not None:
            self._transport.abort()

    def quit(self) -> None:
        """Send QUIT without waiting for the reply."""
        self.write(b"QUIT\r\n")
        self._finish(End.CLOSED)
        if self._transport is not None:
            self._transport.close()

    # ---- what the transport does

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        had = len(self.replies)
        lines = (self._tail + data if self._tail else data).split(b"\n")
        self._tail = lines.pop()
        for line in lines:
            if not self._lines and (known := self._known.get(line)) is not None:
                self.replies.append(known)
            elif not self._take(line):
                self._finish(End.NONSENSE)
                return
        if len(self._tail) > _LONGEST_LINE:
            self._finish(End.NONSENSE)
        else:
            if self._patience is not None and had < len(self.replies) < self._wanted:
                self._due = self._loop.time() + self._patience
            self._go_on()

    def eof_received(self) -> bool:
        self._finish(End.LOST)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish(End.LOST)

    # ---- inside

    def _go_on(self) -> None:
        """Call what is now due. A loop, so that a server that sends ahead cannot make us recurse."""
        if self._calling:
            return
        self._calling = True
        try:
            while (then := self._then) is not None and (len(self.replies) >= self._wanted or self.end is not None):
                self._then = None
                then()
        finally:
            self._calling = False

    def _take(self, raw: bytes) -> bool:
        """Parse one line of a reply; False if it is not one."""
        line = raw.removesuffix(b"\r")
        code, separator = line[:3], line[3:4]
        if not code.isdigit() or len(code) < 3 or separator not in (b" ", b"-", b"") or len(line) > _LONGEST_LINE:
            return False
        if self._lines or separator == b"-":
            return self._take_one_of_several(line)
        reply = Reply(int(code), line[4:].decode("utf-8", "replace"))
        if len(self._known) < _REMEMBERED:  # only the first of each kind; not a queue id for every mail
            self._known[raw] = reply
        self.replies.append(reply)
        return True

    def _take_one_of_several(self, line: bytes) -> bool:
        self._size += len(line)
        if self._size > _LONGEST_REPLY or (self._lines and self._lines[0][:3] != line[:3]):
            return False
        self._lines.append(line)
        if line[3:4] != b"-":
            text = b"\n".join(part[4:] for part in self._lines)
            self.replies.append(Reply(int(line[:3]), text.decode("utf-8", "replace")))
            self._lines, self._size = [], 0
        return True

    def _look(self) -> None:
        """Periodic check of the timer: has a wait timed out?"""
        self._watch = None
        if self.end is not None or self._then is None:
            return  # the next `expect` arms it again
        left = self._due - self._loop.time()
        if left <= 0:
            self._finish(End.TIMED_OUT)
            return
        self._watch = self._loop.call_later(min(left, _LONGEST_WATCH), self._look)

    def _finish(self, end: End) -> None:
        if self.end is None:
            self.end = end
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        self._go_on()


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():  # cancelled, but not yet notified
        waiter.set_result(None)
