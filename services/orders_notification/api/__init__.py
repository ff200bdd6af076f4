"""HTTP in: parse, call, shape the answer. One module per resource."""

from services.orders_notification.api import communications, event_types, events, rejections, sources

ROUTERS = (events.router, sources.router, event_types.router, rejections.router, communications.router)
