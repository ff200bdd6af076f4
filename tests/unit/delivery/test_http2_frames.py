"""The two halves of HTTP/2 without a socket, against octets written by hand."""

from collections.abc import Iterator
from typing import Any, cast

import pytest

from services.delivery.adapters.http2.calls import Batch, Call
from services.delivery.adapters.http2.frames import (
    FRAME_HEAD,
    LARGEST_WINDOW,
    Code,
    Fault,
    Setting,
    frame,
    rst_stream,
    settings,
    window_update,
)
from services.delivery.adapters.http2.hpack_decoding import Head
from services.delivery.adapters.http2.receiving import Receiving
from services.delivery.adapters.http2.sending import Sending

FIELDS = ((b":method", b"POST"), (b"authorization", b"Bearer t"))
DATA, HEADERS, PRIORITY, RESET, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
STATUS_200 = b"\x88"


class Heard:
    """Record each callback by its name."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        def told(*what: Any) -> None:
            said = tuple(part.status if isinstance(part, Head) else part for part in what)
            self.events.append((name.removeprefix("on_"), *said))

        return told


def read(data: bytes, step: int = 1 << 20) -> list[tuple[Any, ...]]:
    """Read these octets after the server's settings, in pieces of `step`; return the recorded callbacks."""
    heard = Heard()
    receiving = Receiving(cast(Any, heard), [])
    whole = settings({}) + data
    for start in range(0, len(whole), step):
        receiving.read(whole[start : start + step])
    return heard.events[1:]


REPLY = frame(HEADERS, 4, 1, STATUS_200) + frame(DATA, 1, 1, b"body")
HEARD = [("fields", 1, 200, False), ("data", 1, b"body", True)]


@pytest.mark.parametrize("step", [1, 2, 8, 9, 10, 100])
def test_frames_may_arrive_in_any_pieces(step: int) -> None:
    assert read(REPLY * 3, step) == HEARD * 3


@pytest.mark.parametrize(
    ("octets", "heard"),
    [
        (frame(HEADERS, 4 | 8, 1, b"\x03" + STATUS_200 + b"pad"), ("fields", 1, 200, False)),
        (frame(HEADERS, 4 | 32, 1, b"\x80\0\0\0\x10" + STATUS_200), ("fields", 1, 200, False)),
        (frame(HEADERS, 1 | 4 | 8 | 32, 1, b"\x01\0\0\0\0\x10" + STATUS_200 + b"p"), ("fields", 1, 200, True)),
        (frame(HEADERS, 4, 1 | 1 << 31, STATUS_200), ("fields", 1, 200, False)),  # the reserved bit is ignored
        (
            frame(HEADERS, 1, 1, b"") + frame(CONTINUATION, 0, 1, STATUS_200) + frame(CONTINUATION, 4, 1, b""),
            ("fields", 1, 200, True),
        ),
        (rst_stream(3, Code.CANCEL), ("reset", 3, 8)),
        (frame(PING, 0, 0, b"12345678"), ("ping", b"12345678")),
        (window_update(5, 10), ("window", 5, 10)),
        (frame(GOAWAY, 0, 0, b"\0\0\0\x05\0\0\0\x0bwhy\xff"), ("goaway", 5, 11, "why�")),
        (settings({Setting.MAX_CONCURRENT_STREAMS: 7}), ("settings", [(3, 7)])),
    ],
)
def test_each_frame_is_parsed(octets: bytes, heard: tuple[Any, ...]) -> None:
    assert read(octets) == [heard]


@pytest.mark.parametrize(
    ("octets", "data", "padding"),
    [
        (frame(DATA, 8, 1, b"\x02onepp"), ("data", 1, b"one", False), 3),
        (frame(DATA, 1 | 8, 1, b"\x00one"), ("data", 1, b"one", True), 1),
        (frame(DATA, 8, 1, b"\x03ppp"), ("data", 1, b"", False), 4),
    ],
)
def test_padding_is_reported_with_its_full_length(octets: bytes, data: tuple[Any, ...], padding: int) -> None:
    """The length octet itself also counts against the window."""
    assert read(octets) == [data, ("padding", 1, padding)]


@pytest.mark.parametrize(
    "octets",
    [
        frame(PING, 1, 0, b"12345678"),
        frame(SETTINGS, 1, 0),
        frame(PRIORITY, 0, 3, b"\0\0\0\0\1"),
        frame(200, 255, 9, b"x"),
    ],
)
def test_meaningless_frames_are_ignored(octets: bytes) -> None:
    assert read(octets) == []


