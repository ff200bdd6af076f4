"""The claim: insert (or wake) the message row and commit, directly before the provider is called.

One transaction: fence the rows, obey holds and throttles, insert sorted with suppressions looked up inside the
statement, put back those who must wait, move the accounts. Only messages that it returns may be called.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from libs.contracts.erasing import Owner, is_gone
from libs.contracts.outcomes import Lane, Status
from libs.contracts.reasons import Reason
from libs.ids import time_of
from libs.storage.erasures import ANY_SINCE, erased_among
from services.delivery.adapters.postgres.accept import HOLDS, is_held
from services.delivery.adapters.postgres.first import insert_first
from services.delivery.adapters.postgres.settle import array_text, settle
from services.delivery.adapters.postgres.throttle import grant
from services.delivery.adapters.postgres.wake import wake
from services.delivery.domain.accounts import Moves
from services.delivery.domain.work import Claimed, Message, Prepared, Queued, WorkRow

_FENCE = """
update work w set calling = true
from unnest($1::bigint[], $2::int[]) as f (id, lease)
where w.id = f.id and w.lease = f.lease and not w.calling
returning w.id
"""
# and null if anybody at all was erased a short time ago
_CANCELLED = f"""
select id from request where id = any($1::uuid[]) and cancelled_at is not null
union all select null where {ANY_SINCE.format("$2")}
"""  # noqa: S608 - our own condition
# longer than a lease: between it and the claim a recipient who was resolved may be erased
_LEASED_WITHIN = timedelta(minutes=15)
_PARK = """
update work set held = true, reason = 64, calling = false, leased_until = '-infinity' where id = any($1::bigint[])
"""
_AT_ONCE = """
update work set due_at = $2, calling = false, leased_until = '-infinity' where id = any($1::bigint[])
"""
_QUEUE = """
insert into work (request_id, lane, due_at, ordinals, plan_step, attempt, reason, held, held_sender, returns)
select request_id, lane, due_at, ordinals::int[], plan_step, attempt, reason, reason = 64, held_sender, returns
from unnest($1::uuid[], $2::int[], $3::timestamptz[], $4::text[], $5::int[], $6::int[], $7::int[], $8::int[],
            $9::int[])
  as w (request_id, lane, due_at, ordinals, plan_step, attempt, reason, held_sender, returns)
"""


@dataclass(slots=True)
class Waiting:
    """Recipients that become a work row of their own."""

    row: WorkRow
    ordinals: Sequence[int]
    due_at: datetime
    reason: Reason
    held_sender: int | None = None


@dataclass(slots=True)
class Claim:
    """The state of one claim."""

    connection: Any
    now: datetime
    queued: dict[int, Queued]  # queue rows, deleted if none of their messages is called
    mine: dict[int, WorkRow]
    messages: list[Message]
    waiting: list[Waiting]
    left: list[Waiting] = field(default_factory=list)  # parts of shared rows that are not claimed after all
    moves: Moves = field(default_factory=Moves)
    limited: int = 0

    def put_off(self, who: Iterable[tuple[WorkRow, int]], due_at: datetime, reason: Reason, sender: int | None) -> None:
        """Take whole recipients out of this claim, before anything of theirs has moved."""
        by_row: dict[int, set[int]] = defaultdict(set)
        for row, ordinal in who:
            by_row[row.id].add(ordinal)
        if not by_row:
            return
        self.messages = [m for m in self.messages if m.ordinal not in by_row.get(m.row.id, ())]
        for id_, ordinals in by_row.items():
            self.waiting.append(Waiting(self.mine[id_], sorted(ordinals), due_at, reason, sender))


async def claim(connection: Any, prepared: Prepared, now: datetime, look: bool) -> Claimed:
    """Claim a prepared group; see the module's docstring. `look`: some of its message rows may already exist."""
    given_back = {back.row.id for back in prepared.back}
    rows = [row for row in prepared.group.rows if row.id not in given_back]
    holds = {tuple(row) for row in await connection.fetch(HOLDS)}
    queued = await _fence(connection, rows)
    made = Claim(
        connection,
        now,
        queued,
        {row.id: row for row in rows if row.queued.id in queued},
        prepared.messages,
        [Waiting(*later) for later in prepared.later],
    )
    lost = len(rows) - len(made.mine)
    await _release_stopped(made, holds)
    made.messages = [m for m in made.messages if m.row.id in made.mine]
    made.waiting = [w for w in made.waiting if w.row.id in made.mine]
    _obey_sender_holds(made, holds)
    await _obey_throttles(made, prepared.group.lane)
    first = [m for m in made.messages if m.row.attempt == 1]
    again = [m for m in made.messages if m.row.attempt > 1]
    calls = await insert_first(connection, first, made.moves, now, look) if first else []
    rest = _rest(made, prepared)
    if again or rest:
        calls += await wake(connection, (again, rest), made.moves, now)
    await queue(connection, [*made.left, *made.waiting])
    await _finish(made, calls)
    return Claimed(calls, lost=lost, limited=made.limited)


async def _fence(connection: Any, rows: Sequence[WorkRow]) -> dict[int, Queued]:
    queued = {row.queued.id: row.queued for row in rows}
    ids = sorted(queued)
    found = await connection.fetch(_FENCE, ids, [queued[id_].lease for id_ in ids])
    return {row[0]: queued[row[0]] for row in found}


