"""Operators' actions: holds, cancelling, senders; each with its event and its audit action in one transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from libs.contracts.outcomes import Channel, Mode
from libs.errors import Invalid
from libs.ids import moment_of
from libs.keyring import Keyring
from libs.messaging.outbox import Outgoing, append
from libs.storage.database import Database
from services.delivery.adapters.postgres.apart import take_stopped_apart
from services.delivery.domain.steering import Hold, HoldKind, SenderSetup

_PLACE = """
insert into hold as h (tenant, mode, kind, key, version, active, note, actor, changed_at)
values ($1, $2, $3, $4, 1, true, $5, $6, $7)
on conflict (tenant, mode, kind, key) do update
  set version = h.version + 1, active = true, note = excluded.note, actor = excluded.actor,
      changed_at = excluded.changed_at where not h.active
returning *
"""
_LIFT = """
update hold set version = version + 1, active = false, note = $5, actor = $6, changed_at = $7
where tenant = $1 and mode = $2 and kind = $3 and key = $4 and active returning *
"""
_HOLD = "select * from hold where tenant = $1 and mode = $2 and kind = $3 and key = $4"
_HOLDS = """
select * from hold where tenant = $1 and mode = $2 and active and (kind, key) > ($3, $4) order by kind, key limit $5
"""
# Leased rows are left alone: their claim checks the hold again and parks them. But a row that is leased while this runs
# is locked all the same, so the rows are locked by id, as the sender locks them, and not in the order of an index.
_PARK = """
with waiting as materialized (
  select w.id from work w where not w.held and w.leased_until = '-infinity' and w.request_id in (
    select r.id from request r where r.tenant = $1 and r.mode = $2 and r.settled_at is null
      and (($3 = 'cause' and r.cause_id = $4::uuid) or ($3 = 'release' and r.release_id = $4::uuid) or $3 = 'tenant'))
  order by w.id for update of w)
update work w set held = true, reason = 64 from waiting where w.id = waiting.id
"""
_UNPARK = """
with parked as materialized (
  select w.id from work w where w.held
    and (($3 = 'sender') = (w.held_sender is not null)) and ($3 <> 'sender' or w.held_sender = $5)
    and w.request_id in (
      select r.id from request r where r.tenant = $1 and r.mode = $2
        and ($3 in ('tenant', 'sender') or ($3 = 'cause' and r.cause_id = $4::uuid)
             or ($3 = 'release' and r.release_id = $4::uuid)))
  order by w.id for update of w)
update work w set held = false, held_sender = null, reason = 0 from parked where w.id = parked.id
"""
# Request ids contain their cause's time ($4 up to $5), so their own index finds them.
_KNOWN_CAUSE = """
select exists (select from request where tenant = $1 and mode = $2 and cause_id = $3 and id >= $4 and id < $5)
"""
# A claim locks its work, then its requests, and so does cancelling.
_LOCK = """
select w.id from work w where w.leased_until = '-infinity' and w.request_id in (
  select r.id from request r where r.tenant = $1 and r.mode = $2 and r.cause_id = $3 and r.id >= $4 and r.id < $5
    and r.settled_at is null and r.cancelled_at is null)
order by w.id for update of w
"""
_CANCEL = """
update request set cancelled_at = $6 where tenant = $1 and mode = $2 and cause_id = $3 and id >= $4 and id < $5
  and settled_at is null and cancelled_at is null returning id
"""
# The sender ends them as skipped(cancelled), like every other message. A row that was queued since the lock and is
# locked by somebody else is being leased or parked: nothing waits for it here.
_AT_ONCE = """
with waiting as materialized (
  select id from work where request_id = any($1::uuid[]) and leased_until = '-infinity' for update skip locked)
