"""Deletes expired roll-ups and facts in small batches, found through each table's index."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from uuid import UUID

from libs.contracts.outcomes import Mode
from libs.storage.database import Database
from services.bounce.adapters.postgres.tenants import tenants_in
from services.bounce.domain.figures import Grain

_MOST = 5_000
_MODES = ", ".join(f"({mode:d})" for mode in Mode)


def _old(table: str, which: str) -> str:
    """Go tenant by tenant, so that the index leads to the oldest rows of each."""
    return f"""{tenants_in(table)}
delete from {table} where ctid = any(array(
  select o.place from t cross join (values {_MODES}) as m (mode) {which} limit {_MOST}))
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


_REALMS = f"""{tenants_in("bounce")}
select tenant, mode from t cross join (values {_MODES}) as m (mode) where tenant is not null
"""  # noqa: S608 - our own statement
# fact by fact: a search for the oldest ones would pass all those that stay
_FACTS = """
with seen as (
  select id, at, address_hash from bounce
  where tenant = $1 and mode = $2 and at < $3 and (at, id) > ($4, $5) order by at, id limit $6),
gone as (
  delete from bounce b using seen where b.id = seen.id and not exists (
    select from suppression s where s.tenant = $1 and s.mode = $2 and s.address_hash = seen.address_hash
      and s.active and (s.bounce_id = seen.id or seen.id = any(s.evidence)))
  returning 1)
select at, id, (select count(*) from gone) as dropped, count(*) over () as seen from seen
order by at desc, id desc limit 1
"""
_START = (datetime(1, 1, 1, tzinfo=UTC), UUID(int=0))


async def drop_facts_before(database: Database, moment: datetime) -> int:
    """Walk once over all facts from before the moment; the evidence of suppressions in force stays."""
    async with database.acquire() as connection:
        realms = await connection.fetch(_REALMS)
    return sum([await _drop_facts(database, (row["tenant"], row["mode"]), moment) for row in realms])


async def _drop_facts(database: Database, realm: tuple[int, int], moment: datetime) -> int:
    dropped, place, full = 0, _START, True
    while full:
        async with database.acquire() as connection:
            row = await connection.fetchrow(_FACTS, *realm, moment, *place, _MOST)
        if row is None:
            break
        dropped, place, full = dropped + row["dropped"], (row["at"], row["id"]), row["seen"] == _MOST
    return dropped


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
