"""Events with their decisions, for people and for `why`; marked PII is hidden without its scope."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from libs import exact_json
from libs.auth import Principal
from services.orders_notification.domain.cloudevents import traceparent_of
from services.orders_notification.domain.event_types import without
from services.orders_notification.ports.deps import OrdersNotification
from services.orders_notification.ports.events import EventRow
from services.orders_notification.ports.rejections import Filter
from services.orders_notification.queries.rejections import rejection_shown

_PER_SUBJECT = 100


async def events(deps: OrdersNotification, principal: Principal, ids: Sequence[UUID]) -> list[dict[str, Any]]:
    """Return these events with data and decisions; unknown ids are left out."""
    rows = await deps.reader.by_ids(principal.tenant, principal.mode, ids)
    return await _detailed(deps, principal, rows)


async def trace(
    deps: OrdersNotification, principal: Principal, causes: Sequence[UUID], subjects: Sequence[str]
) -> dict[str, Any]:
    """Return what is known about causes and subjects: accepted events, and stored rejections."""
    tenant, mode = principal.tenant, principal.mode
    rows = await deps.reader.by_ids(tenant, mode, causes) if causes else []
    kept = await deps.rejections.find(tenant, mode, Filter(limit=len(causes), ids=causes)) if causes else []
    if subjects:
        rows += await deps.reader.by_subjects(tenant, mode, subjects, _PER_SUBJECT)
        kept += await deps.rejections.find(tenant, mode, Filter(limit=_PER_SUBJECT, subjects=subjects))
    unique = list({row.id: row for row in rows}.values())
    return {
        "events": await _detailed(deps, principal, unique),
        "rejections": [rejection_shown(item) for item in {k.id: k for k in kept}.values()],
    }


def event_head(row: EventRow) -> dict[str, Any]:
    """Return an event without its data."""
    return {
        "id": row.id,
        "type": row.type,
        "source": row.source,
        "event_id": row.event_id,
        "subject": row.subject,
        "recipient": row.recipient,
        "client": row.client,
        "time": row.time,
        "occurred_at": row.occurred_at,
        "received_at": row.received_at,
        "state": "settled" if row.requested and row.settled >= row.requested else "decided",
        "requests": row.requested,
        "requests_settled": row.settled,
        "trace_id": told.split("-")[1] if (told := traceparent_of(row.traceparent)) else None,
    }


async def _detailed(deps: OrdersNotification, principal: Principal, rows: Sequence[EventRow]) -> list[dict[str, Any]]:
    if not rows:
        return []
    owner = (principal.tenant, principal.mode)
    catalogue = (await deps.catalogues.current([owner]))[owner]
    detailed = []
    for row in rows:
        declared = catalogue.event_types.get(row.type)
        data = None if row.body is None else exact_json.loads(row.body)
        if declared is not None and not principal.may("pii:read"):
            data = without(data, declared.pii)
        detailed.append(event_head(row) | {"data": data, "extensions": row.extensions, "decisions": row.decisions})
    return detailed
