"""Callbacks over HTTP to the ledger: only signed ones count, and each only once."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import httpx
import msgspec
import pytest

from libs import standard_webhooks
from libs.contracts.outcomes import Channel, Mode
from libs.contracts.reasons import Reason
from libs.service import Runtime, Service
from services.delivery.adapters.twilio_callbacks import signature
from services.delivery.app import create_service
from services.delivery.domain.outcomes import Ambiguous
from services.delivery.domain.sender_accounts import callback_url, read_account, split_secrets
from services.delivery.domain.steering import PROVIDER, SenderSetup
from services.delivery.settings import DeliverySettings
from tests.flows.delivery_world import World, now, opened

SENT, FAILED, UNKNOWN = 2, 3, 6
FORM = "application/x-www-form-urlencoded"


@dataclass
class Suite:
    """The ledger with one SMS of unknown outcome, and delivery's HTTP beside it."""

    world: World
    service: Service
    runtime: Runtime

    @property
    def message(self) -> str:
        return self.world.provider.calls[0].tag

    async def post(self, url: str, headers: dict[str, str], body: bytes) -> int:
        transport = httpx.ASGITransport(self.service.app, raise_app_exceptions=False)
        path = url.removeprefix(self.runtime.public_url).removeprefix("/delivery")
        async with httpx.AsyncClient(transport=transport, base_url="http://inner.local") as client:
            return (await client.post(path, headers=headers, content=body)).status_code

    async def twilio(self, fields: dict[str, str], token: str = "geheim", attempt: int = 1) -> int:
        url = callback_url(self.runtime.public_url, 1, Mode.LIVE, 9) + f"&message={self.message}&attempt={attempt}"
        signed = signature(token, url, list(fields.items())).decode()
        return await self.post(url, {"content-type": FORM, "x-twilio-signature": signed}, urlencode(fields).encode())

    async def simulator(self, receipts: Any, key: bytes | None = None) -> int:
        body = msgspec.json.encode(receipts)
        keys = [key or self.runtime.keyring.key("simulator")]
        signed = standard_webhooks.sign(keys, "e1", int(datetime.now(UTC).timestamp()), body)
        url = f"{self.runtime.public_url}/delivery/v1/callbacks/simulator"
        return await self.post(url, signed | {"content-type": "application/json"}, body)


@pytest.fixture
async def suite(database: str, runtime: Runtime) -> AsyncIterator[Suite]:
    ledger = await opened(database)
    world = World(ledger, now)
    world.provider.answer = lambda message: Ambiguous(Reason.TIMED_OUT, "no answer")
    world.tokens.add("customer:1", "sms")
    await world.request(await world.release(["sms"]), ["customer:1"])
    await world.send_all()
    service = create_service(runtime, DeliverySettings())
    async with service.running():
        document = {
            "account_sid": "AC1",
            "auth_token": "geheim",
            "further_auth_tokens": ["bisher"],
            "originator": "+4930123",
            "callback_url": callback_url(runtime.public_url, 1, Mode.LIVE, 9),
        }
        shown, secret = split_secrets(Channel.SMS, read_account(Channel.SMS, document))
        setup = SenderSetup(1, Mode.LIVE, 9, "SMS", Channel.SMS, PROVIDER, shown, secret, changed_at=now())
        assert await service.deps.operations.put_sender(setup, [])
        yield Suite(world, service, runtime)
    await ledger.close()


async def test_twilios_word_settles_an_unknown(suite: Suite) -> None:
    """Given a timeout after accepting, when Twilio says that it sent it, then it counts as sent; once."""
    assert await suite.world.statuses() == {(UNKNOWN, Reason.TIMED_OUT): 1}
    for _ in range(3):
        assert await suite.twilio({"MessageSid": "SM1", "MessageStatus": "sent"}) == 200
    assert [status for status, _ in await suite.world.statuses()] == [SENT]
    assert len(await suite.world.events("receipt.recorded")) == 1