async def _release_stopped(claim: Claim, holds: set[Any]) -> None:
    """Park what a hold stops and give back what was cancelled meanwhile; the rest is ours."""
    mine = claim.mine.values()
    ids = sorted({row.request.id for row in mine if not row.request.cancelled})
    just = claim.now - _LEASED_WITHIN
    gone = {row[0] for row in await claim.connection.fetch(_CANCELLED, ids, just)}
    if None in gone:
        await _refuse_erased(claim, just)
    cancelled = [row for row in mine if row.request.id in gone]
    # a hold does not stop cancelled work from ending
    waits = [row for row in mine if row.request.id not in gone and not row.request.cancelled]
    await _leave(claim, cancelled, Reason.NONE)
    await _leave(claim, [row for row in waits if is_held(_targets(row), holds)], Reason.HELD)


async def _refuse_erased(claim: Claim, since: datetime) -> None:
    calls = [message for message in claim.messages if message.status is Status.SENDING]
    erased = await erased_among(claim.connection, map(_owner, calls), since)
    for message in calls:
        if is_gone(erased, _owner(message), time_of(message.row.request.cause_id)):
            message.status, message.reason = Status.SKIPPED, Reason.RECIPIENT_ERASED
            message.recipient, message.recipient_id = "", None


def _owner(message: Message) -> Owner:
    request = message.row.request
    return request.tenant, int(request.mode), message.recipient


async def _leave(claim: Claim, rows: Sequence[WorkRow], reason: Reason) -> None:
    """Release rows that are not claimed after all: parked, or due at once. Parts of a shared row get rows of their
    own."""
    own = sorted(row.queued.id for row in rows if not row.queued.shared)
    if own and reason is Reason.HELD:
        await claim.connection.execute(_PARK, own)
    elif own:
        await claim.connection.execute(_AT_ONCE, own, claim.now)
    for id_ in own:
        del claim.queued[id_]
    for row in rows:
        del claim.mine[row.id]
        if row.queued.shared:
            claim.left.append(Waiting(row, row.ordinals, claim.now, reason))


def _targets(row: WorkRow) -> tuple[int, int, UUID, UUID]:
    request = row.request
    return request.tenant, int(request.mode), request.cause_id, request.release_id


def _obey_sender_holds(claim: Claim, holds: set[Any]) -> None:
    held = {(tenant, mode, int(key)) for tenant, mode, kind, key in holds if kind == "sender"}
    if not held:
        return
    stopped: dict[int, list[tuple[WorkRow, int]]] = defaultdict(list)
    for message in claim.messages:
        request = message.row.request
        calls = message.status is Status.SENDING
        if calls and (request.tenant, int(request.mode), message.sender) in held:
            stopped[message.sender].append((message.row, message.ordinal))
    for sender, who in stopped.items():
        claim.put_off(who, claim.now, Reason.HELD, sender)


async def _obey_throttles(claim: Claim, lane: Lane) -> None:
    wanted: dict[tuple[int, int, int], list[Message]] = defaultdict(list)
    for message in claim.messages:
        if message.status is Status.SENDING:
            request = message.row.request
            wanted[request.tenant, request.mode, message.sender].append(message)
    asked = {key: len(messages) for key, messages in wanted.items()}
    for key, (granted, free_at) in (await grant(claim.connection, asked, lane, claim.now)).items():
        over = {(m.row.id, m.ordinal): m.row for m in wanted[key][granted:]}
        claim.limited += len(over)
        claim.put_off(((row, ordinal) for (_, ordinal), row in over.items()), free_at, Reason.THROTTLED, None)


def _rest(claim: Claim, prepared: Prepared) -> list[Any]:
    """Return the endings of woken recipients, except those put off after all."""
    waits = {(w.row.id, ordinal) for w in claim.waiting for ordinal in w.ordinals}
    return [r for r in prepared.rest if r.row.id in claim.mine and (r.row.id, r.ordinal) not in waits]


async def queue(connection: Any, waiting: Sequence[Waiting]) -> None:
    """Insert work rows; `returns` counts consecutive give-backs."""
    if not waiting:
        return
    await connection.execute(
        _QUEUE,
        [w.row.request.id for w in waiting],
        [int(w.row.request.lane) for w in waiting],
        [w.due_at for w in waiting],
        [array_text(w.ordinals) for w in waiting],
        [w.row.plan_step for w in waiting],
        [w.row.attempt for w in waiting],
        [int(w.reason) for w in waiting],
        [w.held_sender for w in waiting],
        [min(w.row.returns + 1, 100) for w in waiting],
    )


async def _finish(claim: Claim, calls: Sequence[Message]) -> None:
    """Delete rows with nothing to call; move the accounts with the rows."""
    for queued in claim.queued.values():
        queued.outstanding = 0
    for message in calls:
        message.row.queued.outstanding += 1
    done = sorted(id_ for id_, queued in claim.queued.items() if not queued.outstanding)
    if done:
        await claim.connection.execute("delete from work where id = any($1::bigint[])", done)
    for row in claim.mine.values():
        if not row.queued.outstanding:
            claim.moves.touch(row.request.id)
    heads = {row.request.id: row.request for row in claim.mine.values()}
    await settle(claim.connection, claim.moves, claim.now, heads)
