"""Shops' webhooks, signed as documented: Shopify, WooCommerce, Stripe, commercetools."""

import base64
import hashlib
import hmac
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from libs import exact_json
from libs.service import Runtime
from libs.service_client import Transport
from tests.flows.intake import NOW, Intake, intake, release
from tests.flows.intake_shops import SECRET, SHOPIFY_ORDER, from_shopify, hmac_base64, ship, shown


@pytest.fixture
async def shop(runtime: Runtime, transports: dict[str, Transport]) -> AsyncIterator[Intake]:
    async with intake(runtime, transports) as running:
        running.published.releases[:] = [
            release(trigger, communication=trigger.replace(".", "-"), recipient=None)
            for trigger in ("order.placed", "payment.failed", "parcel.shipped")
        ]
        yield running


STRIPE_EVENT = (
    b'{"id":"evt_1","object":"event","type":"payment_intent.payment_failed","created":1803893340,"livemode":true,'
    b'"data":{"object":{"id":"pi_1","object":"payment_intent","amount":5990,"currency":"eur",'
    b'"customer":"cus_9","metadata":{"order_id":"100045","customer_id":"4711"}}}}'
)


async def test_a_shopify_order_becomes_an_event_exactly_as_it_came(shop: Intake) -> None:
    await ship(shop, "shopify")
    made = await shown(shop, await from_shopify(shop))
    assert (made["type"], made["source"], made["subject"]) == ("order.placed", "/shopify", "#1001")
    assert made["recipient"] == "customer:115310627314723954"
    assert made["data"] == exact_json.loads(SHOPIFY_ORDER)
    assert made["occurred_at"] == "2027-03-01T09:29:00.123456Z"
    (request,) = await shop.outbox("notification.requested")
    assert request.event["data"]["id"] == 820982911946154508


async def test_shopify_may_deliver_twice_and_through_two_subscriptions(shop: Intake) -> None:
    await ship(shop, "shopify")
    answers = [
        await from_shopify(shop),
        await from_shopify(shop),
        await from_shopify(shop, X_Shopify_Webhook_Id="of-the-second-subscription"),
        await from_shopify(shop, X_Shopify_Topic="orders/paid"),  # the same action, another fact
    ]
    assert [a.json()["results"][0]["status"] for a in answers] == ["accepted", "duplicate", "duplicate", "accepted"]


@pytest.mark.parametrize(
    "change",
    [
        {"X_Shopify_Hmac_Sha256": hmac_base64(SHOPIFY_ORDER, "another secret")},
        {"X_Shopify_Hmac_Sha256": hmac_base64(SHOPIFY_ORDER + b"\n")},
        {"X_Shopify_Hmac_Sha256": "not base64 ✗".encode().hex()},
        {"X_Shopify_Hmac_Sha256": ""},
    ],
)
async def test_a_wrong_signature_is_refused_and_nothing_is_written(shop: Intake, change: dict[str, str]) -> None:
    await ship(shop, "shopify")
    answer = await from_shopify(shop, **change)
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert (await shop.count("event"), await shop.count("rejection")) == (0, 0)


async def test_woocommerce_gets_200_for_its_unsigned_ping(shop: Intake) -> None:
    await ship(shop, "woocommerce")
    form = "application/x-www-form-urlencoded"
    ping = await shop.post("/v1/sources/woocommerce", b"webhook_id=7", key=None, content_type=form)
    assert (ping.status_code, ping.content) == (200, b"")
    forged = await shop.post(
        "/v1/sources/woocommerce", b"webhook_id=7&id=8", key=None, content_type=form, x_wc_webhook_topic="order.created"
    )
    assert forged.status_code == 401
    assert await shop.count("event") == 0


async def test_two_woocommerce_orders_of_one_second_share_a_delivery_id_and_are_two(shop: Intake) -> None:
    await ship(shop, "woocommerce")
    made = []
    for order in (727, 728):
        body = exact_json.dumps(
            {"id": order, "number": str(order), "customer_id": 26, "date_modified_gmt": "2027-03-01T09:29:00"}
        )
        answer = await shop.post(
            "/v1/sources/woocommerce",
            body,
            key=None,
            x_wc_webhook_topic="order.created",
            x_wc_webhook_delivery_id="89d1e4b3",
            x_wc_webhook_signature=hmac_base64(body),
        )
        made.append(await shown(shop, answer))
    assert [(e["type"], e["subject"], e["recipient"]) for e in made] == [
        ("order.placed", "727", "customer:26"),
        ("order.placed", "728", "customer:26"),
    ]


def stripe_signature(body: bytes, at: int, secret: str = SECRET) -> str:
    signed = f"{at}.".encode() + body
    return f"t={at},v1={hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()},v0={'0' * 64}"


async def test_a_stripe_event_is_mapped_from_its_object(shop: Intake) -> None:
    await ship(shop, "stripe", ["whsec_test_secret"])
    signature = stripe_signature(STRIPE_EVENT, int(NOW.timestamp()) - 299, "whsec_test_secret")
    answer = await shop.post("/v1/sources/stripe", STRIPE_EVENT, key=None, stripe_signature=signature)
    made = await shown(shop, answer)
    assert (made["type"], made["subject"], made["recipient"]) == ("payment.failed", "100045", "customer:4711")
    assert made["data"]["amount"] == 5990
    assert made["occurred_at"] == "2027-03-01T09:29:00Z"


