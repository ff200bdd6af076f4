"""Reads for API and console."""

from services.orders_notification.queries.events import event_head, events, trace
from services.orders_notification.queries.rejections import rejection_shown

__all__ = ["event_head", "events", "rejection_shown", "trace"]
