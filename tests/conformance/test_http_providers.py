"""SMS and webhook providers against a scripted server on a real socket."""

import asyncio
import base64
import json
import time
from datetime import UTC, datetime
from urllib.parse import parse_qs
from uuid import uuid4

import pytest

from libs import standard_webhooks
from libs.clock import FixedClock
from libs.contracts.outcomes import Channel, Mode
from libs.contracts.reasons import Reason
from libs.rendering.contents import SmsContent, WebhookContent
from services.delivery.adapters.twilio import TwilioProvider
from services.delivery.adapters.webhook import WebhookProvider
from services.delivery.domain.outbound import Outbound, Sender, TwilioAccount, WebhookAccount
from services.delivery.domain.outcomes import NOT_CALLED, Ambiguous, Deferred, Outcome, Rejected, Sent
from services.delivery.ports import Provider
from tests.conformance.http_server import Answer, Call, HttpServer

CLOCK = FixedClock(datetime(2026, 11, 23, 12, 0, tzinfo=UTC))
SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
OLD_SECRET = "whsec_" + base64.b64encode(b"o" * 32).decode()
BODY = '{"order":123456789012345678,"text":"Grüße"}'.encode()


async def send(provider: Provider, sender: Sender, messages: list[Outbound], seconds: float = 100.0) -> list[Outcome]:
    outcomes: dict[int, Outcome] = {}

    def settle(index: int, outcome: Outcome) -> None:
        assert index not in outcomes, "settled twice"
        outcomes[index] = outcome

    await provider.send(sender, messages, time.monotonic() + seconds, settle)
    await provider.close()
    assert len(outcomes) == len(messages), "a message was not settled"
    return [outcomes[index] for index in range(len(messages))]


def sms_to(number: str, ttl_seconds: int = 600) -> Outbound:
    notification = uuid4()
    content = SmsContent("Ihr Code: 1234 & bis gleich")
    return Outbound(f"{notification}.5", notification, 5, 2, "phone", number, content, ttl_seconds=ttl_seconds)


def hook_to(url: str, attempt: int = 1) -> Outbound:
    notification = uuid4()
    return Outbound(f"{notification}.5", notification, 5, attempt, "webhook", url, WebhookContent(BODY))


def twilio(server: HttpServer, originator: str = "+4930123", timeout: float = 30.0) -> Sender:
    account = TwilioAccount(
        "AC1",
        "token",
        originator,
        "https://depesche.example/delivery/v1/callbacks/twilio?sender=9",
        url=f"http://127.0.0.1:{server.port}",
        timeout_seconds=timeout,
    )
    return Sender(9, 1, Mode.LIVE, Channel.SMS, 1, account)


def hooks(*, allow_private: bool = True, timeout: float = 30.0, secrets: tuple[str, ...] = (SECRET,)) -> Sender:
    return Sender(4, 1, Mode.LIVE, Channel.WEBHOOK, 1, WebhookAccount(secrets, allow_private, timeout_seconds=timeout))


def twilio_error(status: int, code: int, **headers: str) -> Answer:
    body = json.dumps({"code": code, "message": f"error {code}", "more_info": "…", "status": status}).encode()
    return Answer(status, headers, body)


# ---- SMS


async def test_an_sms_is_sent_with_its_callback() -> None:
    """Twilio gets the recipient, the text, the validity period, and the callback for this very attempt."""
    async with HttpServer(lambda call: Answer(201, body=b'{"sid":"SM1","status":"queued"}')) as server:
        message = sms_to("+491511234567")
        [outcome] = await send(TwilioProvider(CLOCK), twilio(server), [message])
    assert outcome == Sent("SM1")
    [call] = server.calls
    assert call.target == "/2010-04-01/Accounts/AC1/Messages.json"
    assert base64.b64decode(call.headers["authorization"].removeprefix("Basic ")) == b"AC1:token"
    form = {name: values[0] for name, values in parse_qs(call.body.decode()).items()}
    assert form == {
        "To": "+491511234567",
        "From": "+4930123",
        "Body": "Ihr Code: 1234 & bis gleich",
        "StatusCallback": "https://depesche.example/delivery/v1/callbacks/twilio"
        f"?sender=9&message={message.tag}&attempt=2",
        "ValidityPeriod": "600",
    }


