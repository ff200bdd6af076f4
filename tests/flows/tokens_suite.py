"""tokens alone, on a real Postgres, with our own keys."""

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import asyncpg
import httpx

from libs import exact_json
from libs.auth import KeyVerifier, Principal
from libs.clock import FixedClock
from libs.contracts.envelope import Envelope, Event, decode
from libs.contracts.outcomes import Mode
from libs.errors import Unauthorized, Unavailable
from libs.ids import uuid7
from libs.near import near
from libs.service import Runtime, Service
from libs.service_client import Call
from libs.storage import embedded
from services.tokens.app import create_service
from services.tokens.handlers import SUBSCRIPTIONS
from services.tokens.settings import TokensSettings

NOW = datetime(2027, 3, 1, 9, 30, tzinfo=UTC)
KEYS = {
    "admin": Principal(1, Mode.LIVE, "key-admin", frozenset({"admin"})),
    "writer": Principal(1, Mode.LIVE, "key-writer", frozenset({"recipients:read", "recipients:write"})),
    "test": Principal(1, Mode.TEST, "key-test", frozenset({"admin"})),
    "other": Principal(2, Mode.LIVE, "key-other", frozenset({"admin"})),
    "events": Principal(1, Mode.LIVE, "key-events", frozenset({"events:send"})),
}


@dataclass
class Access:
    """Stands in for `access`: knows topics. `away`: it does not answer."""

    topics: set[str] = field(default_factory=lambda: {"news", "news-letter", "new", "offers", "prices"})
    asked: list[list[str]] = field(default_factory=list)
    away: bool = False

    async def answer(self, call: Call) -> tuple[int, bytes]:
        if self.away:
            raise Unavailable("access is away.")
        assert call.path == "/v1/topics:resolve"
        names = exact_json.loads(call.body)["topics"]
        self.asked.append(names)
        found = {name: {"name": name} for name in names if name in self.topics}
        told = {"topics": found, "near": {name: near(name, self.topics) for name in names if name not in found}}
        return 200, exact_json.dumps(told)


@dataclass
class Suite:
    """The service, and a test's calls to it."""

    http: httpx.AsyncClient
    service: Service
    runtime: Runtime
    clock: FixedClock
    access: Access

    async def call(self, method: str, path: str, body: Any = None, *, key: str = "admin", **more: Any) -> Any:
        headers = {"authorization": f"Bearer {key}", **more.pop("headers", {})}
        given = {"json": body} if body is not None else {}
        return await self.http.request(method, path, headers=headers, **given, **more)

    async def internal(self, path: str, body: Any, *, tenant: int = 1, mode: Mode = Mode.LIVE) -> Any:
        token = self.runtime.tokens.make("delivery", tenant, mode)
        return await self.http.post(path, json=body, headers={"authorization": f"Internal {token}"})

    async def resolve(self, *keys: str, topic: str | None = None, **more: Any) -> dict[str, Any]:
        answer = await self.internal("/v1/recipients:resolve", {"keys": list(keys), "topic": topic}, **more)
        assert answer.status_code == 200, answer.text
        made: dict[str, Any] = answer.json()["recipients"]
        return made

    async def load(self, data: str | bytes, kind: str = "text/csv", **more: Any) -> Any:
        content = data.encode() if isinstance(data, str) else data
        headers = {"content-type": kind, **more.pop("headers", {})}
        return await self.call("POST", "/v1/imports", content=content, headers=headers, **more)

    async def events(self) -> list[Any]:
        connection = await asyncpg.connect(self.runtime.dsn_of("tokens"))
        rows = await connection.fetch("delete from tokens.outbox returning id, type, payload")
        await connection.close()
        return [decode(row["type"], row["payload"]) for row in sorted(rows, key=lambda row: row["id"])]

    async def tell(self, *events: Event, tenant: int = 1, mode: Mode = Mode.LIVE) -> None:
        batch = [
            Envelope(
                id=uuid7(),
                type=event.TYPE,
                source=event.SOURCE,
                time=self.clock(),
                tenant=tenant,
                mode=mode,
                key="k",
                data=event,
            )
            for event in events
        ]
        await SUBSCRIPTIONS[type(events[0])](self.service.deps, batch)


TABLES = (
    "erased",
    "import_refusal",
    "import",
    "consent_statement",
    "consent",
    "address",
    "recipient",
    "outbox",
    "idempotency",
)


@contextmanager
def database_of(postgres: embedded.EmbeddedServer, name: str) -> Iterator[str]:
    """One database for a module's tests: one per test would cost more than the tests themselves."""

    async def run(statement: str) -> None:
        connection = await asyncpg.connect(postgres.dsn)
        await connection.execute(statement)
        await connection.close()

    asyncio.run(run(f"create database {name} template migrated"))
    yield postgres.dsn_of(name)
    asyncio.run(run(f"drop database {name} with (force)"))


async def wipe(dsn: str) -> None:
    """Reset to an empty database."""
    connection = await asyncpg.connect(dsn)
    for table in TABLES:
        await connection.execute(f"delete from tokens.{table}")
    await connection.close()


@asynccontextmanager
async def suite_over(runtime: Runtime, **settings: Any) -> AsyncIterator[Suite]:
    """Yield the service with a clock fixed at NOW."""
    clock = FixedClock(NOW)
    access = Access()
    runtime = replace(runtime, clock=clock, transports=lambda name: access.answer)

    async def ask(key: str) -> Principal:
        if key not in KEYS:
            raise Unauthorized("No such key.")
        return KEYS[key]

    object.__setattr__(runtime, "keys", KeyVerifier(ask))
    service = create_service(runtime, TokensSettings(**settings))
    transport = httpx.ASGITransport(app=service.app, raise_app_exceptions=True)
    async with service.running(), httpx.AsyncClient(transport=transport, base_url="http://tokens") as http:
        yield Suite(http, service, runtime, clock, access)


YES: dict[str, Any] = {"topic": "news", "granted": True, "how": "checkbox", "text_version": "2027-02"}


@asynccontextmanager
async def consenting(runtime: Runtime) -> AsyncIterator[Suite]:
    """The service, with a customer who agreed to news by mail and SMS two months ago."""
    async with suite_over(runtime) as suite:
        await suite.call(
            "PUT", "/v1/recipients/customer:1", {"emails": ["max@example.com"], "phones": ["+4915123456789"]}
        )
        for channel in ("email", "sms"):
            await say(suite, channel=channel, at="2027-01-01T00:00:00Z")
        await suite.events()
        yield suite


async def say(suite: Suite, key: str = "customer:1", **statement: Any) -> Any:
    return await suite.call("PUT", f"/v1/recipients/{key}/consents", {"consents": [YES | statement]})


async def consents(suite: Suite, topic: str = "news") -> dict[str, bool]:
    held: dict[str, bool] = (await suite.resolve("customer:1", topic=topic))["customer:1"]["consents"]
    return {channel: yes for channel, yes in held.items() if yes}


async def hash_of(suite: Suite, channel: str) -> bytes:
    found = (await suite.resolve("customer:1"))["customer:1"]["addresses"]
    return b64decode(next(a["hash"] for a in found if a["channel"] == channel))
