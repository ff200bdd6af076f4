"""The plain HTTP port: SMS API, webhooks and control, routed by the first path segment."""

import asyncio
from dataclasses import dataclass
from typing import Protocol

from services.simulator.adapters.rsgi import JSON_HEADERS
from services.simulator.ports import HttpProtocol, Scope


class Part(Protocol):
    """One of the applications behind the port."""

    async def answer(self, scope: Scope, protocol: HttpProtocol, body: bytes) -> None: ...


@dataclass(frozen=True)
class PlainHttp:
    """The RSGI application; `parts` by first path segment."""

    parts: dict[str, Part]
    stopping: asyncio.Event

    async def __rsgi__(self, scope: Scope, protocol: HttpProtocol) -> None:
        body = await protocol()
        part = self.parts.get(scope.path.split("/", 2)[1])
        if part is None:
            protocol.response_bytes(404, JSON_HEADERS, b'{"title":"Nothing here","status":404}')
            return
        await part.answer(scope, protocol, body)
