"""Shared by the flows of bounce: the service on a real Postgres beside a ledger that knows one message."""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest

from libs import exact_json
from libs.clock import FixedClock
from libs.contracts.bounce import SuppressionChanged
from libs.contracts.envelope import Envelope, Event, decode
from libs.contracts.outcomes import Mode
from libs.ids import message_id
from libs.service import Runtime, Service
from libs.service_client import Call, Transport
from libs.verp import ReturnPath
from services.bounce.app import create_service
from services.bounce.handlers import SUBSCRIPTIONS, mails
from services.bounce.handlers.mails import keep_mail, read_kept
from services.bounce.loops import reader
from services.bounce.settings import BounceSettings
from tests.compiled import compiled_rules
from tests.waiting import eventually

NOW = datetime(2027, 3, 1, 9, 30, tzinfo=UTC)
NOTIFICATION = UUID("0193c8a4-1e00-8f4c-b1ce-5b7a9d1c2e3f")
MESSAGE = message_id(NOTIFICATION, 17)
KIM = "kim@customer.example"
RULES_SECONDS = 120.0  # to load the rules for a mail that is handed in; a service takes two, then answers that it waits
KEYS = {"key": (1, "live"), "test": (1, "test"), "other": (2, "live"), "reader": (1, "live")}
SCOPES = {"reader": ["bounces:read"]}  # the other keys have all scopes


def report(to: str, *, status: str = "5.1.1", words: str = "550 5.1.1 User unknown", action: str = "failed") -> bytes:
    """Return a bounce mail as the recipient's server writes it."""
    return (
        f"From: MAILER-DAEMON@mx.customer.example\r\nTo: {to}\r\nSubject: Undelivered Mail Returned to Sender\r\n"
        "MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=q\r\n\r\n"
        f"--q\r\nContent-Type: text/plain\r\n\r\nSorry about {KIM}.\r\n--q\r\n"
        "Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.customer.example\r\n\r\n"
        f"Final-Recipient: rfc822; {KIM}\r\nAction: {action}\r\nStatus: {status}\r\n"
        f"Diagnostic-Code: smtp; {words}\r\n--q--\r\n"
    ).encode()


@dataclass
class World:
    """bounce over a real Postgres, beside a ledger that knows one message."""

    service: Service
    runtime: Runtime
    dsn: str
    clock: FixedClock
    ledger: dict[str, dict[str, Any]]
    away: bool = False
    asked: list[str] = field(default_factory=list)

    @property
    def path(self) -> str:
        return ReturnPath(self.runtime.keyring.key("verp"), "bounces.example").make(NOTIFICATION, 17, 1)

    def hash_of(self, address: str) -> bytes:
        return self.runtime.hasher("email", address)

    async def hear(self, event: Event, *, tenant: int = 1, mode: Mode = Mode.LIVE) -> None:
        envelope = Envelope(
            id=uuid4(), type=event.TYPE, source=event.SOURCE, time=NOW, tenant=tenant, mode=mode, key="k", data=event
        )
        await SUBSCRIPTIONS[type(event)](self.service.deps, [envelope])

    async def said(self) -> list[Any]:
        """Return everything published so far, in order."""
        connection = await asyncpg.connect(self.dsn)
        try:
            rows = await connection.fetch("select type, payload from bounce.outbox order by id")
        finally:
            await connection.close()
        return [decode(row["type"], row["payload"]) for row in rows]

    async def suppressions(self) -> list[SuppressionChanged]:
        return [event for event in await self.said() if isinstance(event, SuppressionChanged)]

    @asynccontextmanager
    async def client(self, key: str = "key") -> AsyncIterator[httpx.AsyncClient]:
        transport = httpx.ASGITransport(self.service.app, raise_app_exceptions=False)
        headers = {"authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://bounce", headers=headers) as client:
            yield client

    async def hand_in(self, raw: bytes, key: str = "key", **params: str) -> dict[str, Any]:
        async with self.client(key) as client:
            answer = await client.post(
                "/v1/mails", content=raw, params=params, headers={"content-type": "message/rfc822"}
            )
        assert answer.status_code == 202, answer.text
        return dict(answer.json())

    async def over_smtp(self, raw: bytes) -> UUID:
        """Store a mail as the listener does; it waits."""
        return (await keep_mail(self.service.deps, self.path, raw)).id

    async def read_waiting(self) -> int:
        """Read what waits as the reader does, once; return how many were leased."""
        lease = await self.service.deps.mails.lease(100, 60)
        await read_kept(self.service.deps, lease.mails)
        await self.service.deps.mails.release(lease)
        return len(lease.mails)

    async def get(self, path: str, key: str = "key", **params: Any) -> Any:
        async with self.client(key) as client:
            answer = await client.get(path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, path: str, body: Any, key: str = "key") -> httpx.Response:
        async with self.client(key) as client:
            return await client.post(path, json=body)


def access() -> Transport:
    async def answer(call: Call) -> tuple[int, bytes]:
        key = exact_json.loads(call.body)["key"]
        tenant, mode = KEYS[key]
        return 200, exact_json.dumps(
            {"key_id": key, "tenant": tenant, "mode": mode, "scopes": SCOPES.get(key, ["admin"])}
        )

    return answer


@pytest.fixture
async def world(
    database: str,
    make_runtime: Callable[[str], Runtime],
    transports: dict[str, Transport],
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[World]:
    compiled_rules()
    monkeypatch.setattr(mails, "_RULES_SECONDS", RULES_SECONDS)
    clock = FixedClock(NOW)
    runtime = make_runtime(database)
    object.__setattr__(runtime, "clock", clock)
    ledger: dict[str, dict[str, Any]] = {}
    ledger[MESSAGE] = {
        "tenant": 1,
        "mode": "live",
        "address_hash": base64.b64encode(runtime.hasher("email", KIM)).decode(),
        "recipient": "customer:1042",
        "sender": 1,
        "channel": "email",
        "category": "transactional",
        "status": "sent",
    }

    async def delivery(call: Call) -> tuple[int, bytes]:
        if made.away:
            return 503, b'{"detail": "away"}'
        ids = exact_json.loads(call.body)["ids"]
        made.asked += ids
        return 200, exact_json.dumps({id_: made.ledger[id_] for id_ in ids if id_ in made.ledger})

    transports |= {"access": access(), "delivery": delivery}
    service = create_service(
        runtime, BounceSettings(smtp_port=1, max_recipients=3, max_mail_bytes=50_000, trusted_providers=("*",))
    )
    made = World(service, runtime, database, clock, ledger)
    async with service.running():
        yield made


async def shown_state(world: World, mail: str, state: str) -> bool:
    return bool((await world.get(f"/v1/mails/{mail}"))["state"] == state)


async def until(world: World, wanted: Callable[[], Awaitable[bool]]) -> None:
    stop = asyncio.Event()
    task = asyncio.create_task(reader(world.service.deps, stop))
    try:
        await eventually(wanted)
    finally:
        stop.set()
        await task
