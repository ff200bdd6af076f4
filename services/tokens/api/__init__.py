"""HTTP in: parse, call, shape the answer."""

from services.tokens.api import addresses, consents, devices, imports, internal, recipients, unsubscribe

# addresses and consents first: a recipient's key may hold slashes, so its own routes match everything below
ROUTERS = (
    addresses.router,
    consents.router,
    recipients.router,
    devices.router,
    imports.router,
    internal.router,
    unsubscribe.router,
)
