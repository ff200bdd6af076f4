"""A bare application beside a sidecar, in Dapr's own protocol: its subscriptions and what it received."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request, Response

PUBSUB = "bus"


@dataclass
class Subscriber:
    """Accepts batches of `topic`. `answers` go to the first batches, and SUCCESS to all later ones."""

    topic: str
    token: str = ""
    answers: list[str] = field(default_factory=list)
    batches: list[list[dict[str, Any]]] = field(default_factory=list)
    refused: int = 0

    @property
    def events(self) -> list[dict[str, Any]]:
        return [event for batch in self.batches for event in batch]

    def application(self) -> FastAPI:
        app = FastAPI()
        app.get("/dapr/subscribe")(self._subscriptions)
        app.post("/batches")(self._take)
        return app

    async def _subscriptions(self) -> list[dict[str, Any]]:
        bulk = {"enabled": True, "maxMessagesCount": 100, "maxAwaitDurationMs": 20}
        return [{"pubsubname": PUBSUB, "topic": self.topic, "routes": {"default": "/batches"}, "bulkSubscribe": bulk}]

    async def _take(self, request: Request) -> Response:
        if request.headers.get("dapr-api-token", "") != self.token:
            self.refused += 1
            return Response(status_code=401)
        entries = (await request.json())["entries"]
        answer = self.answers.pop(0) if self.answers else "SUCCESS"
        self.batches.append([entry["event"] for entry in entries])
        statuses = [{"entryId": entry["entryId"], "status": answer} for entry in entries]
        return Response(json.dumps({"statuses": statuses}), media_type="application/json")


def entries(bodies: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A bulk publish: one entry for each body, whose event id the publisher sets."""
    return [
        {
            "entryId": str(number),
            "event": body,
            "contentType": "application/json",
            "metadata": {"cloudevent.id": f"event-{number}", "cloudevent.type": "parcel.shipped"},
        }
        for number, body in enumerate(bodies)
    ]
