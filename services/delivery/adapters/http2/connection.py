"""One HTTP/2 connection as a client (RFC 9113): calls out, replies in, many of each per system call.

A reply, a timeout and the end of the connection are all reported to the call's batch at once, without a task or a
Future per call. Whatever ends a call removes it from `calls` first, so that nothing is reported twice.
"""

import asyncio
import time
from collections.abc import Callable
from typing import cast

from services.delivery.adapters.http2.calls import Batch, Call, Failure, Lost
from services.delivery.adapters.http2.frames import (
    ACK,
    ACKNOWLEDGE,
    PING,
    PREFACE,
    Code,
    Fault,
    Setting,
    code_name,
    frame,
    goaway,
    rst_stream,
    settings,
    window_update,
)
from services.delivery.adapters.http2.hpack_decoding import Head
from services.delivery.adapters.http2.keeping import Keeper, Limits, Pulse, Watch
from services.delivery.adapters.http2.receiving import LONGEST_FIELDS, Receiving
from services.delivery.adapters.http2.sending import Sending

_LONGEST_REPLY = 32_768  # below a stream's window, which grows by padding only: a longer reply is cut here
_MOST_UNREAD = 4 << 20  # unread bytes that a peer may leave in our buffer
_GOODBYE_SECONDS = 2.0  # for the peer to read our last bytes and close its side


