"""Rejections for people: what arrived, why it was rejected, and whether it was replayed."""

from typing import Any

from services.orders_notification.ports.rejections import REPLAYED, Rejection


def rejection_shown(item: Rejection, *, unmasked: bool) -> dict[str, Any]:
    """Return a rejection; its bytes and headers may contain anything, so they need `unmasked`."""
    detail = " ".join(error.detail for error in item.errors)
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
        "body": item.body.decode("utf-8", "replace") if unmasked else None,
        "headers": item.headers if unmasked else None,
    }
