"""Another system's webhook on a real socket: it answers as scripted, and records its requests."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

import pytest

from libs import exact_json, standard_webhooks
from libs.contracts.bounce import BounceClassified
from services.bounce.adapters.webhook_calls import HttpCaller
from services.bounce.handlers.telling import call_webhook
from tests.flows.bounces import NOW, World, report


@dataclass
class Receiver:
    """`says`: the status of each answer in turn, the last one repeats; or `hang` or `reset`."""

    says: list[int | str] = field(default_factory=lambda: [204])
    seen: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    delay: float = 0.0
    fields: str = ""
    at_once: int = 0
    most_at_once: int = 0
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?for=bounces"

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.seen]

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [exact_json.loads(body) for _, body in self.seen]

    def verified(self, secret: str, now: float) -> None:
        """Raises Unauthorized for a call that is not signed with this secret."""
        for headers, body in self.seen:
            standard_webhooks.verify([standard_webhooks.secret_bytes(secret)], headers, body, now)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in head.splitlines()[1:] if line)}
                body = await reader.readexactly(int(headers["content-length"]))
                await self._answer(headers, body, writer)
        writer.close()

    async def _answer(self, headers: dict[str, str], body: bytes, writer: asyncio.StreamWriter) -> None:
        self.seen.append((headers, body))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(self.delay)
        said = self.says.pop(0) if len(self.says) > 1 else self.says[0]
        if said == "hang":
            await asyncio.sleep(60)
        self.at_once -= 1
        if said == "reset":
            writer.transport.abort()
            raise ConnectionError
        text = b"try later" if said != 204 else b""
        writer.write(f"HTTP/1.1 {said} So\r\n{self.fields}content-length: {len(text)}\r\n\r\n".encode() + text)
        await writer.drain()


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """Yield a listening receiver."""
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    yield receiver
    server.close()


BOTH = ["bounce.classified", "suppression.changed"]


@pytest.fixture
async def receiver(world: World) -> AsyncIterator[Receiver]:
    """Yield a receiver, and a service that may call loopback."""
    caller = HttpCaller(world.clock, allow_private=True, seconds=60)
    deps = replace(
        world.service.deps,
        caller=caller,
        settings=world.service.deps.settings.model_copy(update={"webhook_allow_private": True}),
    )
    world.service.deps = world.service.app.state.deps = deps
    async with receiving() as made:
        yield made
    await caller.aclose()


async def set_up(world: World, receiver: Receiver, **more: Any) -> dict[str, Any]:
    answer = await world.post("/v1/webhooks", {"url": receiver.url, "kinds": BOTH, **more})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def bounce(world: World, words: str = "550 5.1.1 User unknown") -> None:
    """A bounce mail, and its events as the bus delivers them."""
    known = len(await world.said())
    await world.hand_in(report(world.path, words=words))
    for event in (await world.said())[known:]:
        await world.hear(event)


async def facts(world: World, count: int = 1) -> None:
    """Facts about many addresses, as the bus delivers them."""
    for _ in range(count):
        await world.hear(
            BounceClassified(bounce_id=uuid4(), category="mailbox-full", group="soft", address_hash=bytes(32), at=NOW)
        )


async def turn(world: World, wanted: int = 1) -> int:
    """Run the loop once for each webhook with something due; return their number."""
    claimed = await world.service.deps.telling.claim(10, world.clock(), 120.0)
    for webhook in claimed:
        await call_webhook(world.service.deps, webhook)
    assert len(claimed) == wanted
    return len(claimed)


async def shown(world: World, made: dict[str, Any]) -> dict[str, Any]:
    return dict(await world.get(f"/v1/webhooks/{made['id']}"))


async def attempts(world: World, made: dict[str, Any], **query: Any) -> list[dict[str, Any]]:
    return list((await world.get(f"/v1/webhooks/{made['id']}/attempts", **query))["items"])
