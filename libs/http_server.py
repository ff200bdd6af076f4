"""uvicorn's HTTP protocol, with a timeout for clients that stop in the middle of a request, and a limit on heads.

uvicorn waits for the rest of a head or body as long as the connection stands, so a client that hangs keeps its socket
and delays shutdown. Here it gets 408. Nor does it limit a head: the parser appends each piece of an endless address or
header to what it has, which takes longer with every piece and blocks all other connections. Here the client gets 431.
Bytes that are not HTTP at all get a problem document like any other error.

A request that offers to change the protocol is served as if it did not. Java's client offers HTTP/2 with each request
to an http:// address, and httptools, which expects another protocol after the head, would drop the request's body, or
read it as the next request if it comes in a later piece.
"""

import asyncio
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from libs import exact_json
from libs.errors import BadRequest, DepescheError, RequestTimeout

_FRAMES_PER_BYTE = 16  # a chunk of a single byte comes with five bytes around it


class HeadTooLarge(BadRequest):
    """The request line and headers are larger than any client of ours sends."""

    status = 431
    slug = "head-too-large"
    title = "The headers are too large"


_OFFERS = frozenset({b"upgrade", b"http2-settings"})  # headers, and the tokens of `connection` that name them


class _Parser:
    """httptools' parser for one connection. After a head that offers an upgrade it reads the same head without it."""

    def __init__(self, protocol: "HttpProtocol") -> None:
        self._protocol = protocol
        self._parser = self._fresh()

    def _fresh(self) -> httptools.HttpRequestParser:
        parser = httptools.HttpRequestParser(self._protocol)
        parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's, to answer before it closes
        return parser

    def get_method(self) -> bytes:
        return self._parser.get_method()

    def get_http_version(self) -> str:
        return self._parser.get_http_version()

    def should_keep_alive(self) -> bool:
        return self._parser.should_keep_alive()

    def should_upgrade(self) -> bool:
        return self._parser.should_upgrade() and self.get_method() != b"CONNECT"

    def feed_data(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                self._parser.feed_data(rest)
                return
            except httptools.HttpParserUpgrade as offer:
                if not self.should_upgrade():
                    raise
                head = self._head_without_offer()
                self._parser = self._fresh()
                self._parser.feed_data(head)
                rest = rest[offer.args[0] :]

    def _head_without_offer(self) -> bytes:
        lines = [b"%s %s HTTP/%s" % (self.get_method(), self._protocol.url, self.get_http_version().encode())]
        for name, value in self._protocol.headers:
            if name == b"connection":
                tokens = [token.strip() for token in value.split(b",")]
                value = b", ".join(token for token in tokens if token.lower() not in _OFFERS)
            if name not in _OFFERS:
                lines.append(b"%s: %s" % (name, value))
        return b"\r\n".join((*lines, b"", b""))


class HttpProtocol(HttpToolsProtocol):
    """One connection. Its head must be complete within `patience_seconds`; its body must not stall longer than that.

    A head has at most `head_bytes`, and what came together with its end or its beginning; so have a body's trailers."""

    patience_seconds = 60.0
    head_bytes = 65_536
    look_seconds = 15.0  # one timer per connection; one per request would cost thousands
    linger_seconds = 2.0  # for a client that still sends what we have refused

    _owed = True  # the client has not finished what it began; connecting counts as a beginning
    _in_body = False
    _since = 0.0  # when the head began, or when body bytes last arrived
    _begun = False
    _in_head = False
    _head = 0  # bytes since the piece in which the head began
    _around = 0  # bytes received after the head, without the body's own
    _body = 0
    _look: asyncio.TimerHandle | None = None
    _refused = False

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.parser = _Parser(self)  # type: ignore[assignment]
        self._since = self.loop.time()
        self._look = self.loop.call_later(self.look_seconds, self._look_again)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._look is not None:
            self._look.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._begun = True
        if self._in_body:
            self._since = self.loop.time()
            self._around += len(data)
        if self._in_head:
            self._head += len(data)
        super().data_received(data)
        if not self.transport.is_closing() and self._is_endless():
            if self._in_body and self.cycle.response_started:
                self.transport.close()
                return
            self._refuse(HeadTooLarge(f"The request line and headers may have {self.head_bytes:,} bytes; send less."))

    def on_message_begin(self) -> None:
        self._owed, self._in_body, self._since = True, False, self.loop.time()
        self._in_head, self._head, self._around, self._body = True, 0, 0, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            return  # the head is read again, without its offer
        self._in_head, self._in_body, self._since = False, True, self.loop.time()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self._owed = self._in_body = False
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(BadRequest("This is not HTTP/1.1 (RFC 9112); check the request line and the headers."))

    def _is_endless(self) -> bool:
        if self._in_head:
            return self._head > self.head_bytes
        return self._in_body and self._around > self.head_bytes + _FRAMES_PER_BYTE * self._body

    def _look_again(self) -> None:
        if self._refused or self.transport.is_closing():
            return
        if not self._owed or self.flow.read_paused or self._still_answering():
            self._since = self.loop.time()  # we are not waiting for the client
        elif self.loop.time() - self._since >= self.patience_seconds:
            self._give_up()
            return
        self._look = self.loop.call_later(self.look_seconds, self._look_again)

    def _still_answering(self) -> bool:
        return not self._in_body and self.cycle is not None and not self.cycle.response_complete

    def _give_up(self) -> None:
        half_answered = self._in_body and self.cycle.response_started
        if half_answered or not self._begun:  # browsers connect in advance and may never send a request
            self.transport.close()
            return
        part = "body" if self._in_body else "head"
        self._refuse(RequestTimeout(f"The {part} of the request stalled for {self.patience_seconds:g} seconds."))

    def _refuse(self, error: DepescheError) -> None:
        body = exact_json.dumps(error.problem())
        lines = (
            f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}",
            "content-type: application/problem+json",
            f"content-length: {len(body)}",
            "connection: close",
        )
        self.transport.write("\r\n".join((*lines, "", "")).encode() + body)
        self._refused = True
        if self.pipeline or not self.transport.can_write_eof():  # an earlier request may still be writing its answer
            self.transport.close()
        else:
            self._linger()

    def _linger(self) -> None:
        """Ends our side only: closing while bytes arrive resets the connection, and the client loses the answer.

        Source: RFC 9112, 9.6."""
        if self.cycle is not None:  # its request is refused; it must not write after our end
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.flow.resume_reading()
        self.transport.write_eof()
        self.loop.call_later(self.linger_seconds, self.transport.close)
