"""What access needs of its store: one transaction with tenants, topics, keys and the events about them."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from libs.contracts.envelope import Event
from libs.contracts.outcomes import Mode
from services.access.domain import ApiKey, Tenant, Topic


class Tenants(Protocol):
    """Tenants by number."""

    async def lock(self) -> None:
        """Let nobody else create or change a tenant until this transaction ends; others may read."""

    async def get(self, number: int) -> Tenant | None: ...
    async def named(self, name: str) -> Tenant | None: ...
    async def page(self, after: int, limit: int) -> Sequence[Tenant]: ...
    async def numbered(self, numbers: Sequence[int]) -> Sequence[Tenant]: ...
    async def next_number(self) -> int: ...
    async def put(self, tenant: Tenant) -> None: ...


class Topics(Protocol):
    """Topics by name, within a tenant and mode."""

    async def get(self, tenant: int, mode: Mode, name: str, *, lock: bool = False) -> Topic | None: ...
    async def page(self, tenant: int, mode: Mode, after: str, limit: int) -> Sequence[Topic]: ...
    async def named(self, tenant: int, mode: Mode, names: Sequence[str]) -> Sequence[Topic]: ...
    async def put(self, tenant: int, mode: Mode, topic: Topic) -> bool:
        """Return False if somebody else wrote this version meanwhile."""


class Keys(Protocol):
    """API keys by id."""

    async def get(self, id_: str, *, lock: bool = False) -> ApiKey | None: ...
    async def page(self, tenant: int, after: str, limit: int) -> Sequence[ApiKey]: ...
    async def add(self, key: ApiKey) -> None: ...
    async def end(self, id_: str, *, expires_at: datetime | None, revoked_at: datetime | None) -> None: ...
    async def used(self, id_: str, at: datetime) -> None: ...
    async def other_admins(self, key: ApiKey, now: datetime) -> bool: ...


class Unit(Protocol):
    """One transaction. Leaving it commits; an exception undoes everything, including events."""

    @property
    def tenants(self) -> Tenants: ...
    @property
    def topics(self) -> Topics: ...
    @property
    def keys(self) -> Keys: ...
    async def emit(self, tenant: int, mode: Mode, events: Sequence[tuple[str, Event]]) -> None:
        """Put events, each with its partition key, into the outbox of this transaction."""


class Store(Protocol):
    """Where transactions begin."""

    def begin(self) -> AbstractAsyncContextManager[Unit]: ...


class CredentialsFile(Protocol):
    """Where `up` leaves the first keys for the command line."""

    def keys(self) -> dict[Mode, str]: ...
    def write(self, keys: dict[Mode, str]) -> None: ...
