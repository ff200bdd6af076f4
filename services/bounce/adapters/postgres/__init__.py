"""Mails, facts and what follows from them in Postgres."""

from services.bounce.adapters.postgres.barring import PostgresSuppressions
from services.bounce.adapters.postgres.contacts import PostgresContacts
from services.bounce.adapters.postgres.domains import PostgresDomains
from services.bounce.adapters.postgres.facts import PostgresFacts
from services.bounce.adapters.postgres.mails import PostgresMails
from services.bounce.adapters.postgres.reads import PostgresReads
from services.bounce.adapters.postgres.statistics import PostgresFigures
from services.bounce.adapters.postgres.telling import PostgresTelling
from services.bounce.adapters.postgres.watching import PostgresBreakers
from services.bounce.adapters.postgres.webhooks import PostgresWebhooks

__all__ = [
    "PostgresBreakers",
    "PostgresContacts",
    "PostgresDomains",
    "PostgresFacts",
    "PostgresFigures",
    "PostgresMails",
    "PostgresReads",
    "PostgresSuppressions",
    "PostgresTelling",
    "PostgresWebhooks",
]
