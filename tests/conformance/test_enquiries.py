"""Query Twilio for the messages it accepted for a number: against the simulator and a scripted server."""

import asyncio
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from libs.clock import FixedClock, system_clock
from libs.contracts.outcomes import Channel, Mode
from libs.rendering import content_digest
from libs.rendering.contents import SmsContent
from services.delivery.adapters.simulated_accounts import simulated
from services.delivery.adapters.twilio import TwilioProvider
from services.delivery.domain.outbound import Sender
from services.delivery.domain.outcomes import Ambiguous, Sent
from services.delivery.domain.verifying import Answer as Told
from services.delivery.domain.verifying import Taken, Unclear
from services.simulator.app import running
from tests.conformance.http_server import Answer, HttpServer
from tests.conformance.test_http_providers import CLOCK, send, sms_to, twilio, twilio_error
from tests.flows.simulated import settings

NUMBER = "+491511234567"


async def ask(sender: Sender, *numbers: str, clock: Any = CLOCK, seconds: float = 100.0) -> list[Told]:
    told: dict[int, Told] = {}

    def tell(index: int, answer: Told) -> None:
        assert index not in told, "told twice"
        told[index] = answer

    provider = TwilioProvider(clock)
    await provider.ask(sender, numbers, time.monotonic() + seconds, tell)
    await provider.close()
    return [told[index] for index in range(len(numbers))]


def listed(*messages: dict[str, Any], more: str | None = None) -> Answer:
    document = {"messages": messages, "next_page_uri": more, "page": 0, "from_the_future": [1]}
    return Answer(200, body=json.dumps(document).encode())


def one(sid: str = "SM1", **changes: Any) -> dict[str, Any]:
    shown = {"sid": sid, "body": "Grüße 🌙", "direction": "outbound-api", "status": "queued", "date_sent": None}
    return shown | {"date_created": "Mon, 23 Nov 2026 12:00:00 +0000"} | changes


async def test_the_simulator_lists_accepted_messages_with_digest_and_time(tmp_path: Path) -> None:
    """The list includes messages it never answered, and none for other numbers."""
    async with running(tmp_path, settings(listed_seconds=0.0, hang_seconds=2.0)) as simulator:
        account = simulated(Channel.SMS, simulator.endpoints, None, "http://127.0.0.1:1/callback")
        object.__setattr__(account, "timeout_seconds", 1.0)
        sender = Sender(1, 1, Mode.TEST, Channel.SMS, 1, account)
        answered, silent, never = sms_to("+4915110000001"), sms_to("+4915119990408"), sms_to("+4915119990409")
        outcomes = await send(TwilioProvider(system_clock), sender, [answered, silent, never])
        assert [type(outcome) for outcome in outcomes] == [Sent, Ambiguous, Ambiguous]
        told = await ask(sender, *(message.address for message in (answered, silent, never)), clock=system_clock)
    assert [len(answer) for answer in told if not isinstance(answer, Unclear)] == [1, 1, 0]
    taken = told[0][0]
    assert isinstance(outcomes[0], Sent)
    assert isinstance(taken, Taken)
    assert (taken.ref, taken.digest) == (outcomes[0].provider_ref, content_digest(answered.content))
    assert abs(taken.at - datetime.now(UTC)) < timedelta(seconds=30)


async def test_a_delayed_list_shows_the_message_later(tmp_path: Path) -> None:
    async with running(tmp_path, settings(listed_seconds=0.5)) as simulator:
        sender = Sender(
            1, 1, Mode.TEST, Channel.SMS, 1, simulated(Channel.SMS, simulator.endpoints, None, "http://127.0.0.1:1/")
        )
        await send(TwilioProvider(system_clock), sender, [sms_to(NUMBER)])
        [first] = await ask(sender, NUMBER)
        await asyncio.sleep(0.6)
        [second] = await ask(sender, NUMBER)
    assert (first, len(second)) == ([], 1)


async def test_one_query_per_number_without_a_date_filter() -> None:
    """Twilio filters by the date of sending, which a queued message does not have."""
    async with HttpServer(lambda call: listed(one())) as server:
        [told] = await ask(twilio(server), NUMBER)
    assert told == [Taken("SM1", content_digest(SmsContent("Grüße 🌙")), datetime(2026, 11, 23, 12, tzinfo=UTC))]
    [call] = server.calls
    assert call.method == "GET"
    asked = urlsplit(call.target)
    assert asked.path == "/2010-04-01/Accounts/AC1/Messages.json"
    assert parse_qs(asked.query) == {"To": [NUMBER], "PageSize": ["1000"]}
    assert call.headers["authorization"].startswith("Basic ")


async def test_inbound_messages_are_ignored() -> None:
    async with HttpServer(
        lambda call: listed(one(direction="inbound"), one("SM2", direction="outbound-call"))
    ) as server:
        [told] = await ask(twilio(server), NUMBER)
    assert isinstance(told, Sequence)
    assert [taken.ref for taken in told] == ["SM2"]


async def test_a_long_list_is_read_completely() -> None:
    """A thousand messages exceed a megabyte; a truncated list is rejected."""
    many = [one(f"SM{n}", body="ß" * 300) for n in range(1_000)]
    async with HttpServer(lambda call: listed(*many)) as server:
        [told] = await ask(twilio(server), NUMBER)
    assert len(told) == 1_000


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (listed(one(), more="/2010-04-01/Accounts/AC1/Messages.json?Page=1"), "more than 1,000"),
        (listed(one(date_created="yesterday")), "could not be read"),
        (listed(one(sid=None)), "could not be read"),
        (Answer(200, body=b'{"messages":'), "could not be read"),
        (Answer(200, body=b"<html>"), "could not be read"),
        (twilio_error(500, 20500), "20500"),
        (twilio_error(401, 20003), "20003"),
        (Answer(302, {"location": "http://127.0.0.1:1/"}), "302"),
        (Answer(silent=True), "no reply in time"),
        (Answer(hangs_up=True), "did not answer"),
    ],
)
async def test_an_unusable_list_is_unclear_and_not_final(answer: Answer, words: str) -> None:
    async with HttpServer(lambda call: answer) as server:
        [told] = await ask(twilio(server, timeout=1.0 if answer.silent else 30.0), NUMBER)
    assert isinstance(told, Unclear)
    assert words in told.text
    assert not told.final


async def test_retry_after_is_passed_to_the_caller() -> None:
    async with HttpServer(lambda call: twilio_error(429, 20429, **{"Retry-After": "9"})) as server:
        [told] = await ask(twilio(server), NUMBER)
    assert isinstance(told, Unclear)
    assert told.retry_after == 9.0


async def test_no_query_is_sent_after_the_deadline() -> None:
    async with HttpServer(lambda call: listed()) as server:
        told = await ask(twilio(server), NUMBER, NUMBER, seconds=-1)
    assert [isinstance(answer, Unclear) for answer in told] == [True, True]
    assert server.calls == []


def test_receipt_ids_match_those_of_callbacks() -> None:
    known = TwilioProvider(FixedClock(datetime.now(UTC))).receipts_of("SM1")
    assert ("twilio", "SM1:delivered") in known
    assert {provider for provider, _ in known} == {"twilio"}
