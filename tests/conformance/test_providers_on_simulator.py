"""Our providers against the simulator, which counts independently: their reported outcomes match what it saw."""

import time
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from libs.clock import system_clock
from libs.contracts.outcomes import Channel, Mode
from libs.contracts.reasons import Reason
from libs.rendering.contents import EmailContent, PushContent, SmsContent, WebhookContent
from services.delivery.adapters.fcm import FcmProvider
from services.delivery.adapters.simulated_accounts import simulated
from services.delivery.adapters.smtp import SmtpProvider
from services.delivery.adapters.twilio import TwilioProvider
from services.delivery.adapters.webhook import WebhookProvider
from services.delivery.domain.outbound import FcmAccount, Outbound, Sender
from services.delivery.domain.outcomes import Ambiguous, Deferred, Outcome, Rejected, Sent
from services.delivery.ports import Provider
from services.simulator.app import Simulator, running
from services.simulator.domain.faults import Fault, Script
from services.simulator.settings import SimulatorSettings

CONTENTS = {
    Channel.PUSH: PushContent("Titel", "Text"),
    Channel.EMAIL: EmailContent("Betreff", "<p>Grüße</p>", "Grüße"),
    Channel.SMS: SmsContent("Ihr Code: 1234"),
    Channel.WEBHOOK: WebhookContent(b'{"a":1}'),
}
KINDS = {Channel.PUSH: "fcm_token", Channel.EMAIL: "email", Channel.SMS: "phone", Channel.WEBHOOK: "webhook"}


@pytest.fixture
async def simulator(tmp_path: Path) -> AsyncIterator[Simulator]:
    async with running(tmp_path, SimulatorSettings(retry_after_seconds=7, hang_seconds=30.0)) as started:
        yield started


def provider_for(channel: Channel) -> Provider:
    match channel:
        case Channel.PUSH:
            return FcmProvider(system_clock)
        case Channel.EMAIL:
            return SmtpProvider(b"v" * 32, system_clock)
        case Channel.SMS:
            return TwilioProvider(system_clock)
        case Channel.WEBHOOK:
            return WebhookProvider(system_clock)


def message(channel: Channel, address: str) -> Outbound:
    notification = uuid4()
    return Outbound(f"{notification}.5", notification, 5, 1, KINDS[channel], address, CONTENTS[channel])


def sender_for(simulator: Simulator, channel: Channel, seconds: float = 30.0) -> Sender:
    account = simulated(channel, simulator.endpoints, None, "http://127.0.0.1:1/callback")
    object.__setattr__(account, "timeout_seconds", seconds)
    return Sender(1, 1, Mode.TEST, channel, 1, account)


async def send(sender: Sender, messages: list[Outbound]) -> list[Outcome]:
    outcomes: dict[int, Outcome] = {}
    provider = provider_for(sender.channel)
    await provider.send(sender, messages, time.monotonic() + 100, outcomes.__setitem__)
    await provider.close()
    return [outcomes[index] for index in range(len(messages))]


def address(simulator: Simulator, channel: Channel, fault: str) -> str:
    """An address for which the simulator produces the fault."""
    codes = {"429": "429", "503": "503", "dead": "404", "timeout-accepted": "408", "reset": "499", "": "000"}
    match channel:
        case Channel.PUSH:
            return f"fault-{fault}-device" if fault else "device-one"
        case Channel.EMAIL:
            return f"anna+fault.{fault}@example.org" if fault else "anna@example.org"
        case Channel.SMS:
            return f"+49151199{'9' if fault else '1'}0{codes[fault]}"
        case Channel.WEBHOOK:
            return f"{simulator.endpoints.webhook_url}/{f'fault-{fault}' if fault else 'ok'}"


@pytest.mark.parametrize("channel", list(Channel))
async def test_a_sent_message_arrives_once_with_its_tag(simulator: Simulator, channel: Channel) -> None:
    messages = [message(channel, address(simulator, channel, "")) for _ in range(5)]
    outcomes = await send(sender_for(simulator, channel), messages)
    assert [type(outcome) for outcome in outcomes] == [Sent] * 5
    tally = simulator.exchange.tallies[channel.word]
    assert (tally.calls, tally.accepted, tally.repeats) == (5, 5, {})
    arrived = {arrival.tag for arrival in simulator.exchange.arrivals._ring}
    assert arrived == {one.tag for one in messages}
    assert {arrival.attempt for arrival in simulator.exchange.arrivals._ring} <= {0, 1}


@pytest.mark.parametrize("channel", list(Channel))
@pytest.mark.parametrize(
    ("fault", "kind", "accepted"),
    [("429", Deferred, 0), ("503", Deferred, 0), ("dead", Rejected, 0), ("timeout-accepted", Ambiguous, 1)],
)
async def test_each_fault_maps_to_its_true_outcome(
    simulator: Simulator, channel: Channel, fault: str, kind: type, accepted: int
) -> None:
    """Not sent and refused: the simulator accepted nothing. Unknown: it may have, and here it did."""
    seconds = 3.0 if fault == "timeout-accepted" else 30.0
    sender = sender_for(simulator, channel, seconds)
    [outcome] = await send(sender, [message(channel, address(simulator, channel, fault))])
    assert type(outcome) is kind
    assert simulator.exchange.tallies[channel.word].accepted == accepted
    if isinstance(outcome, Deferred) and channel is not Channel.EMAIL:
        assert outcome.retry_after == 7.0
    if isinstance(outcome, Rejected) and channel is not Channel.EMAIL:
        assert outcome.retire


