"""Shared by the routes of this service."""

from fastapi import Request

from services.orders_notification.ports.deps import OrdersNotification


def deps_of(request: Request) -> OrdersNotification:
    """Return the dependencies that app.py built."""
    deps: OrdersNotification = request.app.state.deps
    return deps
