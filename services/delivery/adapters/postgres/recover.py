"""Chunks whose lease ran out: the worker died, or stalled so long that it counts as dead."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.contracts.delivery import Transition
from libs.contracts.outcomes import ASKABLE, Channel, OnUnknown, Status
from libs.contracts.reasons import Reason
from services.delivery.adapters.postgres.apart import take_expired_apart
from services.delivery.adapters.postgres.lease import read_requests
from services.delivery.adapters.postgres.settle import array_text, settle
from services.delivery.adapters.postgres.turns import Turn, queue_turns
from services.delivery.domain.accounts import Moves
from services.delivery.domain.bodies import Body
from services.delivery.domain.work import QUESTIONS, Request
from services.delivery.ports import Recovered

MOST_CRASHES = 5

_EXPIRED = """
select id, request_id, ordinals, plan_step, attempt, calling, crashes from work
where leased_until > '-infinity' and leased_until < now() and together is null and lane <> 2
order by id limit $1 for update skip locked
"""
# A query that ended without an answer is repeated, a little later each time.
_ASK_AGAIN = """
with lost as materialized (
  select id from work where leased_until > '-infinity' and leased_until < now() and lane = 2
  order by id limit $1 for update skip locked)
update work w set lease = w.lease + 1, leased_until = '-infinity', crashes = least(w.crashes + 1, 100),
  due_at = $2::timestamptz + w.crashes * interval '10 seconds'
from lost l where w.id = l.id
"""
_LOST = """
update message m set status = 6, reason = 63, recorded_at = $4
from unnest($1::uuid[], $2::uuid[], $3::int[]) as k (notification_id, request_id, attempt)
where m.notification_id = k.notification_id and m.request_id = k.request_id and m.attempt = k.attempt
  and m.status = 1
returning m.notification_id, m.address_id, m.request_id, m.ordinal, m.attempt, m.channel, m.sender, m.plan_step,
          m.locale
"""
# lease + 1: if the worker comes back, its fence no longer matches
_FREE = """
update work w set lease = w.lease + 1, leased_until = '-infinity', calling = false, crashes = f.crashes,
  due_at = $5, attempt = f.attempt, ordinals = f.ordinals::int[], plan_step = f.plan_step
from unnest($1::bigint[], $2::int[], $3::int[], $4::text[], $6::int[]) as f (id, crashes, attempt, ordinals, plan_step)
where w.id = f.id
"""
_FURTHER = """
insert into work (request_id, lane, due_at, ordinals, plan_step, attempt, crashes) values ($1, $2, $3, $4, $5, $6, $7)
"""
_SPLIT = """
insert into work (request_id, lane, due_at, ordinals, plan_step, attempt)
select w.request_id, w.lane, $2, array[n], w.plan_step, w.attempt from work w, unnest(w.ordinals) as n
where w.id = any($1::bigint[])
"""
_GIVEN_UP = """
insert into message (notification_id, address_id, request_id, ordinal, claimed_at, recorded_at, status, reason,
                     channel, sender, plan_step, variant, attempt)
select g.notification_id, 0, g.request_id, g.ordinal, $4, $4, 3, 90, 0, 0, g.plan_step, 0, 1
from unnest($1::uuid[], $2::uuid[], $3::int[], $5::int[]) as g (notification_id, request_id, ordinal, plan_step)
on conflict do nothing returning notification_id
"""
_PENDING_FAILED = """
update message m set status = 3, reason = 90, recorded_at = $4
from unnest($1::uuid[], $2::uuid[], $3::int[]) as k (notification_id, request_id, attempt)
where m.notification_id = k.notification_id and m.request_id = k.request_id and m.attempt = k.attempt - 1
  and m.status = 0
returning m.notification_id, m.address_id, m.request_id, m.ordinal, m.attempt, m.channel, m.sender, m.plan_step,
          m.locale
"""

OpenBody = Callable[[UUID, bytes], Body]


@dataclass(slots=True)
class Lost:
    """One row whose lease ran out."""

    id: int
    request_id: UUID
    ordinals: Sequence[int]
    plan_step: int
    attempt: int
    calling: bool
    crashes: int


async def recover(connection: Any, limit: int, open_body: OpenBody, now: datetime) -> Recovered:
    """Recover up to `limit` rows, in the caller's transaction."""
    await take_expired_apart(connection)
    await connection.execute(_ASK_AGAIN, limit, now)
    rows = [Lost(*row) for row in await connection.fetch(_EXPIRED, limit)]
    if not rows:
        return Recovered()
    requests = await read_requests(connection, {row.request_id for row in rows})
    bodies = {id_: open_body(id_, r.body) for id_, r in requests.items() if r.body is not None}
    recovery = _Recovery(connection, now, requests, bodies, Moves(), Recovered(rows=len(rows)))
    for row in rows:
        row.crashes += 1
    await recovery.mark_unknown([row for row in rows if row.calling])
    beyond = [row for row in rows if row.crashes > MOST_CRASHES and row.ordinals]
    await recovery.split([row for row in beyond if len(row.ordinals) > 1])
    await recovery.give_up([row for row in beyond if len(row.ordinals) == 1])
    await recovery.free([row for row in rows if row not in beyond])
    await settle(connection, recovery.moves, now, requests)
    return recovery.figures


