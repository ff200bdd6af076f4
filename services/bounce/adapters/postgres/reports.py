"""Reports about rules, from roll-ups alone: no query here scans the facts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from libs.storage.database import Database
from services.bounce.adapters.postgres.tenants import tenants_in
from services.bounce.ports.reports import OpinionQuery, Realm, UnreadQuery

_DAYS = """
select day, sum(count) filter (where part = 0)::bigint as decided,
  sum(count) filter (where part = 1)::bigint as outdone, sum(count) filter (where part = 2)::bigint as shadow
from rule_hit where tenant = any($1) and mode = $2 and rule = $3 and day >= $4 group by day order by day
"""
_SUMS = """
select rule, coalesce(sum(count) filter (where part = 0), 0)::bigint as decided,
  coalesce(sum(count) filter (where part = 1), 0)::bigint as outdone,
  coalesce(sum(count) filter (where part = 2), 0)::bigint as shadow
from rule_hit where tenant = any($1) and mode = $2 and day >= $3 and ($4::text[] is null or rule = any($4))
group by rule
"""
# only the newest day of each rule and tenant: the days before may span years
_LAST = """
select distinct on (r.rule) r.rule, h.last_at, h.last_bounce
from unnest($3::text[]) as r (rule) cross join unnest($1::smallint[]) as t (tenant) cross join lateral (
  select last_at, last_bounce from rule_hit where tenant = t.tenant and mode = $2 and rule = r.rule
  order by day desc, last_at desc limit 1) as h
order by r.rule, h.last_at desc
"""
_OUTDONE = """
with sums as (
  select rule, winner, part, sum(count)::bigint as count, max(last_at) as last_at
  from rule_hit where tenant = any($1) and mode = $2 and day >= $3 and part < 2 group by 1, 2, 3)
select rule, sum(count)::bigint as count, max(last_at) as last_at,
  jsonb_agg(jsonb_build_object('rule', winner, 'count', count) order by count desc, winner) as winners
from sums group by rule having bool_and(part = 1)
  and ($4::bigint is null or sum(count) < $4 or (sum(count) = $4 and rule > $5))
order by 2 desc, 1 limit $6
"""
# a group's newest fact is in the row of the day of its last moment
_UNREAD = """
select u.*, b.id as bounce, b.template, b.text, b.reply_code, b.enhanced_code, b.vendor_category, b.model_category,
  b.stage, b.origin
from (
  select template_id, provider, sum(count)::bigint as count, max(last_at) as last_at
  from unread where tenant = any($1) and mode = $2 and day >= $3 and ($4::text is null or provider = $4)
    and ($5::uuid is null or template_id = $5)
  group by template_id, provider
  having $6::bigint is null or (sum(count), template_id, provider) < ($6, $7::uuid, $8::text)
  order by 3 desc, 1 desc, 2 desc limit $9) as u
cross join lateral (
  select last_bounce from unread where tenant = any($1) and mode = $2 and day = u.last_at::date
    and template_id = u.template_id and provider = u.provider
  order by last_at desc limit 1) as n
left join bounce b on b.id = n.last_bounce and b.template is not null
order by u.count desc, u.template_id desc, u.provider desc
"""
_OPINIONS = """
select o.*, n.last_bounce as bounce, b.text, b.vendor_class from (
  select who, other, category, rule, provider, sum(count)::bigint as count, max(last_at) as last_at
  from opinion where tenant = any($1) and mode = $2 and day >= $3 and ($4::text is null or who = $4)
    and other <> category
  group by 1, 2, 3, 4, 5
  having $5::bigint is null or (sum(count), who, other, category, rule, provider) < ($5, $6, $7, $8, $9, $10)
  order by 6 desc, 1 desc, 2 desc, 3 desc, 4 desc, 5 desc limit $11) as o
cross join lateral (
  select last_bounce from opinion where tenant = any($1) and mode = $2 and day = o.last_at::date and who = o.who
    and other = o.other and category = o.category and rule = o.rule and provider = o.provider
  order by last_at desc limit 1) as n
left join bounce b on b.id = n.last_bounce
order by o.count desc, o.who desc, o.other desc, o.category desc, o.rule desc, o.provider desc
"""
_AGREEING = """
select who, sum(count)::bigint as facts, coalesce(sum(count) filter (where other = category), 0)::bigint as agreeing
from opinion where tenant = any($1) and mode = $2 and day >= $3 group by who order by who
"""
# `figure` counts every fact
_TENANTS = f"{tenants_in('figure')}select tenant from t where tenant is not null"  # noqa: S608 - our own statement


@dataclass(frozen=True, slots=True)
class PostgresReports:
    database: Database

    async def hits_by_day(self, realm: Realm, rule: str, since: date) -> list[Mapping[str, Any]]:
        """Return how often a rule decided, was outdone, or matched in the shadow, by day; only days with a hit."""
        return await self._rows(_DAYS, realm, rule, since)

    async def hits(
        self, realm: Realm, since: date, rules: Sequence[str] | None = None
    ) -> Mapping[str, Mapping[str, Any]]:
        """Return the sums for these rules or all; rules without a hit since that day are absent."""
        wanted = list(rules) if rules is not None else None
        return {row["rule"]: row for row in await self._rows(_SUMS, realm, since, wanted)}

    async def last_hits(self, realm: Realm, rules: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        """Return when each rule matched last; rules that never did are absent."""
        return {row["rule"]: row for row in await self._rows(_LAST, realm, list(rules))}

    async def outdone(
        self, realm: Realm, since: date, limit: int, after: tuple[int, str] | None
    ) -> list[Mapping[str, Any]]:
        """Return rules that matched and never decided, the most frequent first, with the rules that did."""
        return await self._rows(_OUTDONE, realm, since, *(after or (None, None)), limit)

    async def unread(self, wanted: UnreadQuery) -> list[Mapping[str, Any]]:
        """Return unmatched replies by template and provider, the most frequent first, with the newest example."""
        names = (wanted.since, wanted.provider, wanted.template, *(wanted.after or (None, None, None)), wanted.limit)
        return await self._rows(_UNREAD, wanted.realm, *names)

    async def opinions(self, wanted: OpinionQuery) -> list[Mapping[str, Any]]:
        """Return where somebody else disagrees with us, the most frequent first, with the newest example."""
        after = wanted.after or (None,) * 6
        return await self._rows(_OPINIONS, wanted.realm, wanted.since, wanted.who, *after, wanted.limit)

    async def agreeing(self, realm: Realm, since: date) -> list[Mapping[str, Any]]:
        """Return for each of them the number of facts with an opinion, and how often it was ours."""
        return await self._rows(_AGREEING, realm, since)

    async def _rows(self, statement: str, realm: Realm, *arguments: Any) -> list[Mapping[str, Any]]:
        async with self.database.acquire() as connection:
            tenants = [realm.tenant] if realm.tenant else [row["tenant"] for row in await connection.fetch(_TENANTS)]
            return list(await connection.fetch(statement, tenants, int(realm.mode), *arguments))