@pytest.mark.parametrize("age", [timedelta(seconds=301), timedelta(seconds=-301)])
async def test_an_old_stripe_signature_is_a_replay(shop: Intake, age: timedelta) -> None:
    await ship(shop, "stripe")
    signature = stripe_signature(STRIPE_EVENT, int((NOW - age).timestamp()))
    answer = await shop.post("/v1/sources/stripe", STRIPE_EVENT, key=None, stripe_signature=signature)
    assert answer.status_code == 401
    assert "replay" in answer.json()["detail"]


async def test_a_refused_delivery_that_is_signed_anew_with_each_repeat_is_stored_once(shop: Intake) -> None:
    await ship(shop, "stripe")
    body = b'{"id": "evt_1", "type": "payment_intent.payment_failed"}'
    for seconds in (0, 60, 120):
        signature = stripe_signature(body, int((NOW - timedelta(seconds=seconds)).timestamp()))
        headers = {"stripe_signature": signature, "x_request_id": str(seconds)}
        answer = await shop.post("/v1/sources/stripe", body, key=None, **headers)
        assert answer.json()["results"][0]["status"] == "kept", answer.text
    (rejection,) = (await shop.get("/v1/rejections")).json()["items"]
    assert rejection["times"] == 3


COMMERCETOOLS = {
    "notificationType": "Message",
    "projectKey": "shop",
    "id": "cd6f7c4a-0c0f-4a9b-8a5e-0c9d5a9f3b11",
    "version": 1,
    "sequenceNumber": 1,
    "resource": {"typeId": "order", "id": "11d1c1f0"},
    "resourceVersion": 1,
    "resourceUserProvidedIdentifiers": {"orderNumber": "100045"},
    "type": "OrderCreated",
    "createdAt": "2027-03-01T09:29:00.000Z",
    "order": {"type": "Order", "id": "11d1c1f0", "customerId": "4711", "totalPrice": {"centAmount": 5990}},
}


@pytest.mark.parametrize("shape", ["platform", "cloudevents", "pubsub", "pubsub cloudevents", "event grid"])
async def test_commercetools_messages_arrive_in_every_wrapping(shop: Intake, shape: str) -> None:
    await ship(shop, "commercetools")
    body: Any = COMMERCETOOLS
    if "cloudevents" in shape:
        body = {
            "specversion": "1.0",
            "id": COMMERCETOOLS["id"],
            "type": "com.commercetools.order.message.OrderCreated",
            "source": "/shop/orders",
            "subject": "11d1c1f0",
            "time": "2027-03-01T09:29:00.000Z",
            "data": body,
        }
    if shape == "event grid":
        envelope = {"id": "e", "topic": "/t", "subject": "s", "eventType": "OrderCreated", "dataVersion": "1.0"}
        body = [envelope | {"eventTime": "2027-03-01T09:29:00Z", "data": body}]
    if "pubsub" in shape:
        payload = base64.b64encode(exact_json.dumps(body)).decode()
        body = {"message": {"data": payload, "messageId": "77", "attributes": {}}, "subscription": "projects/x"}
    answer = await shop.post(f"/v1/sources/commercetools?token={SECRET}", body, key=None)
    made = await shown(shop, answer)
    assert (made["type"], made["subject"], made["recipient"]) == ("order.placed", "100045", "customer:4711")
    assert made["data"] == COMMERCETOOLS


@pytest.mark.parametrize("address", [f"?token={SECRET}", ""])
async def test_event_grid_has_its_code_back_before_it_delivers(shop: Intake, address: str) -> None:
    await ship(shop, "commercetools")
    first = {
        "id": "2d1781af",
        "topic": "/subscriptions/x",
        "subject": "",
        "data": {"validationCode": "512d38b6", "validationUrl": "https://rp.example/validate?id=512d38b6"},
        "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
        "eventTime": "2027-03-01T09:29:00Z",
        "dataVersion": "1",
    }
    answer = await shop.post(f"/v1/sources/commercetools{address}", [first], key=None)
    assert (answer.status_code, answer.json()) == (200, {"validationResponse": "512d38b6"})
    assert answer.headers["content-type"] == "application/json"
    assert await shop.count("event") == 0
    assert (await shop.get("/v1/rejections")).json()["items"] == []


async def test_commercetools_test_notification_is_left_out_and_its_token_is_needed(shop: Intake) -> None:
    await ship(shop, "commercetools")
    test = {"notificationType": "ResourceCreated", "resource": {"typeId": "subscription", "id": "s"}, "version": 1}
    answer = await shop.post(f"/v1/sources/commercetools?token={SECRET}", test, key=None)
    assert (answer.status_code, answer.json()["filtered"]) == (202, 1)
    assert (await shop.post("/v1/sources/commercetools?token=guess", test, key=None)).status_code == 401
    allowed = await shop.http.options(
        "/v1/sources/commercetools", headers={"webhook-request-origin": "eventgrid.azure.net"}
    )
    assert allowed.headers["webhook-allowed-origin"] == "eventgrid.azure.net"
