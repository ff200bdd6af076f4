"""A mail vendor's webhook, from its signed bytes to the suppression: the whole suite, with the vendor simulated."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from libs.contracts.outcomes import Mode
from libs.ids import parse_message_id
from libs.verp import ReturnPath
from services.delivery.adapters.vendors import readers
from services.delivery.domain.sender_accounts import callback_url
from tests.conformance.webhook_http_senders import Mailgun, SendGrid
from tests.conformance.webhook_senders import Amazon, Post, Ses, WebhookSender
from tests.flows.whole_suite import Suite, open_shop, whole_suite

ORDER = {
    "customer": "customer:1",
    "order_id": 17,
    "total": "19.90",
    "currency": "EUR",
    "items": [{"name": "Lamp", "quantity": 1}],
}
SENDER = 5


def now() -> datetime:
    return datetime.now(UTC)


class Shop:
    """The shop, whose mails leave through a vendor's relay: the simulator's SMTP, which stores what it accepts."""

    def __init__(self, suite: Suite, amazon: Amazon) -> None:
        self.suite = suite
        receiving = suite.services["delivery"].deps.receiving
        object.__setattr__(receiving, "vendors", readers(amazon.fetch))

    async def mails_by(self, vendor: WebhookSender) -> None:
        relay = self.suite.simulator.endpoints
        account = {
            "host": relay.smtp_host,
            "port": relay.smtp_port,
            "tls": "off",
            "from_address": "shop@shop.example",
            "return_path_domain": "bounce.shop.example",
            **vendor.account,
        }
        body = {"name": "Shop, mail", "channel": "email", "account": account}
        await self.suite.put(f"/delivery/v1/senders/{SENDER}", body)

    async def order(self, number: int) -> None:
        await self.suite.send("order.placed", f"e-{number}", f"B-{number}", ORDER)

    async def verdict(self, number: int, wanted: str) -> Any:
        return await self.told(f"B-{number}", wanted)

    async def told(self, subject: str, wanted: str) -> Any:
        async def answered() -> Any:
            answer = await self.suite.get("/history/v1/why", order=subject)
            return answer if answer["verdict"] == wanted else None

        return await self.suite.eventually(answered)

    async def agreed_to(self, topic: str) -> None:
        proof = {"at": "2026-01-01T00:00:00Z", "how": "a form", "text_version": "2026-01"}
        said = {"topic": topic, "channel": "email", "granted": True, **proof}
        await self.suite.put("/tokens/v1/recipients/customer:1/consents", {"consents": [said]})

    async def mailed(self, number: int) -> tuple[str, str]:
        """Place an order; return MAIL FROM and text of its mail, as the relay received them."""
        await self.order(number)
        await self.verdict(number, "sent")
        control = self.suite.simulator.endpoints.control_url
        async with httpx.AsyncClient(trust_env=False, timeout=60, verify=False) as client:
            listed = (await client.get(f"{control}/messages", params={"channel": "smtp"})).json()
            newest = max(listed["items"], key=lambda message: message["number"])
            raw = (await client.get(f"{control}/messages/{newest['number']}/raw")).text
        notification, address = parse_message_id(newest["message"])
        key = self.suite.services["delivery"].runtime.keyring.key("verp")
        return ReturnPath(key, "bounce.shop.example").make(notification, address, newest["attempt"]), raw

    async def post(self, vendor: WebhookSender, post: Post, wanted: int = 200) -> Any:
        server = self.suite.services["delivery"].runtime.public_url
        url = callback_url(server, 1, Mode.LIVE, SENDER, vendor.vendor.value)
        answer = await self.suite.client.post(
            url.removeprefix(server), content=post.body, headers={"authorization": "", **post.headers}
        )
        assert answer.status_code == wanted, answer.text
        return answer.json()

    async def happens(self, vendor: WebhookSender, what: str, path: str) -> Any:
        at = now()
        return await self.post(vendor, vendor.post([vendor.event(what, path, at)], at))

    async def suppressions(self) -> list[Any]:
        found = await self.suite.get("/bounce/v1/suppressions", active="true")
        return list(found["items"])


@pytest.fixture
async def shop(database: str, tmp_path: Path) -> AsyncIterator[Shop]:
    async with whole_suite(database, tmp_path) as suite:
        await open_shop(suite)
        profile = {"first_name": "Kim", "locale": "en", "emails": ["kim@customer.example"]}
        await suite.put("/tokens/v1/recipients/customer:1", profile)
        yield Shop(suite, AMAZON)


AMAZON = Amazon()


RESTOCKED = {
    "product": {"sku": "L-1", "name": "Lamp", "url": "https://shop.example/l-1"},
    "price_now": "19.90",
    "watchers": ["customer:1"],
}
PATH = re.compile(r"b-[a-z2-7]{52}")


def path_in_header(raw: str, name: str) -> str:
    """Return our return path, as the vendor finds it in its own header."""
    [line] = [line for line in raw.splitlines() if line.startswith(f"{name}: ")]
    found = PATH.search(line)
    assert found is not None
    return found[0]


async def test_a_permanent_bounce_at_amazon_bars_the_address_for_the_next_mail(shop: Shop) -> None:
    """SES → delivery → bounce → suppression → delivery, each step over its real path."""
    ses = Ses(AMAZON)
    await shop.mails_by(ses)
    path, _ = await shop.mailed(1)
    assert (await shop.happens(ses, "hard", path))["new"] == 1

    async def barred() -> Any:
        return await shop.suppressions()

    [suppression] = await shop.suite.eventually(barred)
    assert (suppression["scope"], suppression["reason"]) == ("all", "suppressed_bounce")
    shown = await shop.suite.get(f"/bounce/v1/suppressions/{suppression['id']}")
    [fact] = shown["evidence"]
    assert (fact["category"], fact["origin"], fact["enhanced_code"]) == ("unknown-user", "receipt", "5.1.1")
    assert "kim@" not in str(shown)
    await shop.suite.drained()
    await shop.order(2)
    assert "suppressed" in str(await shop.verdict(2, "not_sent"))


async def test_a_complaint_at_mailgun_ends_marketing_and_nothing_else(shop: Shop) -> None:
    mailgun = Mailgun()
    await shop.mails_by(mailgun)
    await shop.agreed_to("back-in-stock")
    path = path_in_header((await shop.mailed(1))[1], "X-Mailgun-Variables")
    for _ in range(2):  # Mailgun may send it twice, under another token
        await shop.happens(mailgun, "complaint", path)

    async def barred() -> Any:
        return await shop.suppressions()

    [suppression] = await shop.suite.eventually(barred)
    assert (suppression["scope"], suppression["reason"]) == ("marketing", "suppressed_complaint")
    await shop.suite.drained()
    await shop.suite.send("product.restocked", "r-1", "R-1", RESTOCKED)
    assert "suppressed" in str(await shop.told("R-1", "not_sent"))
    await shop.order(2)
    await shop.verdict(2, "sent")


async def test_an_unsubscribe_at_sendgrid_is_a_consent_withdrawn(shop: Shop) -> None:
    """SendGrid → delivery → bounce → tokens: the customer's current consent, with its proof."""
    sendgrid = SendGrid()
    await shop.mails_by(sendgrid)
    await shop.agreed_to("back-in-stock")
    path = path_in_header((await shop.mailed(1))[1], "X-SMTPAPI")
    await shop.happens(sendgrid, "unsubscribe", path)

    async def withdrawn() -> Any:
        said = await shop.suite.get("/tokens/v1/recipients/customer:1/consents")
        return [one for one in said["items"] if not one["granted"]]

    [statement] = await shop.suite.eventually(withdrawn)
    assert statement["channel"] == "email"
    await shop.suite.send("product.restocked", "r-1", "R-1", RESTOCKED)
    await shop.told("R-1", "not_sent")
