"""Our HTTP/2 client against servers that interpret the standard differently, go away, or stop responding."""

import asyncio

import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from services.delivery.adapters.http2 import Failure, Lost
from tests.conformance.http2_peer import ANSWER, FIELDS, PATIENT, Letters, Peer, exchange, letters, peer, pool_to, send


async def test_many_requests_are_one_write() -> None:
    """A hundred requests arrive together: one system call and, when encrypted, a few records."""
    outcomes, [one] = await exchange(Peer.serve, 100)
    assert outcomes == [ANSWER] * 100
    assert sorted(one.requests.values()) == [b"%020d" % n for n in range(100)]
    assert one.largest_read > 50 * 20
    assert {tuple(fields.items()) for fields in one.began.values()} == {
        tuple((name.decode(), value.decode()) for name, value in FIELDS)
    }


# ---- limits a server may set


@pytest.mark.parametrize("most", [1, 7, 100, 1_000])
async def test_concurrent_streams_stay_within_the_servers_limit(most: int) -> None:
    open_at_once: list[int] = []

    async def one_by_one(server: Peer) -> None:
        while True:
            await server.until(lambda: server.requests.keys() - server.handled)
            await asyncio.sleep(0.001)
            open_at_once.append(len(server.began) - len(server.handled))
            server.answer(min(server.requests.keys() - server.handled))

    outcomes, _ = await exchange(one_by_one, 300, settings={SettingCodes.MAX_CONCURRENT_STREAMS: most})
    assert outcomes == [ANSWER] * 300
    assert max(open_at_once) <= min(most, PATIENT.most_streams)


async def test_calls_wait_while_the_server_allows_no_streams() -> None:
    async def first_no_then_two(server: Peer) -> None:
        await server.until(lambda: server.h2.remote_settings)
        await asyncio.sleep(0.1)
        assert server.began == {}
        server.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 2})
        server.flush()
        await server.serve()

    outcomes, [one] = await exchange(first_no_then_two, 10, settings={SettingCodes.MAX_CONCURRENT_STREAMS: 0})
    assert outcomes == [ANSWER] * 10
    assert len(one.began) == 10


@pytest.mark.parametrize("window", [0, 1, 10, 4_000, 65_535])
async def test_a_small_stream_window_is_never_exceeded(window: int) -> None:
    """Bodies pause for the server's updates; the h2 library would end the connection at one octet too many."""

    async def opens_later(server: Peer) -> None:
        if window == 0:
            await server.until(lambda: server.began)
            await asyncio.sleep(0.05)
            assert server.requests == {1: b""}
            server.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 100})
            server.flush()
        await server.serve()

    async with peer(opens_later, {SettingCodes.INITIAL_WINDOW_SIZE: window}) as (port, _), pool_to(port) as pool:
        batch = Letters([b"x" * size for size in (0, 1, 9, 10, 11, 100, 3_000)])
        outcomes = await send(pool, batch)
    assert outcomes == [ANSWER] * 7


async def test_the_connection_window_is_never_exceeded() -> None:
    """All streams share 65,535 octets; then every stream waits for the server."""

    async def slow_reader(server: Peer) -> None:
        await server.until(lambda: len(server.began) >= 33)
        await server.serve()

    async with peer(slow_reader, {SettingCodes.INITIAL_WINDOW_SIZE: 1 << 20}) as (port, peers), pool_to(port) as pool:
        outcomes = await send(pool, letters(200, size=2_000))
    assert outcomes == [ANSWER] * 200
    assert len(peers) == 1


@pytest.mark.parametrize("size", [16_384, 16_385, 60_000, 200_000])
async def test_a_long_body_is_split_into_frames(size: int) -> None:
    async with peer(Peer.serve) as (port, peers), pool_to(port) as pool:
        outcomes = await send(pool, Letters([b"y" * size]))
    assert outcomes == [ANSWER]
    assert peers[0].requests == {1: b"y" * size}


@pytest.mark.parametrize("table", [0, 100, 1_060, 4_096, 1 << 20])
async def test_any_header_table_size_works(table: int) -> None:
    """With a size of zero, each request carries every field in full."""
    outcomes, [one] = await exchange(Peer.serve, 50, settings={SettingCodes.HEADER_TABLE_SIZE: table})
    assert outcomes == [ANSWER] * 50
    assert {fields["authorization"] for fields in one.began.values()} == {"Bearer " + "t" * 1_000}


async def test_the_table_may_shrink_and_the_token_change_between_requests() -> None:
    async def shrinking(server: Peer) -> None:
        for size in (50, 0, 2_000, 4_096):
            await server.until_whole(len(server.requests) + 1)
            server.h2.update_settings({SettingCodes.HEADER_TABLE_SIZE: size})
            server.answer(max(server.requests))
        await server.serve()

    async with peer(shrinking) as (port, _), pool_to(port) as pool:
        for turn in range(8):
            pool.fields = (*FIELDS[:-1], (b"authorization", b"Bearer %d" % turn * 300))
            assert await send(pool, letters(1)) == [ANSWER]


# ---- how a server may answer


async def test_informational_responses_precede_the_reply() -> None:
    async def announcing(server: Peer) -> None:
        for stream in await server.until_whole(3):
            server.h2.send_headers(stream, [(":status", "100")])
            server.h2.send_headers(stream, [(":status", "103"), ("link", "</style.css>")])
            server.answer(stream)
        await server.serve()

    outcomes, _ = await exchange(announcing, 3)
    assert outcomes == [ANSWER] * 3


