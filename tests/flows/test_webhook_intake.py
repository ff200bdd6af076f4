"""Mail vendors' webhooks over HTTP to the ledger: only verified ones count, each once, about its tenant's mails."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from prometheus_client import REGISTRY

from libs.contracts.outcomes import Channel, Mode
from libs.contracts.reasons import Reason
from libs.ids import parse_message_id
from libs.service import Runtime, Service
from libs.verp import ReturnPath
from services.delivery.adapters.vendors import readers
from services.delivery.app import CALLBACK_BYTES, create_service
from services.delivery.domain.sender_accounts import callback_url, read_account, split_secrets
from services.delivery.domain.steering import PROVIDER, SenderSetup
from services.delivery.settings import DeliverySettings
from tests.conformance.webhook_http_senders import Brevo, Mailgun, Postmark, SendGrid, SparkPost
from tests.conformance.webhook_senders import Amazon, Post, Ses, WebhookSender
from tests.flows.delivery_world import World, now, opened

SENT, FAILED = 2, 3
RELAY = {
    "host": "relay.example",
    "port": 25,
    "from_address": "shop@shop.example",
    "return_path_domain": "bounce.shop.example",
}
AMAZON = Amazon()
SENDERS: dict[str, WebhookSender] = {
    "ses": Ses(AMAZON),
    "sendgrid": SendGrid(),
    "mailgun": Mailgun(),
    "postmark": Postmark(),
    "sparkpost": SparkPost(),
    "brevo": Brevo(),
}


@dataclass
class Suite:
    """A ledger with one sent mail, delivery's HTTP beside it, and a sender per vendor."""

    world: World
    service: Service
    runtime: Runtime

    def path(self, attempt: int = 1) -> str:
        notification, address = parse_message_id(self.world.provider.calls[0].tag)
        return ReturnPath(self.runtime.keyring.key("verp"), "bounce.shop.example").make(notification, address, attempt)

    def url(self, vendor: str, tenant: int = 1, number: int | None = None) -> str:
        number = number or list(SENDERS).index(vendor) + 1
        return callback_url(self.runtime.public_url, tenant, Mode.LIVE, number, vendor)

    async def post(self, url: str, post: Post) -> httpx.Response:
        transport = httpx.ASGITransport(self.service.app, raise_app_exceptions=False)
        path = url.removeprefix(self.runtime.public_url).removeprefix("/delivery")
        async with httpx.AsyncClient(transport=transport, base_url="http://inner.local") as client:
            return await client.post(path, headers=post.headers, content=post.body)

    async def happens(self, vendor: str, what: str, path: str | None = None) -> Any:
        sender = SENDERS[vendor]
        event = sender.event(what, path or self.path(), now())
        answer = await self.post(self.url(vendor), sender.post([event], now()))
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def receipts(self) -> list[Any]:
        return [r for event in await self.world.events("receipt.recorded") for r in event["receipts"]]


async def set_up(service: Service, number: int, tenant: int = 1, **account: Any) -> None:
    shown, secret = split_secrets(Channel.EMAIL, read_account(Channel.EMAIL, RELAY | account))
    setup = SenderSetup(tenant, Mode.LIVE, number, "Mail", Channel.EMAIL, PROVIDER, shown, secret, changed_at=now())
    assert await service.deps.operations.put_sender(setup, [])


@pytest.fixture
async def suite(database: str, runtime: Runtime) -> AsyncIterator[Suite]:
    ledger = await opened(database)
    world = World(ledger, now)
    world.tokens.add("customer:1", "email")
    await world.request(await world.release(["email"]), ["customer:1"])
    await world.send_all()
    service = create_service(runtime, DeliverySettings())
    async with service.running():
        object.__setattr__(service.deps.receiving, "vendors", readers(AMAZON.fetch))
        for number, sender in enumerate(SENDERS.values(), 1):
            await set_up(service, number, **sender.account)
        yield Suite(world, service, runtime)
    await ledger.close()


