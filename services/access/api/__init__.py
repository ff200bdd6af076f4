"""HTTP routes: tenants, topics, keys, and lookups for other services."""

from services.access.api import keys, lookups, tenants, topics

ROUTERS = (tenants.router, topics.router, keys.router, lookups.router)
