"""uvicorn's HTTP protocol, with a timeout for clients that stop in the middle of a request.

uvicorn waits for the rest of a head or body as long as the connection stands, so a client that hangs keeps its socket
and delays shutdown. Here it gets 408. Bytes that are not HTTP at all get a problem document like any other error.
"""

import asyncio
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from libs import exact_json
from libs.errors import BadRequest, DepescheError, RequestTimeout


class HttpProtocol(HttpToolsProtocol):
    """One connection. Its head must be complete within `patience_seconds`; its body must not stall longer than that."""

    patience_seconds = 60.0
    look_seconds = 15.0  # one timer per connection; one per request would cost thousands

    _owed = True  # the client has not finished what it began; connecting counts as a beginning
    _in_body = False
    _since = 0.0  # when the head began, or when body bytes last arrived
    _begun = False
    _look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._since = self.loop.time()
        self._look = self.loop.call_later(self.look_seconds, self._look_again)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._look is not None:
            self._look.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._begun = True
        if self._in_body:
            self._since = self.loop.time()
        super().data_received(data)

    def on_message_begin(self) -> None:
        self._owed, self._in_body, self._since = True, False, self.loop.time()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_body, self._since = True, self.loop.time()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._owed = self._in_body = False
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(BadRequest("This is not HTTP/1.1 (RFC 9112); check the request line and the headers."))

    def _look_again(self) -> None:
        if self.transport.is_closing():
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
        self.transport.close()
