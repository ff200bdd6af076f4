"""Split shared queue rows: each of their requests gets the row that it would have had alone.

This happens before anything unusual is done to them, so recovery, holds and retries only see rows of one request. A
request with nothing pending gets no row.
"""

from typing import Any
from uuid import UUID

_OWN_ROWS = """
insert into work (request_id, lane, due_at, ordinals, calling, crashes, leased_until)
select r.id, g.lane, g.due_at, g.ordinals, g.calling, g.crashes, g.leased_until
from gone g, unnest(g.together) as t (id) join request r on r.id = t.id where r.pending > 0
"""
_EXPIRED = f"""
with lost as materialized (
  select id from work where together is not null and leased_until > '-infinity' and leased_until < now()
  order by id limit $1 for update skip locked)
, gone as (delete from work w using lost l where w.id = l.id returning w.*)
{_OWN_ROWS}
"""  # noqa: S608 - our own words
# Leased rows are left alone, as holds leave single-request rows.
_STOPPED = f"""
with gone as (
  delete from work w where w.together is not null and w.leased_until = '-infinity' and exists (
    select from request r where r.id = any(w.together) and r.tenant = $1 and r.mode = $2
      and (($3 = 'cause' and r.cause_id = $4::uuid) or ($3 = 'release' and r.release_id = $4::uuid) or $3 = 'tenant'))
  returning w.*)
{_OWN_ROWS}
"""  # noqa: S608 - our own words
_MOST = 20


async def take_expired_apart(connection: Any) -> None:
    """Split some of the shared rows whose lease ran out; the new rows count as expired too."""
    await connection.execute(_EXPIRED, _MOST)


async def take_stopped_apart(connection: Any, hold: tuple[int, int, str], target: UUID | None) -> None:
    """Split the waiting shared rows with a request that the hold (tenant, mode, kind) stops."""
    await connection.execute(_STOPPED, *hold, target)
