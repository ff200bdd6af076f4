"""A shop that delivers webhooks: what it sends and how it signs."""

import base64
import hashlib
import hmac
from typing import Any

import httpx

from libs import exact_json
from tests.flows.intake import Intake

SECRET = "hush-hush-hush"


SHOPIFY_ORDER = (
    '{"id":820982911946154508,"name":"#1001","order_number":1001,"total_price":"59.90","currency":"EUR",'
    '"updated_at":"2027-03-01T10:29:00+01:00","note":"für Zoë 🎁","customer":{"id":115310627314723954,'
    '"first_name":"Zoë"},\n  "line_items":[{"sku":"A","price":"59.90","quantity":1}]}'
).encode()


def hmac_base64(body: bytes, secret: str = SECRET) -> str:
    return base64.b64encode(hmac.digest(secret.encode(), body, hashlib.sha256)).decode()


async def ship(shop: Intake, name: str, secrets: list[str] | None = None, key: str = "live-key") -> None:
    answer = await shop.put(f"/v1/sources/{name}", {"shipped": name, "secrets": secrets or [SECRET]}, key=key)
    assert answer.status_code == 201, answer.text


async def from_shopify(shop: Intake, body: bytes = SHOPIFY_ORDER, **headers: str) -> httpx.Response:
    sent = {
        "X_Shopify_Topic": "orders/create",
        "X_Shopify_Event_Id": "98880550-7158-44d4-b7cd-2c97c8a091b5",
        "X_Shopify_Webhook_Id": "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043",
        "X_Shopify_Triggered_At": "2027-03-01T09:29:00.123456789Z",
        "X_Shopify_Hmac_Sha256": hmac_base64(body),
    } | headers
    return await shop.post("/v1/sources/shopify", body, key=None, **sent)


async def shown(shop: Intake, answer: httpx.Response) -> Any:
    assert answer.status_code == 202, answer.text
    (result,) = answer.json()["results"]
    assert result["status"] == "accepted", answer.text
    return exact_json.loads((await shop.get(f"/v1/events/{result['id']}")).content)
