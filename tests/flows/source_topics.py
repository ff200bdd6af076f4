"""Shared by the flows of sources with topics: the worker's routes as its sidecar calls them, and the API
beside them.
"""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx

from libs import alone, exact_json
from libs.messaging.dapr import Sidecar
from libs.service import Runtime
from libs.service_client import Transport
from tests.flows.intake import Intake, intake, release

TOKEN = "to the application"
ORDERS = {"component": "shop-kafka", "name": "orders"}
PLAIN = {
    "topic": ORDERS,
    "mapping": {"type": '"order.placed"', "id": "body.number", "recipient": "string(body.customer)"},
}
BIG = 820982911946154508  # a float would make it …432


@dataclass
class Door:
    """The worker's routes as its sidecar calls them, and the API beside them."""

    shop: Intake
    http: httpx.AsyncClient

    async def subscriptions(self) -> list[dict[str, Any]]:
        answer = await self.http.get("/dapr/subscribe", headers={"dapr-api-token": TOKEN})
        return list(answer.json())

    async def post(self, body: bytes, token: str = TOKEN) -> httpx.Response:
        return await self.http.post("/dapr/topics", content=body, headers={"dapr-api-token": token})

    async def bring(self, *messages: Any, name: str = "orders", headers: dict[str, str] | None = None) -> list[str]:
        entries = [
            {
                "entryId": str(number),
                "event": base64.b64encode(one if isinstance(one, bytes) else exact_json.dumps(one)).decode(),
                "contentType": "application/octet-stream",
                "metadata": headers,
            }
            for number, one in enumerate(messages)
        ]
        body = {"id": "b", "topic": name, "pubsubname": "shop-kafka", "entries": entries, "metadata": None}
        answer = await self.post(json.dumps(body).encode())
        assert answer.status_code == 200
        assert [one["entryId"] for one in answer.json()["statuses"]] == [entry["entryId"] for entry in entries]
        return [one["status"] for one in answer.json()["statuses"]]

    async def events(self, key: str = "live-key") -> list[dict[str, Any]]:
        answer = await self.shop.get("/v1/events", key=key)
        return list(exact_json.loads(answer.content)["items"])

    async def rejections(self) -> list[dict[str, Any]]:
        return list((await self.shop.get("/v1/rejections?state=open")).json()["items"])

    async def letters(self) -> list[Any]:
        return await self.shop.rows("select * from orders_notification.dead_letter order by dead_at")


@asynccontextmanager
async def opened(runtime: Runtime, transports: dict[str, Transport]) -> AsyncIterator[Door]:
    """Tenant 1 may consume any topic, tenant 2 only one."""
    beside = replace(runtime, sidecar=Sidecar("http://127.0.0.1:9", "to the sidecar", TOKEN))
    async with intake(beside, transports, topic_grants=("1/*/*", "2/shop-kafka/orders")) as shop:
        shop.published.releases[:] = [release("order.placed", recipient=None)]
        app = alone.create_app(shop.service, api=False, events=True)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as http:
            yield Door(shop, http)


async def put(door: Door, definition: dict[str, Any], name: str = "orders", key: str = "live-key") -> httpx.Response:
    answer = await door.shop.put(f"/v1/sources/{name}", definition, key=key)
    assert answer.status_code == 201, answer.text
    return answer
