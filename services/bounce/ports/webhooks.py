"""What webhooks need: a store for them and their events, and a caller."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from libs.contracts.audit import ActionRecorded
from libs.contracts.outcomes import Mode
from services.bounce.domain.webhooks import Answer, Call, Told, Webhook

Realm = tuple[int, Mode]


@dataclass(frozen=True, slots=True)
class ForWebhooks:
    """An event in the form sent to webhooks."""

    realm: Realm
    id: UUID
    kind: str
    at: datetime
    body: bytes
    recipient: str | None
    began: datetime  # an erasure after it takes the event along


@dataclass(frozen=True, slots=True)
class Again:
    """Which events to send again: those given up since a time, also delivered ones, or some by id."""

    since: datetime
    until: datetime
    delivered: bool
    events: Sequence[UUID]


class Webhooks(Protocol):
    """Webhooks as people set them up; each change is one transaction with its audit."""

    async def all(self, realm: Realm) -> list[Webhook]: ...

    async def get(self, realm: Realm, id: UUID) -> Webhook | None: ...

    async def put(self, webhook: Webhook, action: ActionRecorded, was: int) -> bool:
        """Create it (`was` 0) or change version `was` of it; return false if that is no longer the current one."""
        ...

    async def delete(self, webhook: Webhook, action: ActionRecorded) -> bool: ...

    async def counts(self, ids: Sequence[UUID]) -> Mapping[UUID, tuple[int, int]]:
        """Count waiting and given-up events, up to 10,000 of each."""
        ...

    async def attempts(self, id: UUID, after: UUID | None, limit: int) -> list[Mapping[str, Any]]: ...


class Telling(Protocol):
    """Events on their way to webhooks."""

    async def listening(self) -> set[Realm]: ...

    async def add(self, events: Sequence[ForWebhooks]) -> None: ...

    async def claim(self, limit: int, now: datetime, seconds: float) -> list[Webhook]:
        """Lease webhooks that have something due to the caller, for that many seconds."""
        ...

    async def due(self, webhook: UUID, now: datetime, limit: int) -> list[Told]: ...

    async def settle(self, webhook: Webhook, calls: Sequence[Call], now: datetime) -> None:
        """Store the results of calls and the webhook's new state; release it."""
        ...

    async def log(self, webhook: Webhook, call: Call, action: ActionRecorded) -> None: ...

    async def again(self, webhook: Webhook, wanted: Again, action: ActionRecorded) -> int:
        """Make events due again; return how many. Like `log`, one transaction with its audit."""
        ...

    async def forget_before(self, moment: datetime) -> int: ...


class Caller(Protocol):
    """Calls a URL once; every failure is an answer too."""

    async def call(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer: ...

    async def aclose(self) -> None: ...
