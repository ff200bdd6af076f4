"""A sidecar's two sides as the tests see them: its publishing side, and its calls."""

import asyncio
import base64
import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI, Request, Response

from libs.messaging.dapr import DaprRelay, Sidecar
from libs.messaging.routes import Intake, router_of
from libs.storage.database import Database
from libs.web import install_problem_handlers
from tests.conformance.bus_promises import Line, Listener, opened

TOKENS = {"api_token": "to the sidecar", "app_token": "to the application"}


class Broker:
    """A sidecar's publishing side. Answers as scripted, then with 204."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, bytes]] = []
        self.batches: list[list[dict[str, Any]]] = []
        self.tokens: set[str | None] = set()
        self.free = threading.Event()  # while it is not set, no answer comes
        self.free.set()

    def application(self) -> FastAPI:
        app = FastAPI()
        app.post("/v1.0/publish/bulk/bus/{topic}")(self.take)
        return app

    async def take(self, topic: str, request: Request) -> Response:
        self.tokens.add(request.headers.get("dapr-api-token"))
        self.batches.append(await request.json())
        await asyncio.to_thread(self.free.wait)
        status, body = self.answers.pop(0) if self.answers else (204, b"")
        return Response(body, status_code=status)


@asynccontextmanager
async def relay_to(line: Line, url: str, seconds: float = 60.0) -> AsyncIterator[DaprRelay]:
    relay = DaprRelay(line.publisher, (), sidecar=Sidecar(url, **TOKENS), seconds=seconds)
    try:
        yield relay
    finally:
        ended = asyncio.Event()
        ended.set()
        await relay.run(ended)  # which closes its connections


async def waiting(line: Line) -> int:
    return len(await line.ask("select from outbox", line.publisher))


def events_in(entry: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the events in one message of a topic, as an outsider would read it."""
    event = entry["event"]
    data = json.loads(base64.b64decode(event["data_base64"]))
    return data if event["datacontenttype"] == "application/cloudevents-batch+json" else [event | {"data": data}]


def cloud_event(listener: Listener, number: int, **other: Any) -> dict[str, Any]:
    data = {"number": listener.first + number, "name": "x", "default_locale": "de", "version": 1}
    return {
        "id": str(uuid4()), "type": "tenant.changed", "source": "access", "time": "2026-11-25T10:00:00+00:00",
        "tenant": 7, "mode": 1, "partitionkey": "k",
        "data_base64": base64.b64encode(json.dumps(data).encode()).decode(),
    } | other  # fmt: skip


class Door:
    """A service's routes as its sidecar calls them."""

    def __init__(self, database: Database, listener: Listener) -> None:
        app = FastAPI()
        install_problem_handlers(app)
        intake = Intake("delivery", database, [listener.subscriber()])
        app.include_router(router_of(intake, Sidecar("", **TOKENS)))
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app")

    async def post(self, body: Any, token: str = TOKENS["app_token"]) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"dapr-api-token": token}
        return await self.client.post("/dapr/events/tenant.changed.v1", content=content, headers=headers)

    async def bring(self, *events: Any) -> list[str]:
        entries = [{"entryId": str(number), "event": event} for number, event in enumerate(events)]
        answer = await self.post({"id": "b", "entries": entries})
        assert answer.status_code == 200
        statuses = answer.json()["statuses"]
        assert [one["entryId"] for one in statuses] == [entry["entryId"] for entry in entries]
        return [one["status"] for one in statuses]


@pytest.fixture
async def line(database: str) -> AsyncIterator[Line]:
    async with opened(database, "access") as access, opened(database, "delivery") as delivery:
        yield Line(access, delivery, Listener())


@pytest.fixture
def door(line: Line) -> Door:
    return Door(line.keeper, line.listener)
