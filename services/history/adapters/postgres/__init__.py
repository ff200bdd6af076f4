"""Timeline and audit in Postgres."""

from services.history.adapters.postgres.audit import PostgresAudit
from services.history.adapters.postgres.days import PostgresDays
from services.history.adapters.postgres.records import PostgresRecords
from services.history.adapters.postgres.spill import PostgresSpill
from services.history.adapters.postgres.terms import Terms
from services.history.adapters.postgres.timeline import PostgresTimeline

SERVER_SETTINGS = {
    # a statement planned on an empty partition must not scan a full one later; compiling costs more than any lookup
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
    # planned with its values, a statement opens only the partitions that it needs
    "plan_cache_mode": "force_custom_plan",
}

__all__ = [
    "SERVER_SETTINGS",
    "PostgresAudit",
    "PostgresDays",
    "PostgresRecords",
    "PostgresSpill",
    "PostgresTimeline",
    "Terms",
]
