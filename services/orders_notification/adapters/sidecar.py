"""The sidecar's own API: its subscriptions, and its shutdown."""

from typing import Any

import httpx
import msgspec

from libs.errors import Unavailable
from libs.messaging.bus import Topic
from libs.messaging.dapr import Sidecar
from services.orders_notification.domain.topics import Subscribed

_SECONDS = 5.0


class HttpSidecar:
    """Implements ports.topics.SidecarControl with Dapr's metadata and shutdown API."""

    def __init__(self, sidecar: Sidecar) -> None:
        self._sidecar = sidecar

    async def subscribed(self) -> Subscribed:
        found = msgspec.json.decode(await self._call("GET", "metadata"))
        return Subscribed(
            frozenset(one["name"] for one in found.get("components") or () if one["type"].startswith("pubsub.")),
            frozenset(Topic(one["pubsubname"], one["topic"]) for one in found.get("subscriptions") or ()),
        )

    async def restart(self) -> None:
        await self._call("POST", "shutdown")

    async def _call(self, method: str, path: str) -> bytes:
        headers: dict[str, Any] = {"dapr-api-token": self._sidecar.api_token}
        try:
            async with httpx.AsyncClient(timeout=_SECONDS, trust_env=False, verify=False) as client:
                answer = await client.request(method, f"{self._sidecar.url}/v1.0/{path}", headers=headers)
        except httpx.HTTPError as error:
            raise Unavailable(f"The sidecar does not answer: {type(error).__name__}") from error
        if answer.is_error:
            raise Unavailable(f"The sidecar answered {answer.status_code} to {path}.")
        return answer.content
