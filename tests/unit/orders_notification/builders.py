"""Builders of events and releases for the tests of intake."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from libs.contracts.outcomes import Lane, Mode, OnUnknown
from libs.expressions import compile_expression
from libs.ids import ReleaseId, TenantId
from services.orders_notification.domain.releases import CompiledRelease

NOW = datetime(2027, 3, 1, 9, 30, tzinfo=UTC)


def event(id_: str = "evt-1", **changes: Any) -> dict[str, Any]:
    """Build an order.placed event."""
    return {
        "specversion": "1.0",
        "type": "order.placed",
        "source": "/shop",
        "id": id_,
        "subject": "100045",
        "time": "2027-03-01T10:29:00+01:00",
        "data": {"customer_id": "4711", "total": "59.90"},
    } | changes


def release(
    trigger: str = "order.placed",
    *,
    communication: str = "order-confirmation",
    condition: str | None = None,
    recipient: str | None = "event.data.customer_id",
    tenant: int = 1,
    mode: Mode = Mode.LIVE,
    expiry_seconds: int = 86_400,
) -> CompiledRelease:
    """Build and compile a published release."""
    variables = {"event"}
    return CompiledRelease(
        id=ReleaseId(uuid4()),
        tenant=TenantId(tenant),
        mode=mode,
        communication=communication,
        version=1,
        trigger=trigger,
        condition=compile_expression(condition, variables=variables) if condition else None,
        recipient=compile_expression(recipient, variables=variables) if recipient else None,
        lane=Lane.TRANSACTIONAL,
        on_unknown=OnUnknown.RESEND,
        expiry_seconds=expiry_seconds,
    )
