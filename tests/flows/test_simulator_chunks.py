"""The simulator's mail server accepts mails by BDAT (RFC 3030), with the same faults and in the same counters."""

from pathlib import Path

import pytest

from services.simulator.app import running
from services.simulator.domain.faults import Fault, Script
from tests.flows.test_simulator_mail import dialogue, figures, newest, settings, until

ENVELOPE = "MAIL FROM:<a@x.y>\r\nRCPT TO:<{}>\r\n"


async def test_a_mail_comes_in_one_write_and_its_dots_are_dots(tmp_path: Path) -> None:
    text = "Subject: x\r\n\r\n.a\r\n.\r\nMAIL FROM:<c@x.y>\r\n"
    wire = "".join(f"RSET\r\n{ENVELOPE.format(to)}BDAT {len(text)} LAST\r\n{text}" for to in ("b@x.y", "c@x.y"))
    async with running(tmp_path, settings()) as simulator, dialogue(simulator) as client:
        client.writer.write(wire.encode())
        answers = [(await client.reply())[:9] for _ in range(8)]
        assert answers == ["250 2.0.0", "250 2.1.0", "250 2.1.5", "250 2.0.0"] * 2
        assert newest(simulator).raw == text.encode()
        assert figures(simulator)["accepted"] == 2


@pytest.mark.parametrize("size", [1, 7, 4_000])
async def test_a_mail_comes_in_chunks_however_they_are_cut(tmp_path: Path, size: int) -> None:
    text = b"Subject: x\r\n\r\n" + b"\r\n.\r\n\0" * 20
    cuts = [text[at : at + size] for at in range(0, len(text), size)]
    wire = ENVELOPE.format("b@x.y").encode() + b"".join(b"BDAT %d\r\n%b" % (len(cut), cut) for cut in cuts)
    async with running(tmp_path, settings()) as simulator, dialogue(simulator) as client:
        for byte in wire + b"BDAT 0 LAST\r\n":
            client.writer.write(bytes((byte,)))
            await client.writer.drain()
        answers = [await client.reply() for _ in range(len(cuts) + 3)]
        assert answers[2] == f"250 2.0.0 {len(cuts[0])} octets received"
        assert answers[-1].startswith("250 2.0.0 Ok: queued as")
        assert newest(simulator).raw == text


@pytest.mark.parametrize(
    ("wire", "answers"),
    [
        ("BDAT 2 LAST\r\nhi", ["503 5.5.1"]),
        ("MAIL FROM:<a@x.y>\r\nBDAT 2 LAST\r\nhi", ["250 2.1.0", "554 5.5.1"]),
        ("MAIL FROM:<a@x.y>\r\nBDAT 2 LAST\r\nhiMAIL FROM:<a@x.y>", ["250 2.1.0", "554 5.5.1", "503 5.5.1"]),
        ("BDAT two LAST", ["501 5.5.4"]),
        ("BDAT", ["501 5.5.4"]),
        (ENVELOPE.format("b@x.y") + "BDAT 2\r\nhiDATA", ["250 2.1.0", "250 2.1.5", "250 2.0.0", "503 5.5.1"]),
        (
            ENVELOPE.format("b@x.y") + "BDAT 2\r\nhiRCPT TO:<c@x.y>",
            ["250 2.1.0", "250 2.1.5", "250 2.0.0", "503 5.5.1"],
        ),
        (ENVELOPE.format("b@x.y") + "BDAT 2\r\nhiRSET\r\nBDAT 2 LAST\r\nhi", ["250"] * 4 + ["503 5.5.1"]),
        (
            ENVELOPE.format("b@x.y") + "BDAT 900\r\n" + "x" * 900 + "BDAT 200\r\n" + "x" * 200 + "BDAT 1 LAST\r\nx",
            ["250", "250", "250", "552 5.3.4", "503 5.5.1"],
        ),
    ],
)
async def test_what_is_out_of_order_is_read_and_refused(tmp_path: Path, wire: str, answers: list[str]) -> None:
    """The octets after a BDAT are never commands, and a refused mail is not counted."""
    async with running(tmp_path, settings(smtp_mail_bytes=1_024)) as simulator, dialogue(simulator) as client:
        client.writer.write(wire.encode() + b"\r\n" * (not wire.endswith(("hi", "x"))) + b"RSET\r\n")
        for answer in [*answers, "250 2.0.0"]:
            assert (await client.reply()).startswith(answer)
        assert figures(simulator)["accepted"] == 0


