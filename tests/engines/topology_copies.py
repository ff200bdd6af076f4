"""A foreign program on the bus: it republishes every message once, in reverse order and to any partition, so that a
copy may overtake its original, or another event of the same message."""

import asyncio
import base64
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec
from fastapi import FastAPI, Request

from cli.engines.daprd import Daprd, Sidecar
from libs.contracts.envelope import EVENTS
from libs.messaging.batches import MEDIA_TYPE
from tests.engines.conftest import running
from tests.engines.subscriber import PUBSUB
from tests.engines.test_daprd_round_trip import COMPONENT
from tests.shell import serving

_TOKEN = "the copyist's"
_events = msgspec.json.Decoder(list[msgspec.Raw])  # each unchanged: numbers stay exact


@dataclass
class Copyist:
    """Messages seen, by id; `copied`: how many copies the broker has accepted, and `events`: how many events they
    contain."""

    sidecar: str = ""
    seen: set[str] = field(default_factory=set)
    copied: int = 0
    events: int = 0
    _dice: random.Random = field(default_factory=lambda: random.Random(7))

    def application(self) -> FastAPI:
        app = FastAPI()
        app.get("/dapr/subscribe")(self._subscriptions)
        app.post("/copy/{topic}")(self._copy)
        return app

    async def _subscriptions(self) -> list[dict[str, Any]]:
        common = {"pubsubname": PUBSUB, "metadata": {"rawPayload": "true"}}
        common |= {"bulkSubscribe": {"enabled": True, "maxMessagesCount": 100, "maxAwaitDurationMs": 20}}
        topics = {event.topic() for event in EVENTS.values()}
        return [common | {"topic": topic, "routes": {"default": f"/copy/{topic}"}} for topic in sorted(topics)]

    async def _copy(self, topic: str, request: Request) -> dict[str, Any]:
        entries = (await request.json())["entries"]
        events = [json.loads(base64.b64decode(entry["event"])) for entry in entries]
        new = [event for event in reversed(events) if event["id"] not in self.seen]
        if new:
            inside = sum(_turned(event) for event in new)
            await self._publish(topic, new)
            self.seen |= {event["id"] for event in new}
            self.events += inside
        return {"statuses": [{"entryId": entry["entryId"], "status": "SUCCESS"} for entry in entries]}

    async def _publish(self, topic: str, events: list[dict[str, Any]]) -> None:
        batch = [
            {
                "entryId": str(number), "event": event, "contentType": "application/cloudevents+json",
                "metadata": {"partitionKey": str(self._dice.random())},
            }
            for number, event in enumerate(events)
        ]  # fmt: skip
        async with httpx.AsyncClient(timeout=20, trust_env=False) as client:
            url = f"{self.sidecar}/v1.0/publish/bulk/{PUBSUB}/{topic}"
            answer = await client.post(url, json=batch, headers={"dapr-api-token": _TOKEN})
        assert answer.status_code == 204, answer.text
        self.copied += len(events)


def _turned(message: dict[str, Any]) -> int:
    """Return how many events the message contains; reverse them if there are several."""
    if message["datacontenttype"] != MEDIA_TYPE:
        return 1
    events = _events.decode(base64.b64decode(message["data_base64"]))
    message["data_base64"] = base64.b64encode(msgspec.json.encode(events[::-1])).decode()
    return len(events)


@asynccontextmanager
async def copying(folder: Path, broker: str) -> AsyncIterator[Copyist]:
    """Subscribe to every topic of the suite, through a sidecar that no scope restricts."""
    copyist = Copyist()
    settings = {"brokers": broker, "authType": "none", "initialOffset": "newest", "maxMessageBytes": "4194304"}
    lines = [f'  - name: {key}\n    value: "{value}"\n' for key, value in settings.items()]
    (folder / "bus.yaml").write_text(COMPONENT.format(name=PUBSUB, type="kafka") + "".join(lines))
    with serving(copyist.application()) as url:
        beside = Sidecar(
            app_id="copyist", app_port=int(url.rpartition(":")[2]), resources=[folder], api_token=_TOKEN
        )  # fmt: skip
        context = running(Daprd(folder, beside))
        daprd = await asyncio.to_thread(context.__enter__)
        copyist.sidecar = daprd.url
        try:
            yield copyist
        finally:
            await asyncio.to_thread(context.__exit__, None, None, None)
