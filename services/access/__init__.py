"""access: tenants, topics and API keys. Who may call, and for whom."""
