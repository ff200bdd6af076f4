"""Mails, facts and their consequences in Postgres."""

from services.bounce.adapters.postgres.barring import PostgresSuppressions
from services.bounce.adapters.postgres.contacts import PostgresContacts
from services.bounce.adapters.postgres.domains import PostgresDomains
from services.bounce.adapters.postgres.facts import PostgresFacts
from services.bounce.adapters.postgres.judgements import PostgresJudgements
from services.bounce.adapters.postgres.mails import PostgresMails
from services.bounce.adapters.postgres.pruning import PostgresRollups
from services.bounce.adapters.postgres.reads import PostgresReads
from services.bounce.adapters.postgres.replaying import PostgresStoredFacts
from services.bounce.adapters.postgres.replays import PostgresReplays
from services.bounce.adapters.postgres.reports import PostgresReports
from services.bounce.adapters.postgres.rule_sets import PostgresRuleSets
from services.bounce.adapters.postgres.rules import PostgresRules
from services.bounce.adapters.postgres.statistics import PostgresFigures
from services.bounce.adapters.postgres.telling import PostgresTelling
from services.bounce.adapters.postgres.watching import PostgresBreakers
from services.bounce.adapters.postgres.webhooks import PostgresWebhooks

SERVER_SETTINGS = {"jit": "off"}  # compiling would cost more than any query here

__all__ = [
    "SERVER_SETTINGS",
    "PostgresBreakers",
    "PostgresContacts",
    "PostgresDomains",
    "PostgresFacts",
    "PostgresFigures",
    "PostgresJudgements",
    "PostgresMails",
    "PostgresReads",
    "PostgresReplays",
    "PostgresReports",
    "PostgresRollups",
    "PostgresRuleSets",
    "PostgresRules",
    "PostgresStoredFacts",
    "PostgresSuppressions",
    "PostgresTelling",
    "PostgresWebhooks",
]
