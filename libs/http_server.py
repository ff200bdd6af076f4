"""HTTP as uvicorn speaks it, with an end to senders that stop in the middle of a request.

uvicorn waits for the rest of a head or body for as long as the connection stands: one that hangs keeps its socket, and
a server that is to stop waits for it. Such a sender is told 408; what is no HTTP at all gets a problem like any other.
"""

import asyncio
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from libs import exact_json
from libs.errors import BadRequest, DepescheError, RequestTimeout


class HttpProtocol(HttpToolsProtocol):
    """One connection. A head has to be whole `patience_seconds` after it began, a body has to move on within them."""

    patience_seconds = 60.0
    look_seconds = 15.0  # one timer for a connection, none for a request: that one would be made thousands of times

    _owed = True  # the sender has not finished what it began; connecting is a beginning
    _in_body = False
    _since = 0.0  # when the head began, or the body moved on
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
        self._refuse(BadRequest("This is not HTTP/1.1 as RFC 9112 has it; look at the request line and the headers."))

    def _look_again(self) -> None:
        if self.transport.is_closing():
            return
        if not self._owed or self.flow.read_paused or self._still_answering():
            self._since = self.loop.time()  # it is not the sender who is waited for
        elif self.loop.time() - self._since >= self.patience_seconds:
            self._give_up()
            return
        self._look = self.loop.call_later(self.look_seconds, self._look_again)

    def _still_answering(self) -> bool:
        return not self._in_body and self.cycle is not None and not self.cycle.response_complete

    def _give_up(self) -> None:
        half_answered = self._in_body and self.cycle.response_started
        if half_answered or not self._begun:  # browsers connect in advance, and may never ask anything
            self.transport.close()
            return
        part = "body" if self._in_body else "head"
        self._refuse(RequestTimeout(f"The {part} of the request did not go on for {self.patience_seconds:g} seconds."))

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