@dataclass(slots=True)
class _Recovery:
    connection: Any
    now: datetime
    requests: dict[UUID, Request]
    bodies: dict[UUID, Body]
    moves: Moves
    figures: Recovered

    async def mark_unknown(self, rows: Sequence[Lost]) -> None:
        """Calls in flight have no reply: unknown. The row continues with those to be sent again, if any."""
        owners: dict[tuple[UUID, int, int], Lost] = {}
        keys = []
        for row in rows:
            for ordinal in row.ordinals:
                keys.append((self._notification(row, ordinal), row.request_id, row.attempt))
                owners[row.request_id, ordinal, row.attempt] = row
        found = await self._update(_LOST, keys)
        again: dict[int, dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
        doubts: dict[Turn, set[int]] = defaultdict(set)
        for message in found:
            request_id, ordinal, step = message[2], message[3], message[7]
            self._moved(message, (Status.SENDING, Status.UNKNOWN), Reason.WORKER_CRASHED)
            match self.requests[request_id].on_unknown:
                case OnUnknown.RESEND:
                    again[owners[request_id, ordinal, message[4]].id][step].add(ordinal)
                case OnUnknown.VERIFY if message[5] in ASKABLE:  # at once: the call was a whole lease ago
                    turn = Turn(request_id, step, message[4], Reason.VERIFYING, QUESTIONS, self.now)
                    doubts[turn].add(ordinal)
        await queue_turns(self.connection, doubts)
        self.figures.unknown += len(found)
        for row in rows:
            row.attempt, row.calling = row.attempt + 1, False
            # a message may have moved to a later step than the row was made for
            steps = [(step, sorted(ordinals)) for step, ordinals in sorted(again[row.id].items())]
            row.plan_step, row.ordinals = steps[0] if steps else (row.plan_step, [])
            await self._queue(row, steps[1:])

    async def split(self, rows: Sequence[Lost]) -> None:
        """One of these recipients may be crashing the worker: each gets its own row and count."""
        ids = sorted(row.id for row in rows)
        if ids:
            self.figures.split += len(ids)
            await self.free(rows)  # writes ordinals and attempt as they are now
            await self.connection.execute(_SPLIT, ids, self.now)
            await self.connection.execute("delete from work where id = any($1::bigint[])", ids)

    async def give_up(self, rows: Sequence[Lost]) -> None:
        """The worker dies even on this single recipient: failed(internal), and an alarm."""
        if not rows:
            return
        self.figures.given_up += len(rows)
        rows = sorted(rows, key=lambda row: self._notification(row, row.ordinals[0]))
        first = [row for row in rows if row.attempt == 1]
        ids = [self._notification(row, row.ordinals[0]) for row in first]
        inserted = await self.connection.fetch(
            _GIVEN_UP,
            ids,
            [row.request_id for row in first],
            [row.ordinals[0] for row in first],
            self.now,
            [row.plan_step for row in first],
        )
        there = {record[0] for record in inserted}
        for row, id_ in zip(first, ids, strict=True):
            ended = Status.FAILED if id_ in there else Status.SKIPPED  # skipped: another request has the row
            reason = Reason.INTERNAL if id_ in there else Reason.DUPLICATE
            message = (id_, 0, row.request_id, row.ordinals[0], 1, 0, 0, row.plan_step, None)
            self._moved(message, (Status.PENDING, ended), reason)
        keys = [
            (self._notification(row, row.ordinals[0]), row.request_id, row.attempt) for row in rows if row.attempt > 1
        ]
        for message in await self._update(_PENDING_FAILED, keys):
            self._moved(message, (Status.PENDING, Status.FAILED), Reason.INTERNAL)
        await self._delete(rows)

    async def free(self, rows: Sequence[Lost]) -> None:
        """Put rows back into the queue, due at once; a row without recipients is done."""
        await self._delete([row for row in rows if not row.ordinals])
        rows = sorted((row for row in rows if row.ordinals), key=lambda row: row.id)
        await self.connection.execute(
            _FREE,
            [row.id for row in rows],
            [row.crashes for row in rows],
            [row.attempt for row in rows],
            [array_text(row.ordinals) for row in rows],
            self.now,
            [row.plan_step for row in rows],
        )

    async def _queue(self, row: Lost, steps: Sequence[tuple[int, list[int]]]) -> None:
        for step, ordinals in steps:
            lane = int(self.requests[row.request_id].lane)
            await self.connection.execute(
                _FURTHER, row.request_id, lane, self.now, ordinals, step, row.attempt, row.crashes
            )

    async def _delete(self, rows: Sequence[Lost]) -> None:
        if rows:
            await self.connection.execute("delete from work where id = any($1::bigint[])", sorted(r.id for r in rows))
        for row in rows:
            self.moves.touch(row.request_id)

    async def _update(self, statement: str, keys: list[tuple[UUID, UUID, int]]) -> Any:
        if not keys:
            return []
        return await self.connection.fetch(statement, *map(list, zip(*sorted(keys), strict=True)), self.now)

    def _notification(self, row: Lost, ordinal: int) -> UUID:
        return self.bodies[row.request_id].notification_id(ordinal)

    def _moved(self, message: Any, change: tuple[Status, Status], reason: Reason) -> None:
        notification, address, request_id, ordinal, attempt, channel, sender, step, locale = message
        slot = self.bodies[request_id].slot(ordinal)
        self.moves.move(request_id, *change)
        self.moves.transitions[request_id].append(
            Transition(
                notification_id=notification,
                address_id=address,
                recipient=slot.recipient if slot else "",
                attempt=attempt,
                was=change[0].word,
                is_=change[1].word,
                reason=reason.word,
                at=self.now,
                channel=Channel(channel).word if channel else None,
                sender=sender,
                step=step,
                locale=locale,
            )
        )
