"""Bounce's adapters: Postgres, delivery, and the SMTP listener."""