async def test_a_messaging_service_is_sent_in_its_own_field() -> None:
    async with HttpServer(lambda call: Answer(201, body=b"{}")) as server:
        await send(TwilioProvider(CLOCK), twilio(server, "MG123"), [sms_to("+491511234567", 99_999)])
    form = parse_qs(server.calls[0].body.decode())
    assert form["MessagingServiceSid"] == ["MG123"]
    assert "From" not in form
    assert form["ValidityPeriod"] == ["36000"]


@pytest.mark.parametrize(
    ("answer", "kind", "reason", "flags"),
    [
        (twilio_error(400, 21211), Rejected, Reason.ADDRESS_INVALID, {"retire": True, "error": "21211"}),
        (twilio_error(400, 21614), Rejected, Reason.ADDRESS_INVALID, {"retire": True}),
        (twilio_error(400, 21635), Rejected, Reason.ADDRESS_INVALID, {"retire": True}),
        (twilio_error(429, 63038), Deferred, Reason.THROTTLED, {"sender_fault": False}),
        (twilio_error(400, 21610), Rejected, Reason.SUPPRESSED_UNSUBSCRIBE, {"retire": False}),
        (twilio_error(400, 21617), Rejected, Reason.TOO_LARGE, {}),
        (twilio_error(400, 99999), Rejected, Reason.PROVIDER_REJECTED, {}),
        (twilio_error(401, 20003), Deferred, Reason.SENDER_MISCONFIGURED, {"sender_fault": True}),
        (twilio_error(400, 21606), Deferred, Reason.SENDER_MISCONFIGURED, {"sender_fault": True}),
        (twilio_error(429, 20429, **{"Retry-After": "9"}), Deferred, Reason.THROTTLED, {"retry_after": 9.0}),
        (twilio_error(400, 14107), Deferred, Reason.THROTTLED, {}),
        (Answer(503, {"Retry-After": "2"}, b"<html>"), Deferred, Reason.PROVIDER_UNAVAILABLE, {"retry_after": 2.0}),
        (Answer(504, {}, b""), Ambiguous, Reason.TIMED_OUT, {}),
        (Answer(200, {}, b"\n<!doctype html>Log in"), Deferred, Reason.SENDER_MISCONFIGURED, {"sender_fault": True}),
        (Answer(silent=True), Ambiguous, Reason.TIMED_OUT, {}),
        (Answer(hangs_up=True), Ambiguous, Reason.CONNECTION_LOST, {}),
    ],
)
async def test_each_twilio_reply_maps_to_its_outcome(
    answer: Answer, kind: type, reason: Reason, flags: dict[str, object]
) -> None:
    """The error's number decides; a request without an answer is unknown."""
    limit = 0.5 if answer.silent else 30.0
    async with HttpServer(lambda call: answer) as server:
        [outcome] = await send(TwilioProvider(CLOCK), twilio(server, timeout=limit), [sms_to("+491511234567")])
    assert type(outcome) is kind
    assert not isinstance(outcome, Sent)
    assert outcome.reason is reason
    assert {name: getattr(outcome, name) for name in flags} == flags


async def test_an_unreachable_twilio_counts_as_not_sent() -> None:
    async with HttpServer(lambda call: Answer()) as server:
        sender = twilio(server)
    [outcome] = await send(TwilioProvider(CLOCK), sender, [sms_to("+491511234567")])
    assert isinstance(outcome, Deferred)
    assert outcome.reason is Reason.PROVIDER_UNAVAILABLE


async def test_no_sms_after_the_deadline() -> None:
    async with HttpServer(lambda call: Answer(201)) as server:
        outcomes = await send(TwilioProvider(CLOCK), twilio(server), [sms_to("+491511234567")] * 3, seconds=-1)
    assert outcomes == [NOT_CALLED] * 3
    assert server.calls == []


# ---- webhooks


async def test_a_webhook_is_signed_with_all_secrets() -> None:
    """During a rotation the receiver may verify with either secret; the body goes out byte for byte."""
    async with HttpServer(lambda call: Answer(204, body=b"")) as server:
        message = hook_to(f"http://127.0.0.1:{server.port}/hook?a=b")
        sender = hooks(secrets=(SECRET, OLD_SECRET))
        [outcome] = await send(WebhookProvider(CLOCK), sender, [message])
    assert outcome == Sent()
    [call] = server.calls
    assert call.body == BODY
    assert call.target == "/hook?a=b"
    assert call.headers["content-type"] == "application/json"
    now = CLOCK().timestamp()
    for secret in (SECRET, OLD_SECRET):
        key = standard_webhooks.secret_bytes(secret)
        assert standard_webhooks.verify([key], call.headers, call.body, now) == message.tag


