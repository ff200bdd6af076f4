"""access alone over a fresh database, with the keys that `up` made."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import asyncpg
import httpx

from libs import credentials
from libs.clock import FixedClock
from libs.contracts.envelope import decode
from libs.contracts.outcomes import Mode
from libs.service import Runtime
from libs.service_client import AsgiTransport, Transport
from services.access.app import create_service, ensure_first

NOW = datetime(2027, 3, 1, 9, 30, tzinfo=UTC)


@dataclass
class Suite:
    """access alone, with the keys that `up` created."""

    http: httpx.AsyncClient
    runtime: Runtime
    clock: FixedClock
    live: str
    test: str

    async def call(self, method: str, path: str, body: Any = None, *, key: str | None = None, **headers: str) -> Any:
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        headers["authorization"] = f"Bearer {key or self.live}"
        return await self.http.request(method, path, json=body, headers=headers)

    async def make_key(self, *scopes: str, key: str | None = None, **more: Any) -> dict[str, Any]:
        answer = await self.call("POST", "/v1/keys", {"name": "a key", "scopes": list(scopes), **more}, key=key)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def events(self) -> list[Any]:
        connection = await asyncpg.connect(self.runtime.dsn_of("access"))
        rows = await connection.fetch("select type, payload from access.outbox order by id")
        await connection.close()
        return [decode(row["type"], row["payload"]) for row in rows]


@asynccontextmanager
async def suite_over(runtime: Runtime, transports: dict[str, Transport]) -> AsyncIterator[Suite]:
    """Yield the service, running, at NOW."""
    clock = FixedClock(NOW)
    runtime = replace(runtime, clock=clock)
    service = create_service(runtime)
    transports["access"] = AsgiTransport(lambda: service.app)
    found = credentials.read(await ensure_first(runtime))
    assert found is not None
    transport = httpx.ASGITransport(app=service.app)
    async with service.running(), httpx.AsyncClient(transport=transport, base_url="http://access") as http:
        yield Suite(http, runtime, clock, found.keys[Mode.LIVE], found.keys[Mode.TEST])
