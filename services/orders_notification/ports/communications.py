"""The store of communications and their releases, and what publishing needs from other services."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol
from uuid import UUID

from libs.auth import Principal
from libs.contracts.envelope import Event
from services.orders_notification.domain.communications import Communication, Definition, Release, ReleaseHead


class Communications(Protocol):
    """One transaction of a tenant and mode. Leaving it commits; an exception rolls it back, events too."""

    async def get(self, name: str, *, lock: bool = False) -> Communication | None: ...
    async def page(self, after: str, limit: int) -> Sequence[Communication]: ...
    async def put(self, communication: Communication) -> bool:
        """Return False if somebody else wrote this version in the meantime."""

    async def add_release(self, release: Release, definition: Definition) -> None: ...
    async def release(self, id_: UUID) -> Release | None: ...
    async def active(self, names: Sequence[str]) -> Mapping[str, Release]:
        """Return the active release of each that has one."""

    async def releases(self, name: str, below: int, limit: int) -> Sequence[Release]:
        """Return releases, newest first."""

    async def heads(self, name: str) -> Sequence[ReleaseHead]:
        """Return all releases without their bundles, oldest first."""

    async def schema(self, event_type: str) -> Mapping[str, Any] | None: ...
    async def changed(self) -> None:
        """Signal intake that its decision data changed."""

    async def emit(self, key: str, events: Sequence[Event]) -> None: ...


class CommunicationStore(Protocol):
    """Begins transactions."""

    def begin(self, principal: Principal) -> AbstractAsyncContextManager[Communications]: ...


class Neighbours(Protocol):
    """What publishing queries from `templates`, `access` and `delivery`: one batch call each. Raises Unavailable."""

    async def templates(self, principal: Principal, names: Sequence[str]) -> Mapping[str, Mapping[str, Any]]: ...
    async def tenant_and_topics(
        self, principal: Principal, topics: Sequence[str]
    ) -> tuple[Mapping[str, Any], Mapping[str, Mapping[str, Any]], Mapping[str, Sequence[str]]]:
        """Return the tenant (`default_locale`, `zone`), the topics that exist, and for each other the names near it."""
        ...

    async def senders(self, principal: Principal, numbers: Sequence[int]) -> Mapping[int, str]:
        """Return the channel of each sender that exists, by number."""
        ...
