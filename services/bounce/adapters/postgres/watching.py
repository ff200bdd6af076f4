"""Open breakers: closed once their provider is calm; what they parked is followed up."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from libs.contracts.outcomes import Mode
from libs.storage.database import Database
from libs.telemetry import get_logger
from services.bounce.adapters.postgres.breakers import Tripped, figures_of
from services.bounce.adapters.postgres.deciding import drop_batch, release_batch
from services.bounce.adapters.postgres.histories import NOTHING, read_histories
from services.bounce.adapters.postgres.parking import conclude
from services.bounce.adapters.postgres.reexamining import reexamine
from services.bounce.domain.breaker import Band, may_close
from services.bounce.domain.parking import ParkState
from services.bounce.domain.policy import Policy, Proof, signs_of_life
from services.bounce.domain.undoing import Undo
from services.bounce.ports import Parking

_OPEN = "select * from breaker where closed_at is null order by mode, provider"
_CLOSE = "update breaker set closed_at = $2 where id = $1 and closed_at is null"
_WAITING = """
select id, tenant, mode, address_hash, bounce_id, parked_at, category, provider from parked
where state = 0 and id > $1 order by id limit $2
"""
_EXPIRE = """
update parked set state = $2, decided_at = $3, actor = 'system', note = 'nothing further arrived about the address'
where state = 0 and parked_at < $1
"""
_BATCH = 500

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PostgresBreakers:
    """`parked_for`: how long a parked address waits for further evidence."""

    database: Database
    policy: Policy
    band: Band
    parked_for: timedelta

    async def watch(self, now: datetime) -> list[str]:
        """Close calm breakers, park what was barred meanwhile; return the live providers that are still doubted."""
        doubted = []
        async with self.database.acquire() as connection:
            rows = await connection.fetch(_OPEN)
        for row in rows:
            breaker = _tripped(row)
            if await self._close(row, now):
                log.info("breaker_closed", provider=breaker.provider, mode=breaker.mode.word)
            elif not row["real"]:
                await reexamine(self.database, breaker, now)
                doubted += [breaker.provider] if breaker.mode is Mode.LIVE else []
        return doubted

    async def _close(self, row: Any, now: datetime) -> bool:
        if now < row["opened_at"] + self.band.quiet:
            return False
        async with self.database.acquire() as connection:
            seen, usual = await figures_of(connection, (row["mode"], row["provider"]), now, self.band)
            if not may_close(seen, usual, now, self.band):
                return False
            await connection.execute(_CLOSE, row["id"], now)
        return True

    async def follow_up(self, now: datetime) -> int:
        """Drop parked addresses with a later sign of life, or without news for too long; return how many."""
        async with self.database.acquire() as connection:
            tag = await connection.execute(_EXPIRE, now - self.parked_for, int(ParkState.EXPIRED), now)
        count, after = int(tag.rpartition(" ")[2]), UUID(int=0)
        while True:
            async with self.database.transaction() as connection:
                rows = await connection.fetch(_WAITING, after, _BATCH)
                alive = await self._alive(connection, rows, now)
                note = "there was a sign of life since"
                count += await conclude(connection, alive, ParkState.DROPPED, (now, "system", note))
            if len(rows) < _BATCH:
                return count
            after = rows[-1]["id"]

    async def _alive(self, connection: Any, rows: Sequence[Any], now: datetime) -> list[UUID]:
        if not rows:
            return []
        addresses = [(row["tenant"], Mode(row["mode"]), row["address_hash"]) for row in rows]
        since = min(row["parked_at"] for row in rows) - self.policy.proofs_within
        histories = await read_histories(connection, addresses, since)
        found = []
        for row, address in zip(rows, addresses, strict=True):
            fact = Proof(row["bounce_id"], row["parked_at"], row["category"], True, row["provider"])
            alive = signs_of_life(fact, histories.get(address, NOTHING), self.policy, now)
            if alive.until is not None and alive.until > row["parked_at"]:
                found.append(row["id"])
        return found

    async def release(self, wanted: Parking, undo: Undo) -> int:
        """Bar a batch of parked addresses; the provider is believed from now on, until it leaves its band again."""
        async with self.database.transaction() as connection:
            return await release_batch(connection, wanted, undo)

    async def drop(self, wanted: Parking, undo: Undo) -> int:
        """Drop a batch of parked addresses."""
        async with self.database.transaction() as connection:
            return await drop_batch(connection, wanted, undo)


def _tripped(row: Any) -> Tripped:
    return Tripped(row["id"], Mode(row["mode"]), row["provider"], row["doubtful_from"], row["refused"], row["expected"])
