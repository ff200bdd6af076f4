"""Counts for rules: updated in the transaction of the facts, one statement per table."""

from collections.abc import Mapping, Sequence
from typing import Any

from libs.storage.arrays import columns
from services.bounce.adapters.postgres.fact_rows import seen
from services.bounce.domain.tallies import Tally, tallies_of
from services.bounce.ports import NewFact

_NEWER = """
on conflict ({keys}) do update set count = t.count + excluded.count, last_at = greatest(t.last_at, excluded.last_at),
  last_bounce = case when excluded.last_at >= t.last_at then excluded.last_bounce else t.last_bounce end
"""
_HIT_KEYS = "tenant, mode, day, rule, part, winner"
_HITS = f"""
insert into rule_hit as t ({_HIT_KEYS}, count, last_at, last_bounce)
select * from unnest($1::smallint[], $2::smallint[], $3::date[], $4::text[], $5::smallint[], $6::text[],
  $7::bigint[], $8::timestamptz[], $9::uuid[])
{_NEWER.format(keys=_HIT_KEYS)}"""  # noqa: S608 - our own statement
_UNREAD_KEYS = "tenant, mode, day, template_id, provider"
_UNREAD = f"""
insert into unread as t ({_UNREAD_KEYS}, count, last_at, last_bounce)
select * from unnest($1::smallint[], $2::smallint[], $3::date[], $4::uuid[], $5::text[],
  $6::bigint[], $7::timestamptz[], $8::uuid[])
{_NEWER.format(keys=_UNREAD_KEYS)}"""  # noqa: S608 - our own statement
_OPINION_KEYS = "tenant, mode, day, who, other, category, rule, provider"
_OPINIONS = f"""
insert into opinion as t ({_OPINION_KEYS}, count, last_at, last_bounce)
select * from unnest($1::smallint[], $2::smallint[], $3::date[], $4::text[], $5::text[], $6::text[], $7::text[],
  $8::text[], $9::bigint[], $10::timestamptz[], $11::uuid[])
{_NEWER.format(keys=_OPINION_KEYS)}"""  # noqa: S608 - our own statement


async def add_tallies(connection: Any, fresh: Sequence[NewFact]) -> None:
    """Count new facts; rows are locked in key order, because many transactions contend for them."""
    tallies = tallies_of(map(seen, fresh))
    await _add(connection, _HITS, tallies.hits)
    await _add(connection, _UNREAD, tallies.unread)
    await _add(connection, _OPINIONS, tallies.opinions)


async def _add(connection: Any, statement: str, counted: Mapping[Any, Tally]) -> None:
    if counted:
        rows = [(*key, tally.count, tally.last_at, tally.last_bounce) for key, tally in sorted(counted.items())]
        await connection.execute(statement, *columns(rows))
