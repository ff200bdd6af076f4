"""The active releases of a tenant, compiled."""

from collections.abc import Sequence
from typing import Protocol

from libs.contracts.outcomes import Mode
from libs.ids import TenantId
from services.orders_notification.domain.releases import CompiledRelease


class ActiveReleases(Protocol):
    """Loads what is published and not retired. Called when the catalogue's version has moved, not per event."""

    async def active(self, tenant: TenantId, mode: Mode) -> Sequence[CompiledRelease]:
        """All active releases; expressions compiled. A release that no longer compiles is left out and logged."""
        ...