@pytest.mark.parametrize(
    ("octets", "code"),
    [
        (frame(DATA, 0, 0, b"x"), Code.PROTOCOL_ERROR),
        (frame(HEADERS, 4, 0, STATUS_200), Code.PROTOCOL_ERROR),
        (frame(DATA, 8, 1, b"\x04ppp"), Code.PROTOCOL_ERROR),
        (frame(DATA, 8, 1, b""), Code.FRAME_SIZE_ERROR),
        (frame(HEADERS, 4 | 32, 1, b"\0\0\0"), Code.PROTOCOL_ERROR),
        (frame(RESET, 0, 1, b"\0\0\0"), Code.FRAME_SIZE_ERROR),
        (frame(RESET, 0, 0, bytes(4)), Code.PROTOCOL_ERROR),
        (frame(SETTINGS, 0, 0, b"\0\1\0"), Code.FRAME_SIZE_ERROR),
        (frame(SETTINGS, 1, 0, bytes(6)), Code.FRAME_SIZE_ERROR),
        (frame(SETTINGS, 0, 1), Code.PROTOCOL_ERROR),
        (frame(PUSH, 4, 1, bytes(4) + STATUS_200), Code.PROTOCOL_ERROR),
        (frame(PING, 0, 0, b"1234567"), Code.FRAME_SIZE_ERROR),
        (frame(PING, 0, 1, b"12345678"), Code.PROTOCOL_ERROR),
        (frame(GOAWAY, 0, 0, bytes(7)), Code.FRAME_SIZE_ERROR),
        (window_update(0, 0), Code.PROTOCOL_ERROR),
        (frame(WINDOW, 0, 0, bytes(3)), Code.FRAME_SIZE_ERROR),
        (frame(CONTINUATION, 4, 1, STATUS_200), Code.PROTOCOL_ERROR),
        (frame(HEADERS, 0, 1, b"") + frame(DATA, 0, 1, b"x"), Code.PROTOCOL_ERROR),
        (frame(HEADERS, 0, 1, b"") + frame(CONTINUATION, 4, 3, STATUS_200), Code.PROTOCOL_ERROR),
        (frame(HEADERS, 0, 1, b"") + frame(CONTINUATION, 0, 1, b"") * 10_000, Code.ENHANCE_YOUR_CALM),
        (FRAME_HEAD.pack(16_385 << 8, 0, 1), Code.FRAME_SIZE_ERROR),
    ],
)
def test_protocol_violations_end_the_connection(octets: bytes, code: Code) -> None:
    with pytest.raises(Fault) as found:
        read(octets)
    assert found.value.code is code


@pytest.mark.parametrize(
    "first", [frame(PING, 0, 0, b"12345678"), REPLY, frame(SETTINGS, 1, 0), b"HTTP/1.1 400 Bad\r\n\r\n"]
)
def test_a_server_must_begin_with_settings(first: bytes) -> None:
    with pytest.raises(Fault):
        Receiving(cast(Any, Heard()), []).read(first)


def test_the_window_is_reopened_in_few_updates() -> None:
    out: list[bytes] = []
    receiving = Receiving(cast(Any, Heard()), out)
    receiving.read(settings({}) + frame(HEADERS, 4, 1, STATUS_200))
    out.clear()
    for _ in range(128):
        receiving.read(frame(DATA, 0, 1, bytes(16_384)))
    opened = [int.from_bytes(update[9:], "big") for update in out]
    assert 3 <= len(opened) <= 5
    assert sum(opened) > 128 * 16_384 - (1 << 20)


# ---- sending


def call(stream: int, body: bytes) -> Call:
    made = Call(cast(Batch, None), 0, body)
    made.stream, made.fields = stream, FIELDS
    return made


def sent(sending: Sending) -> Iterator[tuple[int, int, int, bytes]]:
    """The buffered frames: type, flags, stream, payload."""
    data = b"".join(sending.out)
    sending.out.clear()
    while data:
        head, flags, stream = FRAME_HEAD.unpack_from(data)
        yield head & 0xFF, flags, stream, data[9 : 9 + (head >> 8)]
        data = data[9 + (head >> 8) :]


def bodies(sending: Sending) -> list[tuple[int, int, bytes]]:
    return [(stream, flags, payload) for kind, flags, stream, payload in sent(sending) if kind == DATA]


