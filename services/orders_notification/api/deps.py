"""What the routes of this service share."""

from fastapi import Request

from services.orders_notification.ports.deps import OrdersNotification


def deps_of(request: Request) -> OrdersNotification:
    """The dependencies that app.py built."""
    deps: OrdersNotification = request.app.state.deps
    return deps
