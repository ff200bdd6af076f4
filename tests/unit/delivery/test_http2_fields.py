"""HPACK, ours against the reference library: each decodes what the other encodes, with any table."""

import pytest
from hpack import Decoder, Encoder, NeverIndexedHeaderTuple
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.delivery.adapters.http2.frames import Code, Fault
from services.delivery.adapters.http2.hpack_decoding import FieldDecoder
from services.delivery.adapters.http2.hpack_encoding import FieldEncoder, integer

PUSH = (
    (b":method", b"POST"),
    (b":scheme", b"https"),
    (b":authority", b"fcm.googleapis.com"),
    (b":path", b"/v1/projects/shop/messages:send"),
    (b"content-type", b"application/json"),
    (b"authorization", b"Bearer " + b"t" * 1_000),
)
names = st.sampled_from([b":status", b"date", b"content-type", b"server-timing", b"x-odd"])
values = st.binary(max_size=40) | st.sampled_from([b"200", b"404", b"a" * 5_000])
blocks = st.lists(st.tuples(names, values, st.sampled_from(["indexed", "never"])), max_size=8)


def read(decoder: Decoder, block: bytes) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in decoder.decode(block, raw=True)]


def test_the_second_request_takes_few_octets_and_the_third_is_identical() -> None:
    ours, theirs = FieldEncoder(), Decoder()
    first = ours.encode(PUSH)
    assert read(theirs, first) == list(PUSH)
    assert not ours.steady
    second = ours.encode(PUSH)
    assert ours.steady
    assert len(second) == len(PUSH)
    assert ours.encode(PUSH) == second
    for _ in range(3):
        assert read(theirs, second) == list(PUSH)


def test_a_new_token_is_encoded_once_and_old_ones_are_evicted() -> None:
    ours, theirs = FieldEncoder(), Decoder()
    for turn in range(20):
        fields = (*PUSH[:-1], (b"authorization", b"Bearer %01000d" % turn))
        for _ in range(5):
            block = ours.encode(fields)
            assert read(theirs, block) == list(fields)
        assert ours.steady
        assert len(block) == len(PUSH)


@given(st.lists(st.lists(st.integers(0, 6_000), max_size=3), min_size=1, max_size=12))
@example([[68], [188], [1180]])
def test_any_table_size_at_any_time_works(turns: list[list[int]]) -> None:
    """The peer may change the size between requests, several times, and still decodes every block."""
    ours, theirs = FieldEncoder(), Decoder()
    for sizes in turns:
        for size in sizes:
            ours.resize(size)
        if sizes:
            theirs.max_allowed_table_size = sizes[-1]
        for _ in PUSH:  # each block may evict an entry that the next one needs
            assert read(theirs, ours.encode(PUSH)) == list(PUSH)
            assert theirs.header_table._current_size <= min(4_096, theirs.max_allowed_table_size)
        assert ours.steady


@settings(deadline=None)
@given(st.lists(blocks, max_size=10), st.booleans(), st.lists(st.integers(0, 4_096), max_size=10))
def test_we_decode_what_the_reference_encodes(
    sent: list[list[tuple[bytes, bytes, str]]], huffman: bool, sizes: list[int]
) -> None:
    theirs, ours = Encoder(), FieldDecoder()
    for turn, block in enumerate(sent):
        if turn < len(sizes):
            theirs.header_table_size = sizes[turn]
        fields = [
            NeverIndexedHeaderTuple(name, value) if how == "never" else (name, value) for name, value, how in block
        ]
        for _ in range(3):
            head = ours.decode(theirs.encode(fields, huffman=huffman))
            assert head.fields == {name: value for name, value, _ in block}


def test_cached_blocks_are_forgotten_when_the_table_changes() -> None:
    """The same octets then mean something else."""
    theirs, ours = Encoder(), FieldDecoder()
    ours.decode(theirs.encode([(b"x", b"1")]))
    newest = b"\xbe"
    assert [ours.decode(newest).fields, ours.decode(newest).fields] == [{b"x": b"1"}] * 2
    ours.decode(theirs.encode([(b"x", b"2")]))
    assert ours.decode(newest).fields == {b"x": b"2"}


def test_a_repeated_reply_decodes_to_the_same_object() -> None:
    theirs, ours = Encoder(), FieldDecoder()
    for _ in range(2):
        head = ours.decode(theirs.encode([(b":status", b"200"), (b"server", b"ESF")]))
    assert ours.decode(theirs.encode([(b":status", b"200"), (b"server", b"ESF")])) is head
    assert head.status == 200


@pytest.mark.parametrize("status", [b"", b"20", b"2000", b"2x0", b"-20", "²²²".encode()])
def test_a_status_is_three_digits(status: bytes) -> None:
    assert FieldDecoder().decode(Encoder().encode([(b":status", status)])).status == 0


@pytest.mark.parametrize(
    "block",
    [
        b"\x80",  # index 0
        b"\xbe",  # an entry that does not exist
        b"\xff\xff\xff\xff\xff\xff\xff",  # an endless integer
        b"\x40",  # cut off after the first octet
        b"\x40\x05ab",  # a string longer than its block
        b"\x40\x81\x00\x00",  # Huffman code with wrong padding
        b"\x3f\xe2\x1f",  # a table size above 4,096
        b"\x88\x20",  # a size update after a field
    ],
)
def test_a_malformed_block_ends_the_connection(block: bytes) -> None:
    with pytest.raises(Fault) as found:
        FieldDecoder().decode(block)
    assert found.value.code is Code.COMPRESSION_ERROR


@given(st.lists(st.binary(max_size=60), max_size=5))
def test_hostile_octets_raise_only_the_expected_fault(sent: list[bytes]) -> None:
    decoder = FieldDecoder()
    for block in sent:
        try:
            head = decoder.decode(block)
        except Fault:
            return
        assert isinstance(head.fields, dict)
        assert decoder._used <= decoder._size <= 4_096


@pytest.mark.parametrize(
    ("value", "bits", "octets"),
    [(10, 5, b"\x0a"), (1_337, 5, b"\x1f\x9a\x0a"), (42, 8, b"\x2a"), (127, 7, b"\x7f\x00")],
)
def test_integers_are_encoded_as_in_the_standard(value: int, bits: int, octets: bytes) -> None:
    """RFC 7541, appendix C.1."""
    assert integer(value, bits, 0) == octets