class Connection(asyncio.Protocol):
    """Its keeper tells it what to send, by `begin` and then `flush`."""

    def __init__(self, keeper: "Keeper[Connection]", limits: Limits) -> None:
        self._loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = self._loop.create_future()  # done, too, if it ends before it opens
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self.calls: dict[int, Call] = {}  # the oldest first
        self.answered = 0
        self.is_draining = False
        self.why_ended: str | None = None
        self._keeper = keeper
        self._limits = limits
        self._transport: asyncio.Transport | None = None
        self._sending = Sending()
        self._receiving = Receiving(self, self._sending.out)
        self._most_streams = 0  # until the peer has announced its limit
        self._next_stream = 1
        self._watch = Watch(limits, time.monotonic())
        self._timer: asyncio.TimerHandle | None = None

    # ---- what the keeper does

    def room(self) -> int:
        """Return how many calls may begin now."""
        if self.is_draining or self.why_ended is not None or self._sending.window <= 0:
            return 0
        if self._watch.asked_at is not None:
            return 0  # the peer may be dead: send it nothing more
        return self._most_streams - len(self.calls)

    def begin(self, call: Call, now: float) -> bool:
        """Queue the call for the next `flush`. False: no other may follow for now."""
        stream = self._next_stream
        call.stream, call.due = stream, now + self._limits.call_seconds
        self.calls[stream] = call
        self._next_stream = stream + 2
        self._sending.begin(call)
        if self._next_stream > self._limits.last_stream:
            self.is_draining = True
            self._keeper.drains(self)
        return self._sending.window > 0 and not self.is_draining

    def flush(self) -> None:
        """Write everything that has gathered, in one write."""
        out = self._sending.out
        if out and self._transport is not None and self.why_ended is None:
            self._transport.write(b"".join(out))
            out.clear()
            if self._transport.get_write_buffer_size() > _MOST_UNREAD:
                self._end("the peer does not read what we send")

    def forget(self, batch: Batch) -> None:
        """Cancel the batch's calls without reporting to it."""
        for call in [call for call in self.calls.values() if call.batch is batch]:
            self._cancel(call, Code.CANCEL)
        self._settle_down()

    def retire(self) -> None:
        """Close the connection as soon as no call is open."""
        self.is_draining = True
        self._settle_down()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # ---- what the transport does

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        ours = {Setting.ENABLE_PUSH: 0, Setting.MAX_HEADER_LIST_SIZE: LONGEST_FIELDS}
        self._sending.out[:0] = (PREFACE, settings(ours))
        self.flush()
        self._watch.heard(time.monotonic())
        self._arm(self._limits.call_seconds / 2, self._look)

    def data_received(self, data: bytes) -> None:
        self._watch.heard(time.monotonic())
        try:
            self._receiving.read(data)
        except Fault as fault:
            self._end(f"the peer broke the protocol: {fault}", fault.code)
            return
        self._settle_down()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(f"the connection was lost: {exc}" if exc else "the peer closed the connection")
        if self._timer is not None:
            self._timer.cancel()
        if not self.closed.done():
            self.closed.set_result(None)

    # ---- what the peer says

    def on_data(self, stream: int, data: bytes, ends: bool) -> None:
        call = self.calls.get(stream)
        if call is None:
            self._check_known(stream)
        elif call.head is None:
            self._malformed(call, "data before the fields")
        elif ends and call.parts is None:
            self._answer(call, data)
        else:
            call.parts = call.parts or []
            call.parts.append(data)
            call.size += len(data)
            if ends:
                self._answer(call, b"".join(call.parts))
            elif call.size >= _LONGEST_REPLY:
                self._sending.out.append(rst_stream(stream, Code.CANCEL))
                self._answer(call, b"".join(call.parts))

    def on_padding(self, stream: int, size: int) -> None:
        """Give padding back to the stream's window, which it uses up like data (§6.1)."""
        if stream in self.calls:
            self._sending.out.append(window_update(stream, size))

    def on_fields(self, stream: int, head: Head, ends: bool) -> None:
        call = self.calls.get(stream)
        if call is None:
            self._check_known(stream)
        elif call.head is not None:  # trailers
            if not ends or head.status:
                self._malformed(call, "fields after the fields")
            else:
                self._answer(call, b"".join(call.parts or ()))
        elif head.status >= 200:
            call.head = head
            if ends:
                self._answer(call, b"")
        elif head.status < 100 or ends:  # 1xx are interim; the reply is still to come
            self._malformed(call, f"a reply that ends with {head.status}" if ends else "a reply without a status")

    def on_reset(self, stream: int, code: int) -> None:
        call = self.calls.pop(stream, None)
        if call is None:
            self._check_known(stream)
            return
        # a server that has begun to reply has processed something, whatever it promises afterwards
        lost = Lost.NOT_SENT if code == Code.REFUSED_STREAM and call.head is None else Lost.CUT
        self._fail(call, lost, f"the stream was reset: {code_name(code)}")

    def on_settings(self, values: list[tuple[int, int]]) -> None:
        if not self.opened.done():
            self._most_streams = self._limits.streams_unsaid
        self._sending.out.append(ACKNOWLEDGE)  # before what the new values allow
        for name, value in values:
            if name == Setting.MAX_CONCURRENT_STREAMS:
                self._most_streams = min(value, self._limits.most_streams)
            elif name == Setting.ENABLE_PUSH and value:
                raise Fault(Code.PROTOCOL_ERROR, "a server that would be pushed to")
            else:
                self._sending.apply(name, value)
        if not self.opened.done():
            self.opened.set_result(None)
            self._keeper.has_opened(self)

    def on_ping(self, payload: bytes) -> None:
        self._sending.out.append(frame(PING, ACK, 0, payload))

    def on_goaway(self, last_stream: int, code: int, text: str) -> None:
        """Streams above `last_stream` were not processed (§6.8). After a graceful GOAWAY they are sent again, once."""
        self.is_draining = True
        why = f"the server went away: {code_name(code)} {text}".rstrip()
        for call in [call for call in self.calls.values() if call.stream > last_stream]:
            self._take(call)
            lost = Lost.NOT_SENT if call.head is None else Lost.CUT  # as in `on_reset`
            if code == Code.NO_ERROR and lost is Lost.NOT_SENT and not call.again:
                self._keeper.takes_back(call)
            else:
                call.batch.failed(call, Failure(lost, why))
        self._keeper.drains(self)

    def on_window(self, stream: int, more: int) -> None:
        if stream:
            self._check_known(stream)
        self._sending.more_window(stream, more)

    def _check_known(self, stream: int) -> None:
        """Late frames of an ended stream are allowed, those of one that was never opened are not."""
        if stream >= self._next_stream or not stream & 1:
            raise Fault(Code.PROTOCOL_ERROR, f"a frame for stream {stream}, which was never opened")

    # ---- how calls end

    def _answer(self, call: Call, body: bytes) -> None:
        head = call.head
        assert head is not None
        del self.calls[call.stream]
        self.answered += 1
        if not call.sent:  # the server has read enough and does not want the rest (§8.1)
            self._sending.forget(call)
            self._sending.out.append(rst_stream(call.stream, Code.NO_ERROR))
        call.batch.answered(call, head, body)

    def _malformed(self, call: Call, text: str) -> None:
        self._cancel(call, Code.PROTOCOL_ERROR)
        self._fail(call, Lost.CUT, f"the peer broke the protocol: {text}")

    def _cancel(self, call: Call, code: Code) -> None:
        self._take(call)
        self._sending.out.append(rst_stream(call.stream, code))

    def _take(self, call: Call) -> None:
        del self.calls[call.stream]
        self._sending.forget(call)

    def _fail(self, call: Call, lost: Lost, text: str) -> None:
        """If the call's end never left us and no reply has begun, it was not sent, whatever happened to the rest."""
        self._sending.forget(call)
        call.batch.failed(call, Failure(lost if call.sent or call.head is not None else Lost.NOT_SENT, text))

    # ---- how the connection ends

    def _settle_down(self) -> None:
        """After anything that may have made room: begin more calls, or end the connection if it is draining."""
        if self.is_draining and not self.calls:
            self._end("we closed it", Code.NO_ERROR)
            return
        self._keeper.has_room(self)
        self.flush()

    def _end(self, why: str, code: Code | None = None) -> None:
        if code is not None and self.why_ended is None:
            self._sending.out.append(goaway(code, why))
            self.flush()
        if self.why_ended is not None:
            return
        self.why_ended = why
        if not self.opened.done():
            self.opened.set_result(None)
        calls, self.calls = self.calls, {}
        for call in calls.values():
            self._fail(call, Lost.CUT, why)
        self._arm(_GOODBYE_SECONDS, self.abort)
        if self._transport is not None:
            self._transport.close()
        self._keeper.has_ended(self)

    # ---- the one timer

    def _look(self) -> None:
        """Find calls that took too long, and a silent peer."""
        now = time.monotonic()
        self._arm(self._limits.call_seconds / 2, self._look)
        while (oldest := next(iter(self.calls.values()), None)) is not None and oldest.due <= now:
            self._cancel(oldest, Code.CANCEL)
            self._fail(oldest, Lost.TIMED_OUT, f"no answer in {self._limits.call_seconds:g} s")
        pulse, again = self._watch.look(now, oldest.due if oldest is not None else None)
        if pulse is Pulse.DEAD:
            self._end("the peer is silent and did not answer a PING")
            self.abort()
            return
        if pulse is Pulse.ASK:
            self._sending.out.append(frame(PING, 0, 0, b"depesche"))
        self._arm(again - now, self._look)
        self._settle_down()

    def _arm(self, seconds: float, what: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, what)
