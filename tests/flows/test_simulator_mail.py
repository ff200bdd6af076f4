"""The simulator's mail server on a real socket: RFC 5321's dialogue, faults by address, reports sent back."""

import asyncio
import base64
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any
from uuid import UUID

import aiosmtplib
import pytest
from pydantic import SecretStr

from libs.verp import ReturnPath
from services.simulator.app import Simulator, read_endpoints, running
from services.simulator.domain.arrivals import Arrival, Wanted
from services.simulator.domain.faults import Fault, Script
from services.simulator.settings import SimulatorSettings
from tests.waiting import eventually

MAIL = "From: shop@example.com\r\nTo: x\r\nSubject: {}\r\nMessage-ID: <{}@x>\r\n\r\nHello\r\n.two dots\r\n"
SENDER = "shop@example.com"


def settings(**changed: Any) -> SimulatorSettings:
    return SimulatorSettings(
        bounce_port=0, slow_seconds=0.3, late_seconds=0.2, receipt_seconds=0.01, hang_seconds=0.5
    ).model_copy(update=changed)


@pytest.fixture
async def simulator(tmp_path: Path) -> AsyncIterator[Simulator]:
    async with running(tmp_path, settings()) as started:
        yield started


class Dialogue:
    """A client that sends exactly what it is given."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def reply(self) -> str:
        while (line := await self.reader.readline())[3:4] == b"-":
            pass
        return line.decode().rstrip()

    async def say(self, *lines: str) -> list[str]:
        self.writer.write(b"".join(line.encode() + b"\r\n" for line in lines))
        return [(await self.reply())[:9] for _ in lines]

    async def send(self, to: str, subject: str = "1", sender: str = SENDER) -> list[str]:
        answers = await self.say(f"MAIL FROM:<{sender}>", f"RCPT TO:<{to}>", "DATA")
        if answers[-1].startswith("354"):
            answers += await self.say(MAIL.format(subject, subject) + ".")
        return answers


@asynccontextmanager
async def dialogue(simulator: Simulator, *, greet: bool = True) -> AsyncIterator[Dialogue]:
    reader, writer = await asyncio.open_connection(simulator.endpoints.smtp_host, simulator.endpoints.smtp_port)
    client = Dialogue(reader, writer)
    assert (await client.reply()).startswith("220 ")
    if greet:
        await client.say("EHLO test")
    yield client
    writer.close()


def figures(simulator: Simulator) -> dict[str, Any]:
    return simulator.exchange.tallies["email"].figures()


def newest(simulator: Simulator) -> Arrival:
    return next(simulator.exchange.arrivals.search(Wanted()))


async def until(happened: Callable[[], Any]) -> None:
    await eventually(happened, 120)


async def test_a_pipelined_transaction_is_answered_line_by_line(simulator: Simulator) -> None:
    async with dialogue(simulator) as client:
        # given two mails in one write, as PIPELINING allows
        lines = ["MAIL FROM:<a@x.y>", "RCPT TO:<b@x.y>", "DATA"]
        assert await client.say(*lines) == ["250 2.1.0", "250 2.1.5", "354 End d"]
        answers = await client.say(MAIL.format("1", "1") + ".", *lines)
    # then each line has its answer
    assert answers == ["250 2.0.0", "250 2.1.0", "250 2.1.5", "354 End d"]
    assert figures(simulator)["accepted"] == 1


async def test_a_mail_arrives_byte_by_byte(simulator: Simulator) -> None:
    # given the slowest of all clients
    text = "MAIL FROM:<a@x.y>\r\nRCPT TO:<b@x.y>\r\nDATA\r\nSubject: x\r\n\r\n..a\r\n..\r\nb\r\n.\r\nQUIT\r\n"
    async with dialogue(simulator) as client:
        for byte in text.encode():
            client.writer.write(bytes((byte,)))
            await client.writer.drain()
            await asyncio.sleep(0)
        assert [(await client.reply())[:3] for _ in range(5)] == ["250", "250", "354", "250", "221"]
    # then its doubled dots are single again
    assert newest(simulator).raw == b"Subject: x\r\n\r\n.a\r\n.\r\nb\r\n"


async def test_an_empty_mail_is_a_mail(simulator: Simulator) -> None:
    async with dialogue(simulator) as client:
        await client.say("MAIL FROM:<>", "RCPT TO:<b@x.y>", "DATA")
        assert await client.say(".") == ["250 2.0.0"]
    assert newest(simulator).raw == b""


@pytest.mark.parametrize(
    ("lines", "answer"),
    [
        (["MAIL FROM:<a@x.y>", "MAIL FROM:<a@x.y>"], "503 5.5.1"),
        (["RCPT TO:<a@x.y>"], "503 5.5.1"),
        (["DATA"], "503 5.5.1"),
        (["MAIL FROM:<a@x.y>", "DATA"], "554 5.5.1"),
        (["MAIL FROM:<a@x.y>", "RSET", "RCPT TO:<a@x.y>"], "503 5.5.1"),
        (["MAIL FROM:<a@x.y> FUTURE=1"], "555 5.5.4"),
        (["MAIL FROM:<a@x.y> SIZE=99999999999"], "552 5.3.4"),
        (["MAIL FROM:a@x.y"], "501 5.5.4"),
        (["MAIL FROM:<a@x.y>", "RCPT TO:<not-an-address>"], "553 5.1.3"),
        (["MAIL FROM:<a@x.y>", "RCPT TO:<ä@x.y>"], "553 5.6.7"),
        (["MAIL FROM:<a@x.y> SMTPUTF8", "RCPT TO:<ä@x.y>"], "250 2.1.5"),
        (["VRFY a@x.y"], "252 2.5.2"),
        (["FUTURE"], "500 5.5.2"),
        (["NOOP"], "250 2.0.0"),
    ],
)
async def test_commands_out_of_order_or_form_are_refused(simulator: Simulator, lines: list[str], answer: str) -> None:
    async with dialogue(simulator) as client:
        assert (await client.say(*lines))[-1] == answer


async def test_nothing_goes_before_ehlo(simulator: Simulator) -> None:
    async with dialogue(simulator, greet=False) as client:
        assert await client.say("MAIL FROM:<a@x.y>") == ["503 5.5.1"]


@pytest.mark.parametrize(
    ("word", "answers"),
    [
        ("dead", ["250 2.1.0", "550 5.1.1", "554 5.5.1"]),
        ("451", ["250 2.1.0", "451 4.7.1", "554 5.5.1"]),
        ("full", ["250 2.1.0", "452 4.2.2", "554 5.5.1"]),
        ("blocked", ["250 2.1.0", "250 2.1.5", "354 End d", "554 5.7.1"]),
        ("dead-after-data", ["250 2.1.0", "250 2.1.5", "354 End d", "550 5.1.1"]),
    ],
)
async def test_an_address_tells_how_it_is_refused(simulator: Simulator, word: str, answers: list[str]) -> None:
    async with dialogue(simulator) as client:
        assert await client.send(f"anna+fault.{word}@example.com") == answers
        assert (await client.say("RSET"), await client.send("bob@example.com"))[1][-1] == "250 2.0.0"
    counted = figures(simulator)
    assert (counted["calls"], counted["refused"], counted["accepted"]) == (2, 1, 1)


async def test_a_retry_with_the_next_attempts_return_path_goes_on_counting(simulator: Simulator) -> None:
    # given an address that refuses the first two calls of each message
    paths = ReturnPath(b"k" * 32, "bounces.example")
    notification = UUID("0199a7e2-5b1c-8a27-9a3e-1d1c5f0e7a10")
    answers = []
    async with dialogue(simulator) as client:
        for attempt in (1, 2, 3):
            sender = paths.make(notification, 5, attempt)
            answers.append((await client.send("anna+fault.451x2@example.com", sender=sender))[1])
            await client.say("RSET")
    # then its third attempt is taken, and counted under the message
    assert answers == ["451 4.7.1", "451 4.7.1", "250 2.1.5"]
    assert (newest(simulator).tag, newest(simulator).attempt) == (f"{notification}.5", 3)


@pytest.mark.parametrize(
    ("word", "accepted", "lost"),
    [("timeout-accepted", 1, 0), ("timeout-refused", 0, 1), ("reset", 0, 1), ("reset-accepted", 1, 0)],
)
async def test_no_answer_after_data_is_counted_by_what_the_server_did(
    simulator: Simulator, word: str, accepted: int, lost: int
) -> None:
    async with dialogue(simulator) as client:
        await client.say("MAIL FROM:<a@x.y>", f"RCPT TO:<a+fault.{word}@x.y>", "DATA")
        client.writer.write(b"Subject: x\r\n\r\nx\r\n.\r\n")
        with pytest.raises((ConnectionError, AssertionError)):
            assert await client.reader.readline()
    counted = figures(simulator)
    assert (counted["calls"], counted["accepted"], counted["lost"]) == (1, accepted, lost)


async def test_a_client_that_leaves_in_the_middle_has_sent_nothing(simulator: Simulator) -> None:
    async with dialogue(simulator) as client:
        await client.say("MAIL FROM:<a@x.y>", "RCPT TO:<b@x.y>", "DATA")
        client.writer.write(b"Subject: half")
        client.writer.close()
    await until(lambda: figures(simulator)["calls"])
    assert (figures(simulator)["lost"], figures(simulator)["accepted"]) == (1, 0)


async def test_a_slow_answer_comes_late_and_in_order(simulator: Simulator) -> None:
    async with dialogue(simulator) as client:
        started = asyncio.get_running_loop().time()
        answers = await client.send("a+fault.slow@x.y")
        took = asyncio.get_running_loop().time() - started
        assert (answers[-1], await client.say("NOOP")) == ("250 2.0.0", ["250 2.0.0"])
    assert took > 0.29  # the loop rounds its clock


async def test_the_whole_server_may_answer_451_for_a_while(simulator: Simulator) -> None:
    simulator.exchange.faults.add(Script("email", Fault.GREYLISTED, remaining=1))
    async with dialogue(simulator) as client:
        assert (await client.say("MAIL FROM:<a@x.y>", "RCPT TO:<b@x.y>"))[0] == "451 4.3.0"
        assert (await client.send("b@x.y"))[-1] == "250 2.0.0"
    assert figures(simulator)["answers"] == {"451 4.3.0": 1}


@pytest.mark.parametrize(("word", "told"), [("bounce", "Status: 5.1.1"), ("complaint", "Feedback-Type: abuse")])
async def test_a_bounce_comes_back_over_smtp_to_the_return_path(tmp_path: Path, word: str, told: str) -> None:
    # given a bounce port: here the mail server of a second simulator
    async with (
        running(tmp_path / "bounces", settings()) as receiver,
        running(tmp_path / "sender", settings(bounce_port=receiver.endpoints.smtp_port)) as simulator,
    ):
        sender = ReturnPath(b"k" * 32, "bounces.example").make(UUID(int=7), 5, 1)
        # when a mail to an address that bounces is accepted
        async with dialogue(simulator) as client:
            assert (await client.send(f"anna+fault.{word}@example.com", sender=sender))[-1] == "250 2.0.0"
        await until(lambda: len(receiver.exchange.arrivals))
        # then its report arrives with an empty return path
        report = newest(receiver)
        assert (report.address, report.sender) == (sender, "")
        assert told.encode() in report.raw
        assert message_from_bytes(report.raw, policy=policy.default).get_content_type() == "multipart/report"


async def test_starttls_and_auth_are_spoken_with_a_client_of_the_trade(tmp_path: Path) -> None:
    wanted = settings(smtp_username="shop", smtp_password=SecretStr("right"))
    async with running(tmp_path, wanted) as simulator:
        ends = simulator.endpoints
        context = ssl.create_default_context(cafile=ends.fcm_ca)
        for password in ("wrong", "right"):
            client = aiosmtplib.SMTP(hostname=ends.smtp_host, port=ends.smtp_port, start_tls=True, tls_context=context)
            await client.connect()
            if password == "wrong":
                with pytest.raises(aiosmtplib.SMTPAuthenticationError):
                    await client.login("shop", password)
            else:
                await client.login("shop", password)
                await client.sendmail(SENDER, ["anna@example.com"], MAIL.format("x", "x").encode())
            await client.quit()
        assert figures(simulator)["accepted"] == 1
        async with dialogue(simulator) as plain:
            assert await plain.say("MAIL FROM:<a@x.y>") == ["530 5.7.0"]
            login = [base64.b64encode(word).decode() for word in (b"shop", b"right")]
            assert await plain.say("AUTH LOGIN", *login) == ["334 VXNlc", "334 UGFzc", "235 2.7.0"]


async def test_mails_are_found_by_subject_and_shown_as_text(simulator: Simulator) -> None:
    async with dialogue(simulator) as client:
        await client.send("anna@example.com", "=?utf-8?q?Gr=C3=BC=C3=9Fe?=")
        await client.send("bob@example.com", "Parcel")
    found = list(simulator.exchange.arrivals.search(Wanted(subject="GRÜSSE")))
    assert [arrival.address for arrival in found] == ["anna@example.com"]
    assert len(list(simulator.exchange.arrivals.search(Wanted(text="two dots")))) == 2


async def test_the_process_serves_on_its_own_loop_and_ends_on_sigterm(tmp_path: Path) -> None:
    # given the simulator as `depesche up` starts it, with uvloop
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.simulator", "--data", str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert b"simulator: fcm" in await process.stdout.readline()
    ends = read_endpoints(tmp_path)
    assert ends is not None
    # when a mail goes through STARTTLS, and it is told to stop while the client is still there
    client = aiosmtplib.SMTP(
        hostname=ends.smtp_host,
        port=ends.smtp_port,
        start_tls=True,
        tls_context=ssl.create_default_context(cafile=ends.fcm_ca),
    )
    await client.connect()
    refused, _ = await client.sendmail(SENDER, ["anna@example.com"], MAIL.format("x", "x").encode())
    process.terminate()
    # then the mail was taken, and the process ends cleanly
    assert refused == {}
    assert await process.wait() == 0
    assert read_endpoints(tmp_path) is None
    client.close()