update work w set due_at = $2, held = false, held_sender = null from waiting where w.id = waiting.id
"""
_SLOWEST_SENDER = """
select tenant, number, name, (account->>'timeout_seconds')::float8 seconds from sender
where (account->>'timeout_seconds')::float8 > $1 order by seconds desc limit 1
"""
_PUT_SENDER = """
insert into sender as s (tenant, mode, number, name, channel, account, secrets, rate, burst, version, changed_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
on conflict (tenant, mode, number) do update set name = excluded.name, channel = excluded.channel,
  account = excluded.account, secrets = excluded.secrets, rate = excluded.rate, burst = excluded.burst,
  version = excluded.version, changed_at = excluded.changed_at where s.version = excluded.version - 1
returning true
"""
_THROTTLE = """
insert into throttle as t (tenant, mode, sender, rate, burst, available, at) values ($1, $2, $3, $4, $5, $5, now())
on conflict (tenant, mode, sender) do update set rate = excluded.rate, burst = excluded.burst,
  available = least(t.available, excluded.burst)
"""
_SENDERS = "select * from sender where tenant = $1 and mode = $2 and number > $3 order by number limit $4"
_CHANNELS = "select number, channel from sender where tenant = $1 and mode = $2 and number = any($3::int[])"
_SENDER = "select * from sender where tenant = $1 and mode = $2 and number = $3"


@dataclass(slots=True)
class PostgresOperations:
    """Holds, cancelling and senders of one schema."""

    database: Database
    keyring: Keyring

    async def place(self, hold: Hold, events: Sequence[Outgoing]) -> tuple[Hold, bool]:
        """Place a hold and park the waiting work; return whether it is new."""
        async with self.database.transaction() as connection:
            row = await connection.fetchrow(_PLACE, *_key(hold), hold.note, hold.actor, hold.changed_at)
            if row is None:
                return _hold(await connection.fetchrow(_HOLD, *_key(hold))), False
            if hold.kind is not HoldKind.SENDER:
                await take_stopped_apart(connection, _key(hold)[:3], _target(hold))
                await connection.execute(_PARK, *_key(hold)[:3], _target(hold))
            await append(connection, events)
            return _hold(row), True

    async def lift(self, hold: Hold, events: Sequence[Outgoing]) -> Hold | None:
        """Lift a hold and release the work it parked; None if there is no such hold."""
        async with self.database.transaction() as connection:
            row = await connection.fetchrow(_LIFT, *_key(hold), hold.note, hold.actor, hold.changed_at)
            if row is None:
                return None
            sender = int(hold.target) if hold.kind is HoldKind.SENDER else None
            await connection.execute(_UNPARK, *_key(hold)[:3], _target(hold), sender)
            await append(connection, events)
            return _hold(row)

    async def hold(self, hold: Hold) -> Hold | None:
        """Return the hold of this kind and target as stored, active or lifted."""
        async with self.database.acquire() as connection:
            row = await connection.fetchrow(_HOLD, *_key(hold))
        return _hold(row) if row else None

    async def holds(self, scope: tuple[int, Mode], after: tuple[str, str], limit: int) -> list[Hold]:
        """Return active holds, sorted by kind and target."""
        async with self.database.acquire() as connection:
            rows = await connection.fetch(_HOLDS, scope[0], int(scope[1]), *after, limit)
        return [_hold(row) for row in rows]

    async def cancel(
        self, scope: tuple[int, Mode], cause: UUID, now: datetime, events: Sequence[Outgoing]
    ) -> int | None:
        """Mark the cause's open requests as cancelled and wake their work; return their number, None if no request of
        this cause ever arrived."""
        async with self.database.transaction() as connection:
            about = (scope[0], int(scope[1]), cause, *moment_of(cause))
            await connection.execute(_LOCK, *about)
            rows = await connection.fetch(_CANCEL, *about, now)
            if rows:
                await connection.execute(_AT_ONCE, [row[0] for row in rows], now)
                await append(connection, events)
            elif not await connection.fetchval(_KNOWN_CAUSE, *about):
                return None
            return len(rows)

    async def put_sender(self, setup: SenderSetup, events: Sequence[Outgoing]) -> bool:
        """Store a version of a sender, with its throttle; False if somebody else changed it first."""
        key = (setup.tenant, int(setup.mode), setup.number)
        secrets = self.keyring.seal("credentials", msgspec.json.encode(setup.secrets), repr(key).encode())
        account = {"kind": setup.kind, **setup.account}
        async with self.database.transaction() as connection:
            stored = await connection.fetchval(
                _PUT_SENDER,
                *key,
                setup.name,
                int(setup.channel),
                account,
                secrets,
                setup.rate,
                setup.burst,
                setup.version,
                setup.changed_at,
            )
            if not stored:
                return False
            if setup.rate is None:
                await connection.execute("delete from throttle where tenant = $1 and mode = $2 and sender = $3", *key)
            else:
                await connection.execute(_THROTTLE, *key, setup.rate, setup.burst or max(1.0, setup.rate))
            await append(connection, events)
            return True

    async def sender(self, scope: tuple[int, Mode], number: int) -> SenderSetup | None:
        """Return one sender."""
        async with self.database.acquire() as connection:
            row = await connection.fetchrow(_SENDER, scope[0], int(scope[1]), number)
        return self._setup(row) if row else None

    async def senders(self, scope: tuple[int, Mode], after: int, limit: int) -> list[SenderSetup]:
        """Return a tenant's senders by number."""
        async with self.database.acquire() as connection:
            rows = await connection.fetch(_SENDERS, scope[0], int(scope[1]), after, limit)
        return [self._setup(row) for row in rows]

    async def check_timeouts(self, longest: float) -> None:
        """Raise Invalid naming the sender with the longest timeout, if that is more than `longest` seconds."""
        async with self.database.acquire() as connection:
            found = await connection.fetchrow(_SLOWEST_SENDER, longest)
        if found is not None:
            raise Invalid(
                f"Sender {found['number']} ({found['name']}) of tenant {found['tenant']} may take "
                f"{found['seconds']:g} s to answer, but a lease leaves {longest:g} s for a call: nothing would ever be "
                f"sent. Make the lease {found['seconds'] - longest:g} s longer.",
                pointer="DEPESCHE_DELIVERY_LEASE_SECONDS",
            )

    async def channels(self, scope: tuple[int, Mode], numbers: Sequence[int]) -> Mapping[int, Channel]:
        """Return the channels of the configured ones among these senders; their secrets stay sealed."""
        async with self.database.acquire() as connection:
            rows = await connection.fetch(_CHANNELS, scope[0], int(scope[1]), list(numbers))
        return {row["number"]: Channel(row["channel"]) for row in rows}

    def _setup(self, row: Any) -> SenderSetup:
        # JSON columns are read exactly; an account's seconds are floats, and shown as numbers
        account = {name: float(v) if isinstance(v, Decimal) else v for name, v in row["account"].items()}
        kind = str(account.pop("kind"))
        key = (row["tenant"], row["mode"], row["number"])
        sealed = self.keyring.open("credentials", row["secrets"], repr(key).encode())
        return SenderSetup(
            row["tenant"],
            Mode(row["mode"]),
            row["number"],
            row["name"],
            Channel(row["channel"]),
            kind,
            account,
            msgspec.json.decode(sealed),
            row["rate"],
            row["burst"],
            row["version"],
            row["changed_at"],
        )


def _key(hold: Hold) -> tuple[int, int, str, str]:
    return hold.tenant, int(hold.mode), hold.kind.value, hold.target


def _target(hold: Hold) -> UUID | None:
    return UUID(hold.target) if hold.kind in (HoldKind.CAUSE, HoldKind.RELEASE) else None


def _hold(row: Any) -> Hold:
    return Hold(
        row["tenant"],
        Mode(row["mode"]),
        HoldKind(row["kind"]),
        row["key"],
        row["version"],
        row["active"],
        row["note"],
        row["actor"],
        row["changed_at"],
    )