def counted(vendor: str, outcome: str) -> float:
    labels = {"source": vendor, "outcome": outcome}
    return REGISTRY.get_sample_value("depesche_delivery_webhook_events_total", labels) or 0.0


@pytest.mark.parametrize("vendor", list(SENDERS))
async def test_a_bounce_becomes_a_receipt_with_the_vendors_reading_once(suite: Suite, vendor: str) -> None:
    sender = SENDERS[vendor]
    post = sender.post([sender.event("hard", suite.path(), now())], now())
    answers = [(await suite.post(suite.url(vendor), post)).json() for _ in range(3)]
    assert [(a["new"], a["repeated"]) for a in answers] == [(1, 0), (0, 1), (0, 1)]
    [receipt] = await suite.receipts()
    assert (receipt["provider"], receipt["kind"], receipt["recipient"]) == (vendor, "bounced", "customer:1")
    assert receipt["vendor_class"]
    assert receipt["vendor_permanent"] is True
    assert "550 5.1.1 <address>" in receipt["detail"]
    assert "kim@" not in str(receipt)
    assert await suite.world.value("select vendor_class from receipt") == receipt["vendor_class"]


@pytest.mark.parametrize("vendor", list(SENDERS))
async def test_what_the_vendor_did_not_even_send_has_failed(suite: Suite, vendor: str) -> None:
    await suite.happens(vendor, "dropped")
    assert await suite.world.statuses() == {(FAILED, Reason.PROVIDER_GAVE_UP): 1}


@pytest.mark.parametrize("what", ["delivered", "deferred", "opened", "complaint", "unsubscribe", "hard"])
async def test_what_was_sent_stays_sent(suite: Suite, what: str) -> None:
    await suite.happens("sparkpost", what)
    assert await suite.world.statuses() == {(SENT, Reason.NONE): 1}
    assert len(await suite.receipts()) == 1


@pytest.mark.parametrize("vendor", list(SENDERS))
async def test_mails_that_are_not_ours_change_nothing_and_are_not_asked_for_again(suite: Suite, vendor: str) -> None:
    """Others send through the same relay; some forge paths; some messages are no longer stored."""
    before = counted(vendor, "unknown_message")
    forged = ReturnPath(b"x" * 32, "bounce.shop.example").make(UUID(int=1), 17, 1)
    gone = ReturnPath(suite.runtime.keyring.key("verp"), "b.example").make(UUID(int=1), 17, 1)
    for path in ("", "newsletter@other.example", forged, gone):
        assert (await suite.happens(vendor, "hard", path or "x"))["unknown_messages"] == 1
    assert await suite.receipts() == []
    assert counted(vendor, "unknown_message") == before + 4


async def test_another_tenants_mails_are_not_ours(suite: Suite) -> None:
    """A mail's recipient knows its return path: with its own sender and key, a tenant could report anything."""
    await set_up(suite.service, 4, tenant=2, **SENDERS["postmark"].account)
    sender = SENDERS["postmark"]
    post = sender.post([sender.event("hard", suite.path(), now())], now())
    answer = await suite.post(suite.url("postmark", tenant=2), post)
    assert (answer.status_code, answer.json()["unknown_messages"]) == (200, 1)
    assert await suite.receipts() == []


async def test_ids_are_of_one_account_at_the_vendor(suite: Suite) -> None:
    """Another account may use the same ids: it does not take an event away from the first."""
    await set_up(suite.service, 20, **SENDERS["postmark"].account)
    sender = SENDERS["postmark"]
    post = sender.post([sender.event("hard", suite.path(), now())], now())
    for number in (20, None):
        assert (await suite.post(suite.url("postmark", number=number), post)).json()["new"] == 1


