"""The receiving half of a connection: bytes into checked frames, reported to the listener (RFC 9113 §4–6).

A protocol violation raises Fault, and the connection ends. Frames of unknown types are ignored.
"""

from typing import Protocol

from services.delivery.adapters.http2.frames import (
    ACK,
    CONTINUATION,
    DEFAULT_FRAME,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    FRAME_HEAD,
    HAS_PRIORITY,
    HEAD_BYTES,
    PADDED,
    SETTING,
    SETTINGS,
    Code,
    Fault,
    unpadded,
    window_update,
)
from services.delivery.adapters.http2.hpack_decoding import FieldDecoder, Head

LONGEST_FIELDS = 65_536
_WINDOW = 1 << 20  # the connection's; a stream's grows by padding only, because FCM's replies have some 200 bytes
_STREAM_BITS = 0x7FFFFFFF


class Listener(Protocol):
    """Receives the frames. `ends`: nothing more comes on the stream."""

    def on_data(self, stream: int, data: bytes, ends: bool) -> None: ...

    def on_padding(self, stream: int, size: int) -> None: ...

    def on_fields(self, stream: int, head: Head, ends: bool) -> None: ...

    def on_reset(self, stream: int, code: int) -> None: ...

    def on_settings(self, values: list[tuple[int, int]]) -> None: ...

    def on_ping(self, payload: bytes) -> None: ...

    def on_goaway(self, last_stream: int, code: int, text: str) -> None: ...

    def on_window(self, stream: int, more: int) -> None: ...


