"""Deletes expired roll-ups in small batches, found through each table's index."""

from dataclasses import dataclass
from datetime import date, datetime

from libs.storage.database import Database
from services.bounce.adapters.postgres.tenants import tenants_in
from services.bounce.domain.figures import Grain

_MOST = 5_000


def _old(table: str, which: str) -> str:
    """Go tenant by tenant, so that the index leads to the oldest rows of each."""
    return f"""{tenants_in(table)}
delete from {table} where ctid = any(array(
  select o.place from t cross join generate_series(0, 1) as m (mode) {which} limit {_MOST}))
"""  # noqa: S608 - our own statement


_FIGURES = _old(
    "figure",
    f"""cross join unnest($2::smallint[]) as g (grain) cross join lateral (
    select ctid as place from figure where tenant = t.tenant and mode = m.mode and grain = g.grain and bucket < $1
    order by bucket limit {_MOST}) as o""",  # noqa: S608 - our own statement
)
_RULE_HITS, _UNREAD, _OPINIONS, _HEALTH = (
    _old(
        table,
        f"""cross join lateral (
    select ctid as place from {table} where tenant = t.tenant and mode = m.mode and day < $1
    order by day limit {_MOST}) as o""",  # noqa: S608 - our own statement
    )
    for table in ("rule_hit", "unread", "opinion", "health")
)


@dataclass(frozen=True, slots=True)
class PostgresRollups:
    database: Database

    async def forget_before(self, hour: datetime, day: date) -> int:
        """Delete a batch of hourly figures before `hour`, and of daily and rule figures before `day`; return how many
        rows."""
        midnight = datetime(day.year, day.month, day.day, tzinfo=hour.tzinfo)
        dropped = 0
        async with self.database.acquire() as connection:
            for grain, moment in ((Grain.HOUR, hour), (Grain.DAY, midnight)):
                tag = await connection.execute(_FIGURES, moment, [int(grain), int(grain.narrow)])
                dropped += int(tag.rpartition(" ")[2])
            for statement in (_RULE_HITS, _UNREAD, _OPINIONS, _HEALTH):
                tag = await connection.execute(statement, day)
                dropped += int(tag.rpartition(" ")[2])
        return dropped