async def test_where_it_is_switched_off_it_is_neither_offered_nor_known(tmp_path: Path) -> None:
    async with (
        running(tmp_path, settings(smtp_chunking=False)) as simulator,
        dialogue(simulator, greet=False) as client,
    ):
        client.writer.write(b"EHLO test\r\n")
        offered = [await client.reader.readline() for _ in range(8)]
        assert b"250-PIPELINING\r\n" in offered
        assert b"250-CHUNKING\r\n" not in offered
        assert (await client.say(ENVELOPE.format("b@x.y") + "BDAT 0 LAST"))[0] == "250 2.1.0"
        assert [(await client.reply())[:3] for _ in range(2)] == ["250", "502"]


@pytest.mark.parametrize(
    ("word", "answer", "counted"),
    [
        ("dead", "554 5.5.1", {"refused": 1}),
        ("blocked", "554 5.7.1", {"refused": 1}),
        ("dead-after-data", "550 5.1.1", {"refused": 1}),
        ("timeout-accepted", "", {"accepted": 1}),
        ("timeout-refused", "", {"lost": 1}),
        ("reset", "", {"lost": 1}),
        ("reset-accepted", "", {"accepted": 1}),
        ("slow", "250 2.0.0", {"accepted": 1}),
    ],
)
async def test_faults_are_the_same_as_with_data(
    tmp_path: Path, word: str, answer: str, counted: dict[str, int]
) -> None:
    async with running(tmp_path, settings()) as simulator, dialogue(simulator) as client:
        client.writer.write(ENVELOPE.format(f"a+fault.{word}@x.y").encode() + b"BDAT 2 LAST\r\nhi")
        try:
            answers = [(await client.reply())[:9] for _ in range(3)]
        except ConnectionError:
            answers = [""]
        assert answers[-1] == answer
        told = figures(simulator)
        assert {name: told[name] for name in ("accepted", "refused", "lost")} == {
            "accepted": 0,
            "refused": 0,
            "lost": 0,
        } | counted
        assert told["calls"] == 1


async def test_a_script_for_the_whole_channel_meets_chunks_as_well(tmp_path: Path) -> None:
    async with running(tmp_path, settings()) as simulator, dialogue(simulator) as client:
        simulator.exchange.faults.add(Script("email", Fault.BLOCKED, remaining=1))
        for answer in ("554 5.7.1", "250 2.0.0"):
            client.writer.write(ENVELOPE.format("b@x.y").encode() + b"BDAT 2 LAST\r\nhi")
            assert [(await client.reply())[:9] for _ in range(3)][-1] == answer


async def test_a_client_that_leaves_in_a_refused_chunk_was_refused(tmp_path: Path) -> None:
    async with running(tmp_path, settings()) as simulator:
        async with dialogue(simulator) as client:
            client.writer.write((ENVELOPE.format("a+fault.dead@x.y") + "BDAT 10 LAST\r\nhi").encode())
            assert [(await client.reply())[:3] for _ in range(2)] == ["250", "550"]
            client.writer.write(b"x")
            client.writer.write_eof()
            assert await client.reader.read() == b""  # it has seen the end too
        told = figures(simulator)
        assert (told["calls"], told["refused"], told["lost"]) == (1, 1, 0)


@pytest.mark.parametrize("wire", ["BDAT 10\r\nhi", "BDAT 2\r\nhi"])
async def test_a_client_that_leaves_between_chunks_has_sent_nothing(tmp_path: Path, wire: str) -> None:
    async with running(tmp_path, settings()) as simulator:
        async with dialogue(simulator) as client:
            client.writer.write((ENVELOPE.format("b@x.y") + wire).encode())
            await client.reader.readline()
        await until(lambda: figures(simulator)["calls"])
        assert (figures(simulator)["lost"], figures(simulator)["accepted"]) == (1, 0)
