"""HTTP in: parse, call, shape the answer."""

from services.delivery.api import callbacks, messages, operations

ROUTERS = (operations.router, messages.router, callbacks.router)
