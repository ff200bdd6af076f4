"""Whatever a server does, in any order, each message is settled once and no processed request is reported unsent."""

import asyncio
import random
from collections import Counter

import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from services.delivery.adapters.http2 import Failure, Limits, Lost
from services.delivery.adapters.http2.frames import frame, settings
from tests.conformance.http2_peer import ANSWER, Letters, Peer, Settled, exchange, listening, peer, pool_to

LIMITS = Limits(0.5, 0.5, ping_idle_seconds=0.2, ping_answer_seconds=0.2, streams_unsaid=20, last_stream=101)
TURNS = (
    "answer",
    "trickle",
    "refuse",
    "break",
    "forget",
    "leave",
    "leave angrily",
    "close",
    "abort",
    "narrow",
    "nonsense",
)
WEIGHTS = (60, 8, 4, 4, 2, 1, 1, 1, 1, 2, 1)


class Moody:
    """Act at random and remember which requests were processed."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.processed: Counter[bytes] = Counter()

    async def __call__(self, server: Peer) -> None:
        last = [1 << 31]  # streams above are not processed
        while True:
            await server.until(lambda: any(s <= last[0] for s in server.requests.keys() - server.handled))
            stream = min(server.requests.keys() - server.handled)
            turn = self.draw.choices(TURNS, WEIGHTS)[0]
            if turn in ("leave", "leave angrily"):
                # never above its previous value, never below what was processed
                last[0] = min(last[0], max(stream + self.draw.choice((0, 2, 10)), *server.handled, 0))
                server.go_away(last[0], ErrorCodes.NO_ERROR if turn == "leave" else ErrorCodes.INTERNAL_ERROR)
            if not await self._act(server, stream, turn):
                return

    async def _act(self, server: Peer, stream: int, turn: str) -> bool:
        if turn == "refuse":
            server.reset(stream, ErrorCodes.REFUSED_STREAM)
            return True
        if turn == "narrow":
            server.h2.update_settings(
                {
                    SettingCodes.INITIAL_WINDOW_SIZE: self.draw.choice((0, 5, 50, 5_000)),
                    SettingCodes.MAX_CONCURRENT_STREAMS: self.draw.choice((1, 3, 30)),
                    SettingCodes.HEADER_TABLE_SIZE: self.draw.choice((0, 200, 4_096)),
                }
            )
            server.flush()
        self.processed[server.requests[stream]] += 1
        server.handled.add(stream)
        match turn:
            case "break":
                server.reset(stream, ErrorCodes.INTERNAL_ERROR)
            case "close":
                return False
            case "abort":
                server.writer.transport.abort()
                return False
            case "nonsense":
                server.raw(self.draw.randbytes(50))
                return False
            case "trickle":
                server.h2.send_headers(stream, [(":status", "200"), ("x-turn", str(self.draw.random()))])
                server.flush()
                await asyncio.sleep(0.001)
                server.h2.send_data(stream, ANSWER[1], end_stream=True)
                server.flush()
            case "forget":
                pass
            case _:
                server.answer(stream)
        return True


def called_unsent(settled: dict[int, Settled]) -> set[int]:
    return {index for index, one in settled.items() if isinstance(one, Failure) and one.lost is Lost.NOT_SENT}


@pytest.mark.parametrize("seed", range(12))
async def test_each_message_is_settled_once_under_random_faults(seed: int) -> None:
    moody = Moody(seed)
    start = {SettingCodes.MAX_CONCURRENT_STREAMS: 25}
    async with peer(moody, start, forgiving=True) as (port, _), pool_to(port, LIMITS, connections=2) as pool:
        batches = []
        for number in range(6):
            batch = Letters([b"%d-%d-%s" % (number, n, b"x" * (n % 90)) for n in range(60)])
            batches.append(batch)
            pool.add(batch)
            await asyncio.sleep(0.005)
        async with asyncio.timeout(30):
            for batch in batches:
                await batch.done  # a second settlement raises, a missing one never gets here
    for number, batch in enumerate(batches):
        bodies = [b"%d-%d-%s" % (number, n, b"x" * (n % 90)) for n in range(60)]
        assert set(batch.settled) == set(range(60))
        assert {bodies[index] for index in called_unsent(batch.settled)} & moody.processed.keys() == set()
        answered = {bodies[index] for index, one in batch.settled.items() if one == ANSWER}
        assert answered <= moody.processed.keys()
    assert set(moody.processed.values()) == {1}


@pytest.mark.parametrize("ending", ["refuse", "leave", "leave angrily"])
async def test_a_reply_that_had_begun_is_unknown_and_never_resent(ending: str) -> None:
    """Its fields prove that the request was processed; a later frame that claims otherwise is ignored."""

    async def breaking_off(server: Peer) -> None:
        first, second = await server.until_whole(2)
        server.handled |= {first, second}
        server.h2.send_headers(second, [(":status", "200")])
        server.flush()
        if ending == "refuse":
            server.reset(second, ErrorCodes.REFUSED_STREAM)
        else:
            server.go_away(first, ErrorCodes.NO_ERROR if ending == "leave" else ErrorCodes.INTERNAL_ERROR)
        server.answer(first)
        await server.serve()

    (whole, begun), peers = await exchange(breaking_off, 2)
    assert whole == ANSWER
    assert isinstance(begun, Failure)
    assert begun.lost is Lost.CUT
    assert sum(len(one.requests) for one in peers) == 2


def hostile(draw: random.Random) -> bytes:
    """Frames, well-formed or not, for streams open or not."""
    octets = b""
    for _ in range(draw.randrange(1, 30)):
        payload = draw.choice((b"", b"\x88", bytes(4), bytes(8), b'{"name":"p"}', draw.randbytes(draw.randrange(40))))
        octets += frame(draw.randrange(12), draw.choice((0, 1, 4, 5, draw.randrange(256))), draw.randrange(9), payload)
    return octets


@pytest.mark.parametrize("framed", [True, False])
async def test_hostile_octets_settle_every_call_and_break_nothing(framed: bool) -> None:
    """No exception reaches the loop, and the next chunk is served."""
    harm: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: harm.append(context))
    draw = random.Random(framed)

    async def shouting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(settings({}) if draw.random() < 0.9 else b"")
        await reader.read(1 << 16)
        writer.write(hostile(draw) if framed else draw.randbytes(draw.randrange(200)))
        await asyncio.sleep(0.002)

    async with listening(shouting) as port, pool_to(port, LIMITS, connections=2) as pool:
        for _ in range(60):
            batch = Letters([b"body"] * 5)
            pool.add(batch)
            await batch.done
            assert set(batch.settled) == set(range(5))
    assert harm == []
