"""Rejections for people: what arrived, why it was rejected, and whether it was replayed."""

from collections.abc import Mapping
from typing import Any

from services.orders_notification.domain.event_types import EventType
from services.orders_notification.domain.hiding import showable
from services.orders_notification.domain.intake import Raw
from services.orders_notification.ports.rejections import REPLAYED, Rejection


def rejection_shown(item: Rejection, types: Mapping[str, EventType] | None = None) -> dict[str, Any]:
    """Return a rejection; with `types`, also its bytes, headers and query, without what these mark as secret."""
    raw = Raw(item.body, item.headers, item.query)
    shown = None if types is None else showable(raw, item.event_type, types, mapped=item.source is not None)
    detail = " ".join(error.told for error in item.errors)
    return {
        "id": item.id,
        "source": item.source,
        "client": item.client,
        "reason": item.reason.word,
        "detail": item.reason.text.sentence.replace("{detail}", detail) + " " + item.reason.text.next_step,
        "errors": [{"pointer": error.pointer, "detail": error.detail} for error in item.errors],
        "event_type": item.event_type,
        "event_id": item.event_id,
        "subject": item.subject,
        "times": item.times,
        "received_at": item.received_at,
        "last_at": item.last_at,
        "state": "replayed" if item.state == REPLAYED else "open",
        "replayed_at": item.replayed_at,
        "body": shown.body.decode("utf-8", "replace") if shown else None,
        "headers": shown.headers if shown else None,
        "query": shown.query if shown else None,
    }
