"""HTTP routes: parse, call, shape the response."""

from services.tokens.api.addresses import router as addresses
from services.tokens.api.consents import router as consents
from services.tokens.api.devices import router as devices
from services.tokens.api.imports import router as imports
from services.tokens.api.internal import router as internal
from services.tokens.api.recipients import router as recipients
from services.tokens.api.unsubscribe import router as unsubscribe

# addresses and consents first: a recipient's key may contain slashes, so its own routes match everything below
ROUTERS = (addresses, consents, recipients, devices, imports, internal, unsubscribe)
