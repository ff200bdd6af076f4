"""The active releases of a tenant, compiled."""

from collections.abc import Sequence
from typing import Protocol

from libs.contracts.outcomes import Mode
from libs.ids import TenantId
from services.orders_notification.domain.releases import CompiledRelease


class ActiveReleases(Protocol):
    """Loads published releases that are not retired. Called when the catalogue's version changed, not per event."""

    async def active(self, tenant: TenantId, mode: Mode) -> Sequence[CompiledRelease]:
        """Return all active releases, compiled. A release that no longer compiles is left out and logged."""
        ...
