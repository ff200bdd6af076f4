"""Shared by the flows of publishing: access, templates, delivery, orders-notification in one process on Postgres."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from libs import credentials
from libs.contracts.outcomes import Mode
from libs.service import Runtime, Service
from libs.service_client import AsgiTransport, Transport
from services.access.app import create_service as access
from services.access.app import ensure_first
from services.delivery.app import create_service as delivery
from services.orders_notification.app import create_service as orders_notification
from services.templates.app import create_service as templates

CREATE: Mapping[str, Callable[[Runtime], Service]] = {
    "access": access,
    "templates": templates,
    "delivery": delivery,
    "orders-notification": orders_notification,
}

PUSH = {
    "channel": "push",
    "locales": {
        "en": {"title": "On its way", "body": "Order {{ event.subject }} by {{ event.data.carrier }}."},
        "de": {"title": "Unterwegs", "body": "Bestellung {{ event.subject }} mit {{ event.data.carrier }}."},
    },
}
PARCEL: dict[str, Any] = {
    "trigger": "parcel.shipped",
    "condition": "event.data.carrier != 'pickup'",
    "recipient": "event.data.customer",
    "category": "transactional",
    "plan": [{"mode": "all", "channels": [{"channel": "push", "template": "parcel.push"}]}],
}


@dataclass
class Suite:
    """The services, and a client for each with an administrator's key."""

    services: Mapping[str, Service]
    clients: Mapping[str, httpx.AsyncClient]

    async def call(self, service: str, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        return await self.clients[service].request(method, path, json=body, headers=headers)

    async def published_template(self, name: str = "parcel.push", template: Any = None) -> httpx.Response:
        put = await self.call("templates", "PUT", f"/v1/templates/{name}", template or PUSH, **{"if-match": "*"})
        assert put.status_code in (200, 201), put.text
        return await self.call("templates", "POST", f"/v1/templates/{name}:publish")

    async def published_communication(self, name: str = "parcel", **changes: Any) -> httpx.Response:
        path = f"/v1/communications/{name}"
        current = await self.call("orders-notification", "GET", path)
        match = {"if-match": current.headers["etag"]} if current.status_code == 200 else {}
        put = await self.call("orders-notification", "PUT", path, PARCEL | changes, **match)
        assert put.status_code in (200, 201), put.text
        return await self.call("orders-notification", "POST", f"{path}:publish")

    async def send(self, id_: str, data: Any, type_: str = "parcel.shipped") -> httpx.Response:
        event = {"specversion": "1.0", "id": id_, "source": "https://shop.example", "type": type_, "data": data}
        headers = {"content-type": "application/cloudevents+json"}
        return await self.call("orders-notification", "POST", "/v1/events", event, **headers)


@asynccontextmanager
async def publishing_suite(runtime: Runtime, transports: dict[str, Transport]) -> AsyncIterator[Suite]:
    """Yield the running services."""
    services: dict[str, Service] = {}

    def transport_to(name: str) -> AsgiTransport:
        return AsgiTransport(lambda: services[name].app)

    transports.update({name: transport_to(name) for name in CREATE})
    services.update({name: create(runtime) for name, create in CREATE.items()})
    found = credentials.read(await ensure_first(runtime))
    assert found is not None
    async with AsyncExitStack() as stack:
        clients = {}
        for name, service in services.items():
            await stack.enter_async_context(service.running())
            client = httpx.AsyncClient(transport=httpx.ASGITransport(service.app), base_url="http://suite")
            client.headers["authorization"] = f"Bearer {found.keys[Mode.LIVE]}"
            clients[name] = await stack.enter_async_context(client)
        yield Suite(services, clients)