@pytest.mark.parametrize("channel", list(Channel))
async def test_a_cut_connection_is_never_reported_sent(simulator: Simulator, channel: Channel) -> None:
    """This holds for all calls in flight: those reported sent were accepted, and no accepted one is reported
    refused."""
    wanted = [message(channel, address(simulator, channel, "reset" if n % 10 == 5 else "")) for n in range(40)]
    outcomes = await send(sender_for(simulator, channel), wanted)
    arrived = {arrival.tag for arrival in simulator.exchange.arrivals._ring if arrival.outcome == "accepted"}
    sent = {one.tag for one, outcome in zip(wanted, outcomes, strict=True) if isinstance(outcome, Sent)}
    unknown = {one.tag for one, outcome in zip(wanted, outcomes, strict=True) if isinstance(outcome, Ambiguous)}
    assert sent <= arrived <= sent | unknown
    assert not any(isinstance(outcome, Rejected) for outcome in outcomes)


async def test_the_service_account_logs_in(tmp_path: Path) -> None:
    """Google's OAuth flow, off the loop, against the simulator's token endpoint: one login for many pushes."""
    settings = SimulatorSettings(fcm_strict_tokens=True)
    async with running(tmp_path, settings) as simulator:
        account = FcmAccount(
            "simulator",
            credentials=simulator.service_account.read_text(),
            url=simulator.endpoints.fcm_url,
            ca_file=simulator.endpoints.fcm_ca,
        )
        sender = Sender(1, 1, Mode.LIVE, Channel.PUSH, 1, account)
        outcomes = await send(sender, [message(Channel.PUSH, f"device-{n}") for n in range(20)])
        assert [outcome for outcome in outcomes if not isinstance(outcome, Sent)] == []


async def test_a_wrong_token_is_our_fault(tmp_path: Path) -> None:
    async with running(tmp_path, SimulatorSettings(fcm_strict_tokens=True)) as simulator:
        [outcome] = await send(sender_for(simulator, Channel.PUSH), [message(Channel.PUSH, "device-1")])
    assert isinstance(outcome, Deferred)
    assert outcome.sender_fault


async def test_a_dead_device_is_retired_but_a_stop_is_not(simulator: Simulator) -> None:
    [push] = await send(sender_for(simulator, Channel.PUSH), [message(Channel.PUSH, "fault-dead-x")])
    [sms] = await send(sender_for(simulator, Channel.SMS), [message(Channel.SMS, "+491519990610")])
    assert isinstance(push, Rejected)
    assert (push.reason, push.retire) == (Reason.DEVICE_UNREGISTERED, True)
    assert isinstance(sms, Rejected)
    assert (sms.reason, sms.retire) == (Reason.SUPPRESSED_UNSUBSCRIBE, False)


async def test_a_brief_mail_server_outage_loses_nothing(simulator: Simulator) -> None:
    """451 to all for a moment: each mail is deferred, none refused, none sent twice."""
    simulator.exchange.faults.add(Script("email", Fault.GREYLISTED, remaining=20))
    mails = [message(Channel.EMAIL, f"u{n}@example.org") for n in range(50)]
    outcomes = await send(sender_for(simulator, Channel.EMAIL), mails)
    assert sorted({type(outcome).__name__ for outcome in outcomes}) == ["Deferred", "Sent"]
    sent = sum(isinstance(outcome, Sent) for outcome in outcomes)
    assert sent == simulator.exchange.tallies["email"].accepted == 30


_FOR_GOOD = ("dead", "blocked", "dead-after-data", "invalid")


@pytest.mark.parametrize("chunking", [True, False])
async def test_outcomes_of_many_faulty_mails_add_up(tmp_path: Path, chunking: bool) -> None:
    """By BDAT and by DATA: every mail reported sent was accepted, and every other accepted one is unknown."""
    words = ["", "dead", "", "", "451", "blocked", "", "full", "dead-after-data", "", "invalid", "slow", ""] * 6
    words[20], words[40], words[60] = "timeout-accepted", "reset", "reset-accepted"
    mails = [message(Channel.EMAIL, f"u{n}{word and f'+fault.{word}'}@example.org") for n, word in enumerate(words)]
    settings = SimulatorSettings(smtp_chunking=chunking, hang_seconds=30.0, slow_seconds=0.05)
    async with running(tmp_path, settings) as simulator:
        outcomes = await send(sender_for(simulator, Channel.EMAIL, 3.0), mails)
        accepted = [arrival.tag for arrival in simulator.exchange.arrivals._ring if arrival.outcome == "accepted"]
        told = simulator.exchange.tallies["email"].figures()
    sent, final, unknown = (
        {one.tag for one, outcome in zip(mails, outcomes, strict=True) if isinstance(outcome, kind)}
        for kind in (Sent, Rejected, Ambiguous)
    )
    assert len(accepted) == len(set(accepted)) == told["accepted"]
    assert sent <= set(accepted) <= sent | unknown
    refused = {one.tag for one, word in zip(mails, words, strict=True) if word in _FOR_GOOD}
    assert final <= refused <= final | unknown
    # the three unanswered mails, and with BDAT those sent together with them
    assert 3 <= len(unknown) <= (24 if chunking else 3)
