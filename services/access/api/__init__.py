"""HTTP in: tenants, topics, keys, and what other services ask."""

from services.access.api import keys, lookups, tenants, topics

ROUTERS = (tenants.router, topics.router, keys.router, lookups.router)
