"""In-memory catalogues: one cheap query for the versions before each batch, a reload only of those that changed.

The next event is therefore decided by every release published so far, on whichever replica.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Protocol

from libs.contracts.outcomes import Mode
from libs.ids import TenantId
from services.orders_notification.domain.event_types import EventType
from services.orders_notification.domain.releases import Catalogue, catalogue
from services.orders_notification.ports.intake import TenantMode
from services.orders_notification.ports.releases import ActiveReleases


class Versions(Protocol):
    """The current versions."""

    async def versions(self) -> Mapping[tuple[int, int], int]: ...


class DeclaredTypes(Protocol):
    """All event types of a tenant and mode, compiled."""

    async def declared(self, tenant: int, mode: Mode) -> list[EventType]: ...


class CachedCatalogues:
    """Implements ports.intake.Catalogues."""

    def __init__(self, versions: Versions, releases: ActiveReleases, types: DeclaredTypes) -> None:
        self._versions = versions
        self._releases = releases
        self._types = types
        self._held: dict[TenantMode, Catalogue] = {}
        self._loading = asyncio.Lock()

    async def current(self, wanted: Iterable[TenantMode]) -> Mapping[TenantMode, Catalogue]:
        versions = await self._versions.versions()
        found: dict[TenantMode, Catalogue] = {}
        for tenant, mode in wanted:
            version = versions.get((tenant, int(mode)), 0)
            held = self._held.get((tenant, mode))
            if held is None or held.version < version:
                held = await self._load(tenant, mode, version)
            found[tenant, mode] = held
        return found

    async def _load(self, tenant: int, mode: Mode, version: int) -> Catalogue:
        async with self._loading:
            held = self._held.get((tenant, mode))
            if held is not None and held.version >= version:
                return held
            # read after the version: the loaded catalogue is at least that new, and at worst loaded once more
            releases = await self._releases.active(TenantId(tenant), mode)
            types = await self._types.declared(tenant, mode)
            made = self._held[tenant, mode] = catalogue(version, releases, types)
            return made
