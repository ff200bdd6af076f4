"""Successful contacts with addresses: one bit per day, written only on the first contact of a day."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from libs.storage.arrays import columns
from libs.storage.database import Database
from services.bounce.adapters.postgres.breakers import EVERYBODY, count_pulses, minute_of
from services.bounce.domain.policy import DAYS_KEPT
from services.bounce.ports import Reached

_MASK = (1 << DAYS_KEPT) - 1
_MOST = 50_000  # rows that one sweep deletes
# An address that gets five mails a day costs one write: known contacts are filtered out before the upsert, which would
# lock and dirty the row even without a change.
_ACCEPTED = f"""
insert into contact as c (tenant, mode, address_hash, day, accepted)
select n.tenant, n.mode, n.address_hash, n.day, 1
from unnest($1::smallint[], $2::smallint[], $3::bytea[], $4::date[]) as n (tenant, mode, address_hash, day)
where not exists (select from contact k where k.tenant = n.tenant and k.mode = n.mode
  and k.address_hash = n.address_hash and k.day >= n.day
  and (k.day - n.day >= {DAYS_KEPT} or (k.accepted >> (k.day - n.day)) & 1 = 1))
order by 1, 2, 3
on conflict (tenant, mode, address_hash) do update set
  day = greatest(c.day, excluded.day),
  accepted = case
    when excluded.day - c.day >= {DAYS_KEPT} then 1
    when excluded.day > c.day then (c.accepted << (excluded.day - c.day)) & {_MASK} | 1
    when c.day - excluded.day < {DAYS_KEPT} then c.accepted | (1::bigint << (c.day - excluded.day))
    else c.accepted end
"""  # noqa: S608 - our own statement
_READ = """
insert into contact as c (tenant, mode, address_hash, day, accepted, read_on)
select n.tenant, n.mode, n.address_hash, n.day, 0, n.day
from unnest($1::smallint[], $2::smallint[], $3::bytea[], $4::date[]) as n (tenant, mode, address_hash, day)
where not exists (select from contact k where k.tenant = n.tenant and k.mode = n.mode
  and k.address_hash = n.address_hash and k.read_on >= n.day)
order by 1, 2, 3
on conflict (tenant, mode, address_hash) do update set read_on = greatest(c.read_on, excluded.read_on)
"""
_DROP = """
delete from contact where ctid in (
  select ctid from contact where day < $1 and (read_on is null or read_on < $1) limit $2)
"""
_DROP_PULSES = "delete from pulse where minute < $1"


@dataclass(frozen=True, slots=True)
class PostgresContacts:
    database: Database

    async def accepted(self, mails: Sequence[Reached]) -> None:
        """Record accepted mails: a day for each address, and the breaker's count of all."""
        days = {(item.tenant, int(item.mode), item.address_hash, item.at.date()) for item in mails}
        minutes = Counter((int(item.mode), EVERYBODY, minute_of(item.at)) for item in mails)
        async with self.database.transaction() as connection:
            for statement_days in _one_a_statement(days):
                await connection.execute(_ACCEPTED, *statement_days)
            # last, and aggregated: many transactions contend for this row. A redelivery may count twice, harmlessly
            await count_pulses(connection, minutes)

    async def read(self, readings: Sequence[Reached]) -> None:
        """Record signs that a mail was read."""
        days = {(item.tenant, int(item.mode), item.address_hash, item.at.date()) for item in readings}
        async with self.database.transaction() as connection:
            for statement_days in _one_a_statement(days):
                await connection.execute(_READ, *statement_days)

    async def forget_before(self, day: date, minute: datetime) -> int:
        """Delete a batch of contacts that no policy uses any more; return how many."""
        async with self.database.acquire() as connection:
            await connection.execute(_DROP_PULSES, minute)
            tag = await connection.execute(_DROP, day, _MOST)
        return int(tag.rpartition(" ")[2])


def _one_a_statement(days: Iterable[tuple[int, int, bytes, date]]) -> Iterable[list[list[object]]]:
    """Yield columns in which each address occurs once: an upsert cannot touch a row twice."""
    by_address: dict[tuple[int, int, bytes], list[date]] = {}
    for *address, day in sorted(days):
        by_address.setdefault(tuple(address), []).append(day)  # type: ignore[arg-type]
    while by_address:
        rows = [(*address, found.pop(0)) for address, found in by_address.items()]
        yield columns(rows)
        by_address = {address: found for address, found in by_address.items() if found}