class Receiving:
    """Parses incoming bytes; `out` receives the window updates that become due."""

    def __init__(self, listener: Listener, out: list[bytes]) -> None:
        self._listener = listener
        self._out = out
        self._decoder = FieldDecoder()
        self._tail = b""
        self._only: int | None = SETTINGS  # the only frame type allowed next
        self._parts: list[bytes] = []  # of incomplete fields
        self._opening = (0, 0)  # their stream and flags
        self._window = _WINDOW
        out.append(window_update(0, _WINDOW - DEFAULT_WINDOW))

    def read(self, data: bytes) -> None:
        """Process all complete frames; the rest is stored for the next call."""
        if self._tail:
            data = self._tail + data
        at, end, unpack = 0, len(data), FRAME_HEAD.unpack_from
        while end - at >= HEAD_BYTES:
            head, flags, stream = unpack(data, at)
            size, kind = head >> 8, head & 0xFF
            if size > DEFAULT_FRAME:
                raise Fault(Code.FRAME_SIZE_ERROR, f"a frame of {size} bytes")
            start = at + HEAD_BYTES
            at = start + size
            if at > end:
                at = start - HEAD_BYTES
                break
            if self._only is not None and kind != self._only:
                raise Fault(Code.PROTOCOL_ERROR, f"a frame of type {kind} where only {self._only} may come")
            if kind < len(_HANDLERS):
                _HANDLERS[kind](self, flags, stream & _STREAM_BITS, data[start:at])
        self._tail = data[at:]

    def _data(self, flags: int, stream: int, payload: bytes) -> None:
        self._window -= len(payload)
        if self._window < _WINDOW // 2:
            if self._window < 0:
                raise Fault(Code.FLOW_CONTROL_ERROR, "more data than we allowed")
            self._out.append(window_update(0, _WINDOW - self._window))
            self._window = _WINDOW
        if not flags & PADDED:
            self._listener.on_data(_of_stream(stream), payload, flags & END_STREAM != 0)
            return
        data = unpadded(PADDED, payload)
        self._listener.on_data(_of_stream(stream), data, flags & END_STREAM != 0)
        self._listener.on_padding(stream, len(payload) - len(data))

    def _headers(self, flags: int, stream: int, payload: bytes) -> None:
        if flags & (PADDED | HAS_PRIORITY):
            payload = unpadded(flags, payload)
        if flags & END_HEADERS:
            self._listener.on_fields(_of_stream(stream), self._decoder.decode(payload), flags & END_STREAM != 0)
        else:
            self._only, self._opening, self._parts = CONTINUATION, (_of_stream(stream), flags), [payload]

    def _continuation(self, flags: int, stream: int, payload: bytes) -> None:
        if self._only is None or stream != self._opening[0]:
            raise Fault(Code.PROTOCOL_ERROR, "a continuation of nothing")
        self._parts.append(payload)
        # counting frame heads: endless empty frames are a flood too
        if sum(len(part) + HEAD_BYTES for part in self._parts) > LONGEST_FIELDS:
            raise Fault(Code.ENHANCE_YOUR_CALM, "fields without end")
        if flags & END_HEADERS:
            block, self._only, self._parts = b"".join(self._parts), None, []
            self._listener.on_fields(stream, self._decoder.decode(block), self._opening[1] & END_STREAM != 0)

    def _priority(self, flags: int, stream: int, payload: bytes) -> None:
        """Servers have no priorities to send, and RFC 9113 deprecates them."""

    def _rst_stream(self, flags: int, stream: int, payload: bytes) -> None:
        self._listener.on_reset(_of_stream(stream), _number(payload))

    def _settings(self, flags: int, stream: int, payload: bytes) -> None:
        _of_connection(stream)
        if flags & ACK:
            if payload or self._only is not None:
                raise Fault(Code.FRAME_SIZE_ERROR, "an acknowledgement that says more, or comes first")
            return
        if len(payload) % SETTING.size:
            raise Fault(Code.FRAME_SIZE_ERROR, f"settings of {len(payload)} bytes")
        self._only = None
        self._listener.on_settings(list(SETTING.iter_unpack(payload)))

    def _push_promise(self, flags: int, stream: int, payload: bytes) -> None:
        raise Fault(Code.PROTOCOL_ERROR, "a push, which we refused in our settings")

    def _ping(self, flags: int, stream: int, payload: bytes) -> None:
        _of_connection(stream)
        if len(payload) != 8:
            raise Fault(Code.FRAME_SIZE_ERROR, f"a PING of {len(payload)} bytes")
        if not flags & ACK:  # the answer to our own PING has served its purpose by arriving
            self._listener.on_ping(payload)

    def _goaway(self, flags: int, stream: int, payload: bytes) -> None:
        _of_connection(stream)
        if len(payload) < 8:
            raise Fault(Code.FRAME_SIZE_ERROR, f"a GOAWAY of {len(payload)} bytes")
        last, code = _number(payload[:4]) & _STREAM_BITS, _number(payload[4:8])
        self._listener.on_goaway(last, code, payload[8:208].decode("utf-8", "replace"))

    def _window_update(self, flags: int, stream: int, payload: bytes) -> None:
        more = _number(payload) & _STREAM_BITS
        if more == 0:
            raise Fault(Code.PROTOCOL_ERROR, "a window that grows by nothing")
        self._listener.on_window(stream, more)


def _of_stream(stream: int) -> int:
    if stream == 0:
        raise Fault(Code.PROTOCOL_ERROR, "a stream's frame without a stream")
    return stream


def _of_connection(stream: int) -> None:
    if stream != 0:
        raise Fault(Code.PROTOCOL_ERROR, "a connection's frame on a stream")


def _number(payload: bytes) -> int:
    if len(payload) != 4:
        raise Fault(Code.FRAME_SIZE_ERROR, f"a number of {len(payload)} bytes")
    return int.from_bytes(payload, "big")


_HANDLERS = (  # by frame type
    Receiving._data,
    Receiving._headers,
    Receiving._priority,
    Receiving._rst_stream,
    Receiving._settings,
    Receiving._push_promise,
    Receiving._ping,
    Receiving._goaway,
    Receiving._window_update,
    Receiving._continuation,
)
