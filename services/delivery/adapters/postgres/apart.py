"""Shared rows of the queue, taken apart: each of their requests gets a row of its own, as it would have had alone.

Done before anything out of the ordinary happens to them: so recovery, holds and retries know rows of one request only.
A request of which nothing is pending any more needs none.
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
# Leased rows are left alone, as holds leave those of one request.
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
    """Some of those whose lease ran out; their own rows have run out too."""
    await connection.execute(_EXPIRED, _MOST)


async def take_stopped_apart(connection: Any, hold: tuple[int, int, str], target: UUID | None) -> None:
    """Those that wait and hold a request that the hold (tenant, mode, kind) stops."""
    await connection.execute(_STOPPED, *hold, target)
