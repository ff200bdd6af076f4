"""HTTP/2's frames as bytes (RFC 9113 §4, §6, §7): constants, and the encoding of the small ones."""

from enum import IntEnum
from struct import Struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD_BYTES = 9
FRAME_HEAD = Struct(">IBI")  # length << 8 | type, flags, stream
DEFAULT_WINDOW = 65_535
LARGEST_WINDOW = 2**31 - 1
DEFAULT_FRAME = 16_384  # the largest payload until the peer allows more; we never allow more
LARGEST_FRAME = 2**24 - 1
DEFAULT_TABLE = 4_096

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)

END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
HAS_PRIORITY = 0x20


class Setting(IntEnum):
    """The parameters that peers announce to each other."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


class Code(IntEnum):
    """Why a stream or a connection ends."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


class Fault(Exception):
    """The peer broke the protocol: the connection ends with this code."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code = code


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return FRAME_HEAD.pack(len(payload) << 8 | kind, flags, stream) + payload


def settings(values: dict[Setting, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(SETTING.pack(name, value) for name, value in values.items()))


def window_update(stream: int, more: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, more.to_bytes(4, "big"))


def rst_stream(stream: int, code: Code) -> bytes:
    return frame(RST_STREAM, 0, stream, code.to_bytes(4, "big"))


def goaway(code: Code, text: str = "") -> bytes:
    """We never accept streams from a server, so the last one that we processed is 0."""
    return frame(GOAWAY, 0, 0, bytes(4) + code.to_bytes(4, "big") + text.encode()[:200])


def unpadded(flags: int, payload: bytes) -> bytes:
    """Return a DATA or HEADERS payload without padding and priority."""
    start, end = 0, len(payload)
    if flags & PADDED:
        if not payload:
            raise Fault(Code.FRAME_SIZE_ERROR, "a padded frame without a pad length")
        start, end = 1, end - payload[0]
    if flags & HAS_PRIORITY:
        start += 5
    if start > end:
        raise Fault(Code.PROTOCOL_ERROR, "more padding than frame")
    return payload[start:end]


def code_name(code: int) -> str:
    return Code(code).name if code in Code._value2member_map_ else f"error {code}"


SETTING = Struct(">HI")
ACKNOWLEDGE = frame(SETTINGS, ACK, 0)
