"""How calls and connections end: requests certainly not sent are retried or returned, the rest are unknown."""

import asyncio
import ssl
import time

import pytest
import trustme
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from services.delivery.adapters.http2 import Failure, Limits, Lost, Origin, Pool
from tests.conformance.http2_peer import (
    ANSWER,
    FIELDS,
    PATIENT,
    Letters,
    Peer,
    exchange,
    letters,
    listening,
    peer,
    pool_to,
    send,
    until,
)

HASTY = Limits(call_seconds=0.4, connect_seconds=0.3, ping_idle_seconds=0.1, ping_answer_seconds=0.2)


async def test_goaway_loses_no_request() -> None:
    """After GOAWAY the server finishes what it began, the rest use another connection, each request is processed
    once."""
    processed: list[bytes] = []

    async def leaving(server: Peer) -> None:
        if server.number == 0:
            streams = await server.until_whole(100)
            server.go_away(streams[39])
            for stream in streams[:40]:
                processed.append(server.requests[stream])
                server.answer(stream)
            await server.until(lambda: False)
        await server.until_whole(60)
        processed.extend(server.requests.values())
        await server.serve()

    async with peer(leaving, {SettingCodes.MAX_CONCURRENT_STREAMS: 200}) as (port, peers), pool_to(port) as pool:
        outcomes = await send(pool, letters(100))
    assert outcomes == [ANSWER] * 100
    assert sorted(processed) == [b"%020d" % n for n in range(100)]
    assert len(peers) == 2


async def test_a_server_that_always_sends_goaway_is_not_retried_for_ever() -> None:
    """After two refusals a message returns to the queue, which backs off."""

    async def never(server: Peer) -> None:
        await server.until(lambda: server.began)
        server.go_away(0)
        await server.until(lambda: False)

    outcomes, peers = await exchange(never, 30)
    assert {outcome.lost for outcome in outcomes if isinstance(outcome, Failure)} == {Lost.NOT_SENT}
    assert len(outcomes) == 30
    assert len(peers) <= 3


async def test_a_goaway_with_an_error_is_not_retried_at_once() -> None:
    async def angry(server: Peer) -> None:
        first, *_ = await server.until_whole(3)
        server.go_away(first, ErrorCodes.ENHANCE_YOUR_CALM)
        server.answer(first)
        await server.until(lambda: False)

    outcomes, _ = await exchange(angry, 3)
    why = "the server went away: ENHANCE_YOUR_CALM"
    assert outcomes == [ANSWER, Failure(Lost.NOT_SENT, why), Failure(Lost.NOT_SENT, why)]


@pytest.mark.parametrize(
    ("code", "lost"),
    [(ErrorCodes.REFUSED_STREAM, Lost.NOT_SENT), (ErrorCodes.INTERNAL_ERROR, Lost.CUT), (ErrorCodes.CANCEL, Lost.CUT)],
)
async def test_only_a_refused_stream_counts_as_not_sent(code: ErrorCodes, lost: Lost) -> None:
    async def resetting(server: Peer) -> None:
        first, second = await server.until_whole(2)
        server.reset(first, code)
        server.answer(second)
        await server.serve()

    outcomes, _ = await exchange(resetting, 2)
    assert outcomes == [Failure(lost, f"the stream was reset: {code.name}"), ANSWER]


async def test_an_incomplete_body_counts_as_not_sent() -> None:
    """The end of the request decides: half a JSON is no push, however the connection ends."""

    async def cutting(server: Peer) -> None:
        await server.until(lambda: len(server.began) == 2)
        server.writer.transport.abort()

    async with peer(cutting, {SettingCodes.INITIAL_WINDOW_SIZE: 0}) as (port, _), pool_to(port) as pool:
        whole, begun = await send(pool, Letters([b"", b"a text"]))
    assert isinstance(whole, Failure)
    assert isinstance(begun, Failure)
    assert (whole.lost, begun.lost) == (Lost.CUT, Lost.NOT_SENT)


async def test_a_late_answer_is_unknown_and_its_slot_is_freed() -> None:
    async def forgetful(server: Peer) -> None:
        first, *_ = await server.until_whole(1)
        server.handled.add(first)
        await server.until(lambda: server.resets)
        await server.until_whole(2)
        await server.serve()

    limits = {SettingCodes.MAX_CONCURRENT_STREAMS: 1}
    began = time.monotonic()
    outcomes, [one] = await exchange(forgetful, 3, Limits(call_seconds=0.3), limits)
    assert outcomes == [Failure(Lost.TIMED_OUT, "no answer in 0.3 s"), ANSWER, ANSWER]
    assert one.resets == [1]
    assert time.monotonic() - began > 0.29


async def test_a_dead_connection_is_detected_while_idle() -> None:
    """The peer sends nothing, not even an error: the PING finds out before the next message is assigned."""

    async def falling_silent(server: Peer) -> None:
        if server.number > 0:
            await server.serve()
        server.answer(*await server.until_whole(1))
        while await server.reader.read(1 << 16):  # no answer to anything
            pass

    async with peer(falling_silent) as (port, peers), pool_to(port, HASTY) as pool:
        assert await send(pool, letters(1)) == [ANSWER]
        await asyncio.sleep(0.5)
        assert await send(pool, letters(3)) == [ANSWER] * 3
    assert len(peers) == 2


