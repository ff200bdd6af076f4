"""Roll-ups: updated in the transaction of their facts, last of all, because many transactions contend for them."""

from collections.abc import Iterable
from typing import Any

from libs.storage.arrays import columns
from services.bounce.domain.figures import Figures

_ADD = """
insert into figure as f (tenant, mode, grain, bucket, category, provider, from_domain, communication, facts, first,
                         suppressed, lifted, parked)
select * from unnest($1::smallint[], $2::smallint[], $3::smallint[], $4::timestamptz[], $5::text[], $6::text[],
  $7::text[], $8::text[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[])
on conflict (tenant, mode, grain, bucket, category, provider, from_domain, communication) do update set
  facts = f.facts + excluded.facts, first = f.first + excluded.first, suppressed = f.suppressed + excluded.suppressed,
  lifted = f.lifted + excluded.lifted, parked = f.parked + excluded.parked
"""
_BLOCKED = """
insert into health as h (tenant, mode, day, sender, about, provider, category, count, last_at, last_bounce)
select * from unnest($1::smallint[], $2::smallint[], $3::date[], $4::smallint[], $5::text[], $6::text[], $7::text[],
  $8::bigint[], $9::timestamptz[], $10::uuid[])
on conflict (tenant, mode, day, sender, about, provider, category) do update set count = h.count + excluded.count,
  last_at = greatest(h.last_at, excluded.last_at),
  last_bounce = case when excluded.last_at > h.last_at then excluded.last_bounce else h.last_bounce end
"""


async def add_figures(connection: Any, figures: Figures) -> None:
    """Add a transaction's counts; rows are locked in key order."""
    if figures.rows:
        rows = [
            (*place, counts.facts, counts.first, counts.suppressed, counts.lifted, counts.parked)
            for place, counts in sorted(figures.rows.items())
        ]
        await connection.execute(_ADD, *columns(rows))


async def add_blocks(connection: Any, blocks: Iterable[tuple[Any, ...]]) -> None:
    """Add to the senders' health: key columns, then time and id of the fact; each row is one block."""
    counted: dict[tuple[Any, ...], tuple[int, Any, Any]] = {}
    for *key, at, bounce in blocks:
        count, last_at, last = counted.get(tuple(key), (0, at, bounce))
        counted[tuple(key)] = (count + 1, max(at, last_at), bounce if at >= last_at else last)
    if counted:
        rows = [(*key, *values) for key, values in sorted(counted.items())]
        await connection.execute(_BLOCKED, *columns(rows))
