"""Shared by the flows of intake: the service on a real Postgres, two keys, and manually inserted releases."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import asyncpg
import httpx

from libs import exact_json
from libs.clock import FixedClock
from libs.contracts.envelope import decode
from libs.contracts.outcomes import Mode
from libs.errors import Unauthorized
from libs.ids import TenantId
from libs.messaging.bundles import unbundled
from libs.service import Runtime
from libs.service_client import Call, Transport
from libs.web import problem_response
from services.orders_notification.app import create_service
from services.orders_notification.domain.releases import CompiledRelease
from services.orders_notification.settings import OrdersNotificationSettings
from tests.unit.orders_notification.builders import NOW, event, release

__all__ = ["NOW", "Intake", "event", "intake", "release"]

KEYS = {
    "live-key": (1, "live", ["admin"]),
    "test-key": (1, "test", ["admin"]),
    "other-key": (2, "live", ["admin"]),
    "reader-key": (1, "live", ["events:read"]),
}


def access() -> Transport:
    """Stands in for `access`: knows the keys above."""

    async def answer(call: Call) -> tuple[int, bytes]:
        key = exact_json.loads(call.body)["key"]
        if key not in KEYS:
            problem = problem_response(Unauthorized("No such key."))
            return problem.status_code, bytes(problem.body)
        tenant, mode, scopes = KEYS[key]
        return 200, exact_json.dumps({"key_id": key, "tenant": tenant, "mode": mode, "scopes": scopes})

    return answer


@dataclass
class Published:
    """Manually inserted releases; implements ports.releases.ActiveReleases."""

    releases: list[CompiledRelease] = field(default_factory=list)
    loads: int = 0

    async def active(self, tenant: TenantId, mode: Mode) -> Sequence[CompiledRelease]:
        self.loads += 1
        return [r for r in self.releases if r.tenant == tenant and r.mode == mode]


@dataclass
class Intake:
    """The service alone, called over HTTP."""

    http: httpx.AsyncClient
    runtime: Runtime
    clock: FixedClock
    published: Published
    service: Any

    async def post(self, path: str, content: Any, *, key: str | None = "live-key", **headers: str) -> httpx.Response:
        raw = content if isinstance(content, bytes) else exact_json.dumps(content)
        sent = {"content-type": "application/json"} | {n.replace("_", "-"): v for n, v in headers.items()}
        if key is not None:
            sent["authorization"] = f"Bearer {key}"
        return await self.http.post(path, content=raw, headers=sent)

    async def put(self, path: str, body: Any, *, key: str = "live-key", **headers: str) -> httpx.Response:
        sent = {"authorization": f"Bearer {key}"} | {n.replace("_", "-"): v for n, v in headers.items()}
        return await self.http.put(path, json=body, headers=sent)

    async def get(self, path: str, *, key: str = "live-key") -> httpx.Response:
        return await self.http.get(path, headers={"authorization": f"Bearer {key}"})

    async def delete(self, path: str, *, key: str = "live-key", **headers: str) -> httpx.Response:
        sent = {"authorization": f"Bearer {key}"} | {n.replace("_", "-"): v for n, v in headers.items()}
        return await self.http.delete(path, headers=sent)

    async def outbox(self, type_: str) -> list[Any]:
        """Return the unpublished events of one type, in order."""
        rows = await self.rows("select * from orders_notification.outbox where type = $1 order by id", type_)
        return [decode(row["type"], row["payload"]) for row in unbundled(rows)]

    async def rows(self, statement: str, *values: Any) -> list[Any]:
        connection = await asyncpg.connect(self.runtime.dsn_of("orders_notification"))
        try:
            return list(await connection.fetch(statement, *values))
        finally:
            await connection.close()

    async def count(self, table: str) -> int:
        found = await self.rows(f"select count(*) as n from orders_notification.{table}")
        return int(found[0]["n"])

    async def bump(self, tenant: int = 1, mode: Mode = Mode.LIVE) -> None:
        """Do what publishing does in its transaction."""
        await self.rows(
            "insert into orders_notification.catalogue values ($1, $2, 1)"
            " on conflict (tenant, mode) do update set version = catalogue.version + 1",
            tenant,
            int(mode),
        )


@asynccontextmanager
async def intake(runtime: Runtime, transports: dict[str, Transport], **settings: Any) -> AsyncIterator[Intake]:
    """Yield the running service."""
    clock = FixedClock(NOW)
    transports["access"] = access()
    transports.setdefault("templates", access())  # only publishing calls it
    runtime = replace(runtime, clock=clock)
    published = Published([release()])
    service = create_service(runtime, OrdersNotificationSettings(**settings), published)
    async with service.running():
        transport = httpx.ASGITransport(app=service.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://suite") as http:
            yield Intake(http, runtime, clock, published, service)
