"""Tokens per sender, shared by all workers: a bucket in one row, locked while a claim takes from it."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from libs.contracts.outcomes import Lane

# The share that bulk leaves in the bucket, so that a one-time code does not queue behind a campaign. A bucket of one
# token has no room for a reserve: bulk could never take it.
RESERVE = 0.2
_LONGEST_WAIT_SECONDS = 60.0

_READ = """
select t.tenant, t.mode, t.sender, t.rate, t.burst,
       least(t.burst, t.available + greatest(0, extract(epoch from clock_timestamp() - t.at)) * t.rate)::float8
from throttle t join unnest($1::int[], $2::int[], $3::int[]) as w (tenant, mode, sender)
  on t.tenant = w.tenant and t.mode = w.mode and t.sender = w.sender
order by t.tenant, t.mode, t.sender for update of t
"""
_TAKE = """
update throttle t set available = w.available, at = clock_timestamp()
from unnest($1::int[], $2::int[], $3::int[], $4::float8[]) as w (tenant, mode, sender, available)
where t.tenant = w.tenant and t.mode = w.mode and t.sender = w.sender
"""

Key = tuple[int, int, int]  # tenant, mode, sender


async def grant(
    connection: Any, wanted: Mapping[Key, int], lane: Lane, now: datetime
) -> dict[Key, tuple[int, datetime]]:
    """Return, for each rate-limited sender that cannot grant all: how many it grants, and when to ask for the rest."""
    if not wanted:
        return {}
    keys = sorted(wanted)
    rows = await connection.fetch(_READ, [key[0] for key in keys], [key[1] for key in keys], [key[2] for key in keys])
    if not rows:
        return {}
    short: dict[Key, tuple[int, datetime]] = {}
    taken: list[tuple[int, int, int, float]] = []
    for tenant, mode, sender, rate, burst, available in rows:
        asked = wanted[tenant, mode, sender]
        floor = min(burst * RESERVE, max(0.0, burst - 1.0)) if lane is Lane.BULK else 0.0
        granted = min(asked, max(0, int(available - floor)))
        taken.append((tenant, mode, sender, available - granted))
        if granted < asked:
            lacking = min(asked - granted, burst - floor) - (available - granted - floor)
            wait = min(_LONGEST_WAIT_SECONDS, max(0.05, lacking / rate)) if rate > 0 else _LONGEST_WAIT_SECONDS
            short[tenant, mode, sender] = (granted, now + timedelta(seconds=wait))
    await connection.execute(_TAKE, *map(list, zip(*taken, strict=True)))
    return short
