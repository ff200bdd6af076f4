"""Mails, facts and suppressions in Postgres."""

from services.bounce.adapters.postgres.facts import PostgresFacts
from services.bounce.adapters.postgres.mails import PostgresMails
from services.bounce.adapters.postgres.reads import PostgresReads

__all__ = ["PostgresFacts", "PostgresMails", "PostgresReads"]
