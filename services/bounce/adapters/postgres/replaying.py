"""Stored facts, streamed address by address."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from libs.contracts.outcomes import Mode
from libs.storage.database import Database
from services.bounce.adapters.postgres.histories import read_known
from services.bounce.domain.domains import DomainState
from services.bounce.domain.replays import Told

_BATCH = 4_000  # facts
_MOST_OF_ONE = 20_000  # newest facts of one address: a shared test mailbox has more
_SORT_SECONDS = 600.0  # until the first row of a year's facts
_WANTED = "tenant = $1 and mode = $2 and at >= $3 and at < $4 and message is not null and not void"
_COUNT = f"select count(*) from bounce where {_WANTED}"  # noqa: S608 - our own statement
# received while its provider's breaker was open, unless an operator believed it afterwards
_FACTS = f"""
select b.address_hash, b.id, b.at, b.category, b.permanent, b.provider, b.domain, b.origin, b.text, b.reply_code,
  b.enhanced_code, b.stage, b.vendor_category, b.rule, b.rule_set, b.doubtful and not exists (
    select from breaker k where k.mode = $2 and k.provider = b.provider and k.real and b.at >= k.doubtful_from
      and (k.closed_at is null or b.at < k.closed_at)) as doubtful
from bounce b where {_WANTED} order by b.address_hash, b.at, b.id
"""  # noqa: S608 - our own statement
_DEAD = "select name from domain where state = $1 and name = any($2::text[])"


@dataclass(frozen=True, slots=True)
class PostgresStoredFacts:
    database: Database

    async def count(self, realm: tuple[int, Mode], span: tuple[datetime, datetime]) -> int:
        """Return the number of facts."""
        async with self.database.acquire() as connection:
            found: int = await connection.fetchval(_COUNT, realm[0], int(realm[1]), *span, timeout=_SORT_SECONDS)
        return found

    async def by_address(self, realm: tuple[int, Mode], span: tuple[datetime, datetime]) -> AsyncIterator[list[Told]]:
        """Yield each address once, with all of its facts."""
        async with self.database.snapshot() as connection:
            await connection.execute("set local work_mem = '64MB'")  # sorts months of facts
            cursor = await connection.cursor(_FACTS, realm[0], int(realm[1]), *span, timeout=_SORT_SECONDS)
            held: list[Any] = []
            while rows := await cursor.fetch(_BATCH, timeout=_SORT_SECONDS):
                held += rows
                last = held[-1]["address_hash"]
                whole = next((n for n in range(len(held), 0, -1) if held[n - 1]["address_hash"] != last), 0)
                if whole:
                    yield await _told(connection, realm, held[:whole])
                    held = held[whole:]
                held = held[-_MOST_OF_ONE:]
            if held:
                yield await _told(connection, realm, held)


async def _told(connection: Any, realm: tuple[int, Mode], rows: Sequence[Any]) -> list[Told]:
    grouped = {hash_: list(facts) for hash_, facts in groupby(rows, key=lambda row: row["address_hash"])}
    contacts, lifted = await read_known(connection, [(*realm, hash_) for hash_ in grouped])
    named = sorted({row["domain"] for row in rows if row["domain"]})
    dead = await connection.fetch(_DEAD, int(DomainState.DEAD), named) if named else []
    names = frozenset(row["name"] for row in dead)
    return [
        Told(hash_, facts, contacts.get((*realm, hash_)), lifted.get((*realm, hash_), {}), names)
        for hash_, facts in grouped.items()
    ]