async def test_while_a_token_is_changed_both_verify(suite: Suite) -> None:
    fields = {"MessageSid": "SM1", "MessageStatus": "sent"}
    assert [await suite.twilio(fields, token=token) for token in ("bisher", "geheim", "")] == [200, 200, 401]
    assert [status for status, _ in await suite.world.statuses()] == [SENT]


async def test_a_later_failure_is_believed_and_named(suite: Suite) -> None:
    await suite.twilio({"MessageSid": "SM1", "MessageStatus": "sent"})
    assert await suite.twilio({"MessageSid": "SM1", "MessageStatus": "undelivered", "ErrorCode": "30005"}) == 200
    assert await suite.world.statuses() == {(FAILED, Reason.ADDRESS_INVALID): 1}


@pytest.mark.parametrize(
    ("order", "status"),
    [
        ("delivered sent queued", SENT),
        ("queued sent delivered delivered", SENT),
        ("undelivered sent", FAILED),
        ("undelivered delivered", SENT),
        ("delivered undelivered", SENT),
    ],
)
async def test_statuses_may_come_in_any_order(suite: Suite, order: str, status: int) -> None:
    """Each is a call of its own, and a retry of Twilio's may overtake the next: delivered is delivered."""
    for word in order.split():
        assert await suite.twilio({"MessageSid": "SM1", "MessageStatus": word, "ErrorCode": "30003"}) == 200
    assert [found for found, _ in await suite.world.statuses()] == [status]


async def test_strangers_change_nothing(suite: Suite) -> None:
    """A wrong token, a message of another attempt signed for this one, a sender that does not exist."""
    fields = {"MessageSid": "SM1", "MessageStatus": "failed"}
    assert await suite.twilio(fields, token="falsch") == 401
    url = callback_url(suite.runtime.public_url, 1, Mode.LIVE, 8)
    assert await suite.post(url, {"content-type": FORM, "x-twilio-signature": "x"}, b"MessageSid=SM1") == 401
    assert await suite.post(url.replace("sender=8", "sender=x"), {}, b"") == 422
    assert await suite.world.statuses() == {(UNKNOWN, Reason.TIMED_OUT): 1}


async def test_a_stop_is_published_once_without_its_number(suite: Suite) -> None:
    """`tokens` and `bounce` identify the customer only by the hash."""
    reply = {"MessageSid": "SM2", "From": "+491511234567", "Body": "Stop", "SmsStatus": "received"}
    for _ in range(2):
        assert await suite.twilio(reply) == 200
    [event] = await suite.world.events("reply.received")
    assert (event["text"], event["channel"], event["provider"]) == ("Stop", "sms", "twilio")
    assert msgspec.convert(event["address_hash"], bytes, strict=False) == suite.runtime.hasher("phone", "+491511234567")
    assert "+49151" not in str(event)


async def test_the_simulators_receipts_come_in_batches(suite: Suite) -> None:
    receipt = {"id": "r1", "message": suite.message, "attempt": 1, "channel": "sms", "kind": "delivered"}
    stranger = receipt | {"id": "r2", "message": "01936b1e-7c00-8000-8000-000000000001.17"}
    assert await suite.simulator([receipt, stranger, receipt]) == 204
    assert [status for status, _ in await suite.world.statuses()] == [SENT]
    [event] = await suite.world.events("receipt.recorded")
    assert [one["kind"] for one in event["receipts"]] == ["delivered"]


async def test_an_unsigned_receipt_changes_nothing(suite: Suite) -> None:
    receipt = {"id": "r1", "message": suite.message, "attempt": 1, "kind": "failed"}
    assert await suite.simulator([receipt], key=b"x" * 32) == 401
    assert await suite.simulator({"id": "r1", "message": suite.message, "kind": "exploded"}) == 422
    assert await suite.world.statuses() == {(UNKNOWN, Reason.TIMED_OUT): 1}
