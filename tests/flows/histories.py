"""What the flows of history share: the service on a real Postgres, and stories told as events."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from libs import exact_json
from libs.clock import FixedClock
from libs.contracts.delivery import MessageRecorded, Transition
from libs.contracts.envelope import Envelope, Event
from libs.contracts.orders_notification import Decision, DecisionRecorded
from libs.contracts.outcomes import Mode, Status
from libs.ids import first_id_at, message_id, notification_id, time_of
from libs.service import Runtime, Service
from libs.service_client import Call, Transport
from services.history.app import create_service
from services.history.handlers import SUBSCRIPTIONS

NOW = datetime(2027, 3, 1, 9, 30, tzinfo=UTC)
KIM = "customer:1042"
ORDER = "A-1042"
KEYS: dict[str, tuple[int, str, list[str]]] = {
    "support": (1, "live", ["history:read"]),
    "admin": (1, "live", ["admin"]),
    "other": (2, "live", ["admin"]),
    "none": (1, "live", ["events:send"]),
}


@dataclass
class World:
    """Shared by the flows of history: the service on a real Postgres, and stories told as events."""

    service: Service
    runtime: Runtime
    delivery: dict[str, Any] = field(default_factory=dict)
    rendered: dict[str, Any] = field(default_factory=dict)
    traced: dict[str, Any] = field(default_factory=lambda: {"events": [], "rejections": []})
    away: bool = False

    async def hear(self, event: Event, *, tenant: int = 1, subject: str | None = ORDER, at: datetime = NOW) -> None:
        envelope = Envelope(
            id=UUID(int=first_id_at(at).int | uuid4().int >> 64),  # as if it happened then
            type=event.TYPE,
            source=event.SOURCE,
            time=at,
            tenant=tenant,
            mode=Mode.LIVE,
            key="k",
            data=event,
            subject=subject,
        )
        await SUBSCRIPTIONS[type(event)](self.service.deps, [envelope])

    @asynccontextmanager
    async def client(self, key: str = "support") -> AsyncIterator[httpx.AsyncClient]:
        transport = httpx.ASGITransport(self.service.app, raise_app_exceptions=False)
        headers = {"authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://history", headers=headers) as client:
            yield client

    async def why(self, key: str = "support", **asked: str) -> dict[str, Any]:
        async with self.client(key) as client:
            answer = await client.get("/v1/why", params=asked)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def timeline(self, key: str = "support", **asked: Any) -> dict[str, Any]:
        async with self.client(key) as client:
            answer = await client.get("/v1/timeline", params=asked)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def told(
        self,
        *steps: tuple[Status, Status, int],
        minutes: float = 0,
        reason: str = "none",
        name: str = "parcel-shipped",
        recipient: str = KIM,
    ) -> str:
        """Record one message's story, from its event on; return the message's id."""
        cause = first_id_at(NOW + timedelta(minutes=minutes))
        await self.decided("requested", cause=cause, name=name, recipient=recipient)
        notification = notification_id(cause, name, recipient)
        moved = tuple(
            Transition(
                notification_id=notification,
                address_id=17,
                recipient=recipient,
                attempt=attempt,
                was=was.word,
                is_=is_.word,
                reason="timed_out" if is_ is Status.UNKNOWN else reason,
                at=NOW + timedelta(minutes=minutes, seconds=index + 1),
                channel="email",
                sender=1,
                address_hash=self.runtime.hasher("email", "kim@example.com"),
            )
            for index, (was, is_, attempt) in enumerate(steps)
        )
        if moved:
            await self.hear(
                MessageRecorded(
                    request_id=uuid4(), cause_id=cause, release_id=uuid4(), communication=name, transitions=moved
                )
            )
        return message_id(notification, 17)

    async def decided(
        self, outcome: str, *, cause: UUID, name: str | None, recipient: str | None = KIM, subject: str = ORDER
    ) -> None:
        requested = name is not None and recipient is not None and outcome == "requested"
        decision = Decision(
            communication=name,
            outcome=outcome,
            recipient=recipient,
            notification_id=notification_id(cause, str(name), str(recipient)) if requested else None,
        )
        await self.hear(
            DecisionRecorded(
                cause_id=cause,
                event_id=f"e-{cause.int >> 80}",
                event_type="parcel.shipped",
                event_source="shop",
                received_at=time_of(cause),
                decisions=(decision,),
            ),
            subject=subject,
        )


SENT = (Status.SENDING, Status.SENT, 1)


def access() -> Transport:
    async def answer(call: Call) -> tuple[int, bytes]:
        key = exact_json.loads(call.body)["key"]
        tenant, mode, scopes = KEYS[key]
        return 200, exact_json.dumps({"key_id": key, "tenant": tenant, "mode": mode, "scopes": scopes})

    return answer


@pytest.fixture
async def world(
    database: str, make_runtime: Callable[[str], Runtime], transports: dict[str, Transport]
) -> AsyncIterator[World]:
    made: list[World] = []

    async def delivery(call: Call) -> tuple[int, bytes]:
        if made[0].away:
            return 503, b"{}"
        known = made[0].delivery if call.path.endswith("explain") else made[0].rendered
        name = "notifications" if call.path.endswith("explain") else "messages"
        ids = exact_json.loads(call.body)["ids"]
        return 200, exact_json.dumps({name: {id_: known[id_] for id_ in ids if id_ in known}})

    async def intake(call: Call) -> tuple[int, bytes]:
        return (503, b"{}") if made[0].away else (200, exact_json.dumps(made[0].traced))

    transports |= {"access": access(), "delivery": delivery, "orders-notification": intake}
    runtime = make_runtime(database)
    object.__setattr__(runtime, "clock", FixedClock(NOW + timedelta(hours=2)))
    service = create_service(runtime)
    made.append(World(service, runtime))
    async with service.running():
        yield made[0]
