"""The sending half of a connection: requests as frames, within the peer's windows (RFC 9113 §5.2, §6.9).

Nothing is written here: frames gather in `out`, so that dozens of requests are one write, one TLS record, one system
call.
"""

from struct import Struct

from services.delivery.adapters.http2.calls import Call, Fields
from services.delivery.adapters.http2.frames import (
    CONTINUATION,
    DATA,
    DEFAULT_FRAME,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    FRAME_HEAD,
    HEADERS,
    LARGEST_FRAME,
    LARGEST_WINDOW,
    Code,
    Fault,
    Setting,
    frame,
)
from services.delivery.adapters.http2.hpack_encoding import FieldEncoder


class Sending:
    """The frames to write, and how much the peer lets us write."""

    def __init__(self) -> None:
        self.out: list[bytes] = []
        self.window = DEFAULT_WINDOW  # the connection's
        self.blocked: dict[int, Call] = {}  # begun, and waiting for a window with the rest of their body
        self._stream_window = DEFAULT_WINDOW  # a new stream's initial window
        self._largest_frame = DEFAULT_FRAME
        self._encoder = FieldEncoder()
        self._fields: Fields | None = None
        self._block = b""
        self._block_head = 0
        self._at_once = 0  # the longest body that may follow its fields without further checks
        self._pack = Struct("").pack

    def begin(self, call: Call) -> None:
        """Put a request on its stream. Do not call this while another request waits for the connection's window."""
        if call.fields is not self._fields:
            self._encode(call)
        size = len(call.body)
        if size <= self._at_once and size <= self.window:
            stream = call.stream
            self.window -= size
            heads = self._pack(self._block_head, END_HEADERS, stream, self._block, size << 8, END_STREAM, stream)
            self.out += (heads, call.body)
            call.sent = True
            return
        self._headers(call.stream, self._block)
        call.window = self._stream_window
        self.blocked[call.stream] = call
        self._feed(call)

    def forget(self, call: Call) -> None:
        """The call ended before its body was sent."""
        self.blocked.pop(call.stream, None)

    def more_window(self, stream: int, more: int) -> None:
        """Handle WINDOW_UPDATE; ignored for a stream that needs none any more. Raises Fault for the connection's."""
        if stream == 0:
            self.window += more
            if self.window > LARGEST_WINDOW:
                raise Fault(Code.FLOW_CONTROL_ERROR, "a window beyond 2**31 - 1")
            for call in list(self.blocked.values()):
                self._feed(call)
        elif (blocked := self.blocked.get(stream)) is not None:
            self._widen(blocked, more)

    def apply(self, name: int, value: int) -> None:
        """Apply one of the peer's settings, if it affects sending."""
        if name == Setting.HEADER_TABLE_SIZE:
            self._encoder.resize(value)
            self._fields = None
        elif name == Setting.INITIAL_WINDOW_SIZE:
            if value > LARGEST_WINDOW:
                raise Fault(Code.FLOW_CONTROL_ERROR, "an initial window beyond 2**31 - 1")
            change, self._stream_window = value - self._stream_window, value
            for call in list(self.blocked.values()):
                self._widen(call, change)
        elif name == Setting.MAX_FRAME_SIZE:
            if not DEFAULT_FRAME <= value <= LARGEST_FRAME:
                raise Fault(Code.PROTOCOL_ERROR, f"a largest frame of {value} bytes")
            self._largest_frame = value
        self._look_at_limits()

    def _widen(self, call: Call, more: int) -> None:
        """A window may become negative when the peer lowers its setting; it then waits until it is positive again."""
        call.window += more
        if call.window > LARGEST_WINDOW:
            raise Fault(Code.FLOW_CONTROL_ERROR, "a window beyond 2**31 - 1")
        self._feed(call)

    def _look_at_limits(self) -> None:
        fits = len(self._block) <= self._largest_frame
        self._at_once = min(self._stream_window, self._largest_frame) if fits else -1

    def _encode(self, call: Call) -> None:
        """Prepare the block, and, if it can be reused, a single pack that places it between both frame heads."""
        self._block = self._encoder.encode(call.fields)
        self._look_at_limits()
        self._pack = Struct(f">IBI{len(self._block)}sIBI").pack
        self._block_head = len(self._block) << 8 | HEADERS
        self._fields = call.fields if self._encoder.steady else None

    def _headers(self, stream: int, block: bytes) -> None:
        """Write the fields; what does not fit into a frame follows in CONTINUATION frames."""
        most, kind = self._largest_frame, HEADERS
        while len(block) > most:
            self.out.append(frame(kind, 0, stream, block[:most]))
            block, kind = block[most:], CONTINUATION
        self.out.append(frame(kind, END_HEADERS, stream, block))

    def _feed(self, call: Call) -> None:
        """Send as much of the body as both windows allow, in frames within the size limit."""
        while True:
            room = min(len(call.body), call.window, self.window, self._largest_frame)
            if room < len(call.body) and room <= 0:
                return
            part, call.body = call.body[:room], call.body[room:]
            call.window -= room
            self.window -= room
            end = 0 if call.body else END_STREAM
            self.out += (FRAME_HEAD.pack(room << 8 | DATA, end, call.stream), part)
            if end:
                call.sent = True
                del self.blocked[call.stream]
                return