async def test_trailers_split_bodies_padding_and_long_fields_are_read() -> None:
    async def oddly(server: Peer) -> None:
        trailing, pieces, padded, long, bare = await server.until_whole(5)
        server.handled |= server.requests.keys()
        ok = [(":status", "200")]
        server.h2.send_headers(trailing, ok)
        server.h2.send_data(trailing, b"one")
        server.h2.send_headers(trailing, [("grpc-status", "0")], end_stream=True)
        server.h2.send_headers(pieces, ok)
        for piece in (b"o", b"", b"ne"):
            server.h2.send_data(pieces, piece)
        server.h2.send_data(pieces, b"", end_stream=True)
        server.h2.send_headers(padded, ok)
        server.h2.send_data(padded, b"one", pad_length=200, end_stream=True)
        server.h2.send_headers(long, [*ok, ("x-long", "~" * 40_000)])  # HEADERS and two CONTINUATIONs
        server.h2.send_data(long, b"one", end_stream=True)
        server.h2.send_headers(bare, [(":status", "204")], end_stream=True)
        server.flush()
        await server.serve()

    outcomes, _ = await exchange(oddly, 5)
    assert outcomes == [(200, b"one")] * 4 + [(204, b"")]


async def test_padding_may_exceed_the_stream_window() -> None:
    """Padding counts against the window: 300 bytes of reply that consume 77 kB of it arrive complete."""

    async def padding(server: Peer) -> None:
        [stream] = await server.until_whole(1)
        server.handled.add(stream)
        server.h2.send_headers(stream, [(":status", "200")])
        for number in range(300):
            await server.until(lambda: server.h2.local_flow_control_window(stream) > 256)
            server.h2.send_data(stream, b"a", pad_length=255, end_stream=number == 299)
            server.flush()
        await server.serve()

    outcomes, _ = await exchange(padding, 1)
    assert outcomes == [(200, b"a" * 300)]


async def test_an_endless_reply_is_cut_off_and_other_streams_continue() -> None:
    """The status has arrived; the rest beyond 32 KB is not awaited."""

    async def talkative(server: Peer) -> None:
        first, second = await server.until_whole(2)
        server.handled.add(first)
        server.h2.send_headers(first, [(":status", "500")])
        for _ in range(4):
            server.h2.send_data(first, b"a" * 16_000)
        server.flush()
        await server.until(lambda: server.resets)
        server.answer(second)
        await server.serve()

    outcomes, [one] = await exchange(talkative, 2)
    assert outcomes == [(500, b"a" * 48_000), ANSWER]
    assert one.resets == [1]


async def test_an_early_reply_ends_the_request() -> None:
    """A server that has read enough answers before the body is sent; the rest is not sent."""

    async def impatient(server: Peer) -> None:
        await server.until(lambda: server.began)
        server.answer(1, 413, b"no")
        server.reset(1, ErrorCodes.NO_ERROR)
        await server.serve()

    async with peer(impatient, {SettingCodes.INITIAL_WINDOW_SIZE: 0}) as (port, peers), pool_to(port) as pool:
        assert await send(pool, letters(1)) == [(413, b"no")]
    assert peers[0].requests == {}


async def test_the_connection_window_is_reopened_for_many_replies() -> None:
    """The replies far exceed the initial window, which is extended in time."""

    async def thorough(server: Peer) -> None:
        while True:
            await server.until(lambda: server.requests.keys() - server.handled)
            for stream in server.requests.keys() - server.handled:
                await server.until(lambda: server.h2.outbound_flow_control_window > 16_000)
                server.answer(stream, 200, b"b" * 16_000)

    outcomes, [one] = await exchange(thorough, 300)
    assert outcomes == [(200, b"b" * 16_000)] * 300
    assert one.h2.outbound_flow_control_window > 0


async def test_pings_are_answered() -> None:
    seen = bytearray()

    async def asking(server: Peer) -> None:
        await server.until_whole(1)
        server.raw(b"\0\0\x08\x06\0\0\0\0\0are you?")
        while b"\0\0\x08\x06\x01\0\0\0\0are you?" not in seen:
            seen.extend(await server.reader.read(1 << 16))
        server.answer(1)
        await server.serve()

    assert (await exchange(asking, 1))[0] == [ANSWER]


async def test_unknown_frames_settings_and_codes_are_ignored() -> None:
    """A later standard may add frame types, settings and codes."""

    async def modern(server: Peer) -> None:
        server.raw(b"\0\0\x03\x63\xff\0\0\0\0new" + b"\0\0\x06\x04\0\0\0\0\0\xab\xcd\0\0\0\x01")
        server.raw(b"\0\0\x05\x02\0\0\0\0\x01\0\0\0\0\x10")  # PRIORITY
        first, second = await server.until_whole(2)
        server.answer(first)
        server.raw(b"\0\0\x04\x03\0\0\0\0" + bytes((second,)) + b"\0\0\xff\xff")
        server.handled.add(second)
        await server.serve()

    first, second = (await exchange(modern, 2))[0]
    assert first == ANSWER
    assert second == Failure(Lost.CUT, "the stream was reset: error 65535")