@pytest.mark.parametrize(
    ("answer", "kind", "flags"),
    [
        (Answer(410, body=b"gone"), Rejected, {"retire": True, "code": 410}),
        (Answer(400, body=b"what"), Rejected, {"retire": False, "reason": Reason.PROVIDER_REJECTED}),
        (Answer(404), Rejected, {"retire": False}),
        (Answer(302, {"location": "http://127.0.0.1:1/inner"}), Rejected, {"code": 302}),
        (Answer(429, {"retry-after": "5"}), Deferred, {"retry_after": 5.0, "reason": Reason.THROTTLED}),
        (Answer(503, {"retry-after": "Mon, 23 Nov 2026 12:00:10 GMT"}), Deferred, {"retry_after": 10.0}),
        (Answer(500), Deferred, {"reason": Reason.PROVIDER_UNAVAILABLE}),
        (Answer(silent=True), Ambiguous, {"reason": Reason.TIMED_OUT}),
        (Answer(hangs_up=True), Ambiguous, {"reason": Reason.CONNECTION_LOST}),
    ],
)
async def test_each_receiver_reply_maps_to_its_outcome(answer: Answer, kind: type, flags: dict[str, object]) -> None:
    async with HttpServer(lambda call: answer) as server:
        message = hook_to(f"http://127.0.0.1:{server.port}/hook")
        [outcome] = await send(WebhookProvider(CLOCK), hooks(timeout=0.5 if answer.silent else 30.0), [message])
    assert type(outcome) is kind
    assert {name: getattr(outcome, name) for name in flags} == flags
    assert len(server.calls) == 1


async def test_a_huge_reply_is_not_read() -> None:
    """A receiver that answers with 50 MB costs us two kilobytes."""
    async with HttpServer(lambda call: Answer(400, body=b"x" * 50_000_000)) as server:
        message = hook_to(f"http://127.0.0.1:{server.port}/hook")
        [outcome] = await send(WebhookProvider(CLOCK), hooks(), [message])
    assert isinstance(outcome, Rejected)
    assert len(outcome.text) < 600


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1:{port}/",
        "https://localhost:{port}/",
        "https://127.1:{port}/",
        "https://0x7f000001:{port}/",
        "https://2130706433:{port}/",
        "https://[::1]:{port}/",
        "https://[::ffff:127.0.0.1]:{port}/",
        "https://169.254.169.254/latest/meta-data/",
        "https://10.0.0.1/",
        "https://user@127.0.0.1:{port}/",
        "https://example.com\\@127.0.0.1:{port}/",
        "http://127.0.0.1:{port}/",
        "http://example.com/",
        "file:///etc/passwd",
        "https://",
    ],
)
async def test_internal_addresses_cannot_be_reached(url: str) -> None:
    """Loopback, private networks and the cloud's metadata, in every spelling; and only over https."""

    def refuse(call: Call) -> Answer:
        raise AssertionError("the server was called")

    async with HttpServer(refuse) as server:
        [outcome] = await send(
            WebhookProvider(CLOCK), hooks(allow_private=False), [hook_to(url.format(port=server.port))]
        )
    assert isinstance(outcome, Rejected)
    assert outcome.reason is Reason.ADDRESS_INVALID
    assert server.calls == []


async def test_an_unresolvable_name_counts_as_not_sent() -> None:
    [outcome] = await send(WebhookProvider(CLOCK), hooks(), [hook_to("https://no-such-host.invalid/")])
    assert isinstance(outcome, Deferred)


async def test_a_malformed_secret_is_our_fault() -> None:
    [outcome] = await send(WebhookProvider(CLOCK), hooks(secrets=("whsec_!!",)), [hook_to("https://example.com/")])
    assert isinstance(outcome, Deferred)
    assert outcome.sender_fault


async def test_receivers_are_called_concurrently() -> None:
    """One slow receiver does not delay the others."""
    async with HttpServer(lambda call: Answer(silent="slow" in call.target)) as server:
        urls = [f"http://127.0.0.1:{server.port}/{name}" for name in ("slow", *(f"r{n}" for n in range(30)))]
        started = asyncio.get_running_loop().time()
        outcomes = await send(WebhookProvider(CLOCK), hooks(timeout=3.0), [hook_to(url) for url in urls])
        took = asyncio.get_running_loop().time() - started
    assert isinstance(outcomes[0], Ambiguous)
    assert all(isinstance(outcome, Sent) for outcome in outcomes[1:])
    assert took < 6