def test_a_request_is_its_fields_and_its_body() -> None:
    sending = Sending()
    for stream in (1, 3, 5):
        sending.begin(call(stream, b"body"))
    frames = list(sent(sending))
    assert [(kind, flags, stream) for kind, flags, stream, _ in frames] == [
        (kind, flags, stream) for stream in (1, 3, 5) for kind, flags in ((HEADERS, 4), (DATA, 1))
    ]
    assert frames[2][3] == frames[4][3] == b"\x83\xbe"
    assert sending.window == 65_535 - 12


def test_a_body_waits_for_its_streams_window() -> None:
    sending = Sending()
    sending.apply(Setting.INITIAL_WINDOW_SIZE, 3)
    one = call(1, b"12345678")
    sending.begin(one)
    assert bodies(sending) == [(1, 0, b"123")]
    sending.more_window(1, 4)
    assert bodies(sending) == [(1, 0, b"4567")]
    assert not one.sent
    sending.more_window(1, 4)
    assert bodies(sending) == [(1, 1, b"8")]
    assert one.sent
    assert sending.blocked == {}
    sending.more_window(1, 4)  # too late: ignored


def test_a_changed_initial_window_adjusts_open_streams() -> None:
    """RFC 9113 §6.9.2: the window may even become negative."""
    sending = Sending()
    sending.apply(Setting.INITIAL_WINDOW_SIZE, 6)
    sending.begin(call(1, b"123456789"))
    sending.apply(Setting.INITIAL_WINDOW_SIZE, 2)  # four octets were already used
    sending.more_window(1, 4)
    assert bodies(sending) == [(1, 0, b"123456")]
    sending.more_window(1, 1)
    sending.apply(Setting.INITIAL_WINDOW_SIZE, 4)
    assert bodies(sending) == [(1, 0, b"7"), (1, 1, b"89")]


def test_streams_share_the_connection_window() -> None:
    sending = Sending()
    sending.apply(Setting.INITIAL_WINDOW_SIZE, 1 << 20)
    sending.window = 10
    sending.begin(call(1, b"a" * 8))
    sending.begin(call(3, b"b" * 8))
    assert bodies(sending) == [(1, 1, b"a" * 8), (3, 0, b"bb")]
    assert sending.window == 0
    sending.more_window(0, 5)
    sending.more_window(0, 5)
    assert bodies(sending) == [(3, 0, b"bbbbb"), (3, 1, b"b")]
    assert sending.window == 4


def test_frames_respect_the_peers_maximum_size() -> None:
    sending = Sending()
    sending.begin(call(1, bytes(40_000)))
    assert [len(body) for _, _, body in bodies(sending)] == [16_384, 16_384, 7_232]
    sending.apply(Setting.MAX_FRAME_SIZE, 20_000)
    sending.begin(call(3, bytes(25_000)))
    assert [len(body) for _, _, body in bodies(sending)] == [20_000, 5_000]


def test_fields_too_long_for_a_frame_continue_in_the_next() -> None:
    sending = Sending()
    sending.apply(Setting.HEADER_TABLE_SIZE, 0)
    for stream in (1, 3):
        long = call(stream, b"body")
        long.fields = ((b"authorization", b"t" * 40_000),)
        sending.begin(long)
        assert [(kind, flags, len(payload)) for kind, flags, _, payload in sent(sending)] == [
            (HEADERS, 0, 16_384),
            (CONTINUATION, 0, 16_384),
            (CONTINUATION, 4, 40_000 - 2 * 16_384 + (7 if stream == 1 else 6)),  # the first says that the table is gone
            (DATA, 1, 4),
        ]


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        (Setting.INITIAL_WINDOW_SIZE, 1 << 31, Code.FLOW_CONTROL_ERROR),
        (Setting.MAX_FRAME_SIZE, 16_383, Code.PROTOCOL_ERROR),
        (Setting.MAX_FRAME_SIZE, 1 << 24, Code.PROTOCOL_ERROR),
    ],
)
def test_settings_out_of_bounds_are_refused(name: Setting, value: int, code: Code) -> None:
    with pytest.raises(Fault) as found:
        Sending().apply(name, value)
    assert found.value.code is code


def test_windows_out_of_bounds_are_refused() -> None:
    with pytest.raises(Fault):
        Sending().more_window(0, LARGEST_WINDOW)
    sending = Sending()
    sending.apply(Setting.INITIAL_WINDOW_SIZE, 1)
    sending.begin(call(1, b"123"))
    with pytest.raises(Fault):
        sending.more_window(1, LARGEST_WINDOW + 1)