async def test_a_dead_connection_loses_only_the_calls_in_flight() -> None:
    """Calls in flight are unknown; waiting calls use another connection."""

    async def swallowing(server: Peer) -> None:
        if server.number > 0:
            await server.serve()
        server.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 10})
        server.flush()
        while await server.reader.read(1 << 16):
            pass

    async with peer(swallowing, {SettingCodes.MAX_CONCURRENT_STREAMS: 10}) as (port, _), pool_to(port, HASTY) as pool:
        outcomes = await send(pool, letters(50))
    lost = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    assert {failure.lost for failure in lost} <= {Lost.CUT, Lost.TIMED_OUT}
    assert len(lost) == 10
    assert outcomes.count(ANSWER) == 40


async def test_a_healthy_idle_connection_is_retained() -> None:
    async with peer(Peer.serve) as (port, peers), pool_to(port, HASTY) as pool:
        assert await send(pool, letters(1)) == [ANSWER]
        await until(lambda: len(peers[0].pings) >= 3)
        assert await send(pool, letters(1)) == [ANSWER]
    assert len(peers) == 1
    assert peers[0].farewell == ErrorCodes.NO_ERROR


async def test_the_pool_reconnects_after_a_server_closes_idle_connections() -> None:
    async def tired(server: Peer) -> None:
        server.answer(*await server.until_whole(1))

    async with peer(tired) as (port, peers), pool_to(port) as pool:
        for _ in range(5):
            assert await send(pool, letters(1)) == [ANSWER]
            await until(lambda: not pool._alive)
    assert len(peers) == 5


async def test_exhausted_stream_numbers_open_a_new_connection() -> None:
    """The old connection finishes its calls."""
    limits = Limits(last_stream=39)
    async with peer(Peer.serve) as (port, peers), pool_to(port, limits) as pool:
        assert await send(pool, letters(100)) == [ANSWER] * 100
    assert [len(one.requests) for one in peers] == [20] * 5
    assert {one.farewell for one in peers} == {ErrorCodes.NO_ERROR}


# ---- connections that cannot be opened


async def test_a_refused_connection_fails_all_calls_after_one_attempt() -> None:
    async with peer(Peer.serve) as (port, _):
        pass
    async with pool_to(port, connections=3) as pool:
        outcomes = await send(pool, letters(1_000))
    assert {outcome.lost for outcome in outcomes if isinstance(outcome, Failure)} == {Lost.NOT_SENT}
    assert len(outcomes) == 1_000


async def test_a_silent_server_times_out_as_not_sent() -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with listening(mute) as port, pool_to(port, HASTY) as pool:
        [outcome] = await send(pool, letters(1))
    assert isinstance(outcome, Failure)
    assert outcome.lost is Lost.NOT_SENT
    assert "in 0.3 s" in outcome.text


async def test_a_server_that_always_closes_causes_no_endless_loop() -> None:
    async def door(server: Peer) -> None:
        await server.until(lambda: server.h2.remote_settings.get(SettingCodes.ENABLE_PUSH) == 0)

    _, peers = await exchange(door, 500, settings={SettingCodes.MAX_CONCURRENT_STREAMS: 0})
    assert len(peers) <= 3


@pytest.mark.parametrize("offered", [["http/1.1"], None])
async def test_a_server_without_http2_is_our_mistake(offered: list[str] | None) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    if offered is not None:
        context.set_alpn_protocols(offered)

    async def old(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    with authority.cert_pem.tempfile() as ca_file:
        async with listening(old, context) as port:
            pool = Pool(Origin(f"https://127.0.0.1:{port}", ca_file), PATIENT, 1)
            pool.fields = FIELDS
            [outcome] = await send(pool, letters(1))
            await pool.close()
    assert isinstance(outcome, Failure)
    assert (outcome.lost, outcome.our_fault) == (Lost.NOT_SENT, True)
    assert "HTTP/2" in outcome.text


# ---- fairness, and callers that leave


async def test_chunks_are_interleaved() -> None:
    """A single call queued behind a thousand is among the next to go out."""
    order: list[bytes] = []

    async def noting(server: Peer) -> None:
        while True:
            await server.until(lambda: server.requests.keys() - server.handled)
            for stream in sorted(server.requests.keys() - server.handled):
                order.append(server.requests[stream])
                server.answer(stream)

    async with peer(noting, {SettingCodes.MAX_CONCURRENT_STREAMS: 5}) as (port, _), pool_to(port) as pool:
        large, single = letters(1_000), Letters([b"single"])
        pool.add(large)
        await asyncio.sleep(0.02)
        before = len(large.settled)
        await send(pool, single)
        await large.done
    assert order.index(b"single") - before < 30


async def test_a_forgotten_batch_gets_no_outcome_and_frees_its_slots() -> None:
    async def slow(server: Peer) -> None:
        await server.until(lambda: len(server.resets) >= 5)
        server.handled |= set(server.resets)
        await server.serve()

    async with peer(slow, {SettingCodes.MAX_CONCURRENT_STREAMS: 5}) as (port, peers), pool_to(port) as pool:
        gone = letters(100)
        pool.add(gone)
        await until(lambda: peers and len(peers[0].began) == 5)
        pool.forget(gone)
        assert await send(pool, letters(10)) == [ANSWER] * 10
        assert gone.settled == {}


async def test_a_retired_pool_finishes_and_then_closes() -> None:
    async def slow(server: Peer) -> None:
        await server.until_whole(3)
        await asyncio.sleep(0.05)
        await server.serve()

    async with peer(slow, {SettingCodes.MAX_CONCURRENT_STREAMS: 3}) as (port, peers), pool_to(port) as pool:
        batch = letters(30)
        pool.add(batch)
        await asyncio.sleep(0.02)
        pool.retire()
        await batch.done
        assert set(batch.settled.values()) == {ANSWER}
        async with asyncio.timeout(1):
            await pool.close()
    assert len(peers) == 1
