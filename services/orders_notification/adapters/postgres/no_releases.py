"""No releases."""

from collections.abc import Sequence

from libs.contracts.outcomes import Mode
from libs.ids import TenantId
from services.orders_notification.domain.releases import CompiledRelease


class NoReleases:
    async def active(self, tenant: TenantId, mode: Mode) -> Sequence[CompiledRelease]:
        return ()
