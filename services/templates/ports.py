"""What templates needs from its store, and from the renderer."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from libs.auth import Principal
from libs.contracts.envelope import Event
from libs.contracts.outcomes import Channel
from services.templates.domain import Template, Version


@dataclass(frozen=True, slots=True)
class After:
    """Where a page starts, and the channel that it shows (None: all)."""

    name: str
    channel: Channel | None
    limit: int


class Unit(Protocol):
    """One transaction of a tenant and mode. Leaving it commits; an exception rolls it back, events too."""

    async def get(self, name: str, *, lock: bool = False) -> Template | None: ...
    async def page(self, after: After) -> Sequence[Template]: ...
    async def put(self, template: Template) -> bool:
        """Return False if somebody else wrote this version in the meantime."""

    async def add_version(self, version: Version) -> None: ...
    async def version(self, name: str, number: int) -> Version | None: ...
    async def versions(self, name: str, before: int, limit: int) -> Sequence[Version]:
        """Return versions, newest first."""

    async def published(self, names: Sequence[str]) -> Mapping[str, Version]:
        """Return the latest version of each published template."""

    async def emit(self, key: str, events: Sequence[Event]) -> None:
        """Put events into the outbox of this transaction."""


class Store(Protocol):
    """Begins transactions."""

    def begin(self, principal: Principal) -> AbstractAsyncContextManager[Unit]: ...