async def test_strangers_change_nothing_and_learn_nothing(suite: Suite) -> None:
    """A wrong key, no sender, a sender of another vendor: one response for all of them."""
    before = counted("brevo", "refused")
    good = SENDERS["brevo"].post([SENDERS["brevo"].event("hard", suite.path(), now())], now())
    answers = [
        await suite.post(suite.url("brevo"), Post({**good.headers, "authorization": "Bearer wrong"}, good.body)),
        await suite.post(suite.url("brevo", number=99), good),
        await suite.post(suite.url("brevo", tenant=7), good),
        await suite.post(suite.url("brevo", number=1), good),
        # a sender of another vendor, with a secret that it would accept
        await suite.post(suite.url("brevo", number=4), Post(SENDERS["postmark"].post([{}], now()).headers, good.body)),
    ]
    assert [answer.status_code for answer in answers] == [401] * 5
    assert all(answer.headers["content-type"] == "application/problem+json" for answer in answers)
    assert await suite.receipts() == []
    assert counted("brevo", "refused") == before + 5


async def test_an_old_signature_is_refused(suite: Suite) -> None:
    sender = SENDERS["sendgrid"]
    post = sender.post([sender.event("hard", suite.path(), now())], now() - timedelta(days=2))
    assert (await suite.post(suite.url("sendgrid"), post)).status_code == 401


async def test_a_token_of_mailgun_is_good_for_one_body(suite: Suite) -> None:
    """Its signature does not cover the event: anyone who intercepts one could sign events of their own with it."""
    mailgun = SENDERS["mailgun"]
    assert isinstance(mailgun, Mailgun)
    signature = mailgun.signature(now())

    def post(what: str) -> Post:
        event = mailgun.event(what, suite.path(), datetime(2026, 11, 26, tzinfo=UTC)) | {"id": what}
        return Post({}, json.dumps({"signature": signature, "event-data": event}).encode())

    url = suite.url("mailgun")
    codes = [(await suite.post(url, post(what))).status_code for what in ("delivered", "complaint", "delivered")]
    assert codes == [200, 401, 200]
    assert [receipt["kind"] for receipt in await suite.receipts()] == ["delivered"]


async def test_one_bad_event_does_not_take_the_others_with_it(suite: Suite) -> None:
    sender = SENDERS["sparkpost"]
    events = [sender.event(what, suite.path(), now()) for what in ("delivered", "opened")]
    post = sender.post([events[0], {"msys": {"message_event": {"type": 1}}}, events[1]], now())
    for _ in range(2):  # it comes again, because it was refused
        refused = await suite.post(suite.url("sparkpost"), post)
        assert refused.status_code == 422
        assert [error["pointer"] for error in refused.json()["errors"]] == ["/1"]
    assert sorted(receipt["kind"] for receipt in await suite.receipts()) == ["delivered", "opened"]


async def test_a_large_batch_is_taken_in_portions(suite: Suite) -> None:
    sender = SENDERS["sendgrid"]
    events = [sender.event("clicked", suite.path(), now()) for _ in range(1_200)]
    answer = await suite.post(suite.url("sendgrid"), sender.post(events, now()))
    assert (answer.status_code, answer.json()["new"]) == (200, 1_200)


UNREADABLE: list[tuple[bytes, int]] = [
    (b"{", 400),
    (b'"x"', 422),
    (b" " * (CALLBACK_BYTES + 1), 413),
    (b"[" + b"{}," * 10_001 + b"{}]", 422),
]


async def test_what_cannot_be_read_is_a_problem(suite: Suite) -> None:
    sender = SENDERS["sparkpost"]
    headers = sender.post([], now()).headers
    for body, code in UNREADABLE:
        answer = await suite.post(suite.url("sparkpost"), Post(headers, body))
        assert answer.status_code == code, body
        assert answer.headers["content-type"] == "application/problem+json", body


async def test_vendors_that_we_do_not_know_have_no_place(suite: Suite) -> None:
    answer = await suite.post(suite.url("brevo").replace("brevo", "pigeon"), Post({}, b"{}"))
    assert answer.status_code == 422
