"""Reads for the API: requests, messages, the standing of notifications, figures."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.contracts.outcomes import Mode, Status
from libs.contracts.reasons import Reason
from libs.ids import moment_of
from libs.keyring import Keyring
from libs.storage.database import Database
from services.delivery.adapters.postgres.lease import read_requests
from services.delivery.domain.bodies import Body
from services.delivery.domain.standing import MessageRow, QueuedWork, Standing
from services.delivery.domain.work import Request

# Duplicates are counted here. `message.duplicates` is no longer written: a late answer would have had to lock its
# message after others of its batch, out of order.
_MESSAGE = f"""
select m.notification_id, m.address_id, m.request_id, m.ordinal, m.status, m.reason, m.channel, m.sender, m.plan_step,
       m.locale, m.attempt,
       (select count(*) from attempt a where a.notification_id = m.notification_id and a.address_id = m.address_id
          and a.status = {int(Status.SENT)}),
       m.provider_ref, m.detail, m.content_digest, m.address_hash, m.claimed_at,
       m.recorded_at, r.tenant, r.mode, r.communication, s.account ->> 'from_address'
"""  # noqa: S608 - our own number
_MESSAGES = (
    _MESSAGE
    + """
from unnest($1::uuid[], $2::bigint[]) as k (notification_id, address_id)
join message m on m.notification_id = k.notification_id and m.address_id = k.address_id
join request r on r.id = m.request_id and ($3 = 0 or (r.tenant = $3 and r.mode = $4))
left join sender s on s.tenant = r.tenant and s.mode = r.mode and s.number = m.sender
"""
)
_BY_NOTIFICATION = (
    _MESSAGE
    + """
from unnest($1::uuid[]) as k (notification_id) join message m on m.notification_id = k.notification_id
join request r on r.id = m.request_id and r.tenant = $2 and r.mode = $3
left join sender s on s.tenant = r.tenant and s.mode = r.mode and s.number = m.sender
order by m.notification_id, m.plan_step, m.address_id
"""
)
# A notification's id contains its cause's time, as its requests' ids do: that finds them before it has a row.
_REQUESTS_OF = """
select distinct r.id from unnest($1::uuid[], $2::uuid[]) as t (low, high)
join request r on r.id >= t.low and r.id < t.high and r.tenant = $3 and r.mode = $4
"""
_WORK = """
select request_id, ordinals, due_at, attempt, plan_step, reason, calling, leased_until > '-infinity', held, held_sender,
       lane = 2
from work where request_id = any($1::uuid[])
union all
select t.id, ordinals, due_at, attempt, plan_step, reason, calling, leased_until > '-infinity', held, held_sender, false
from work, unnest(together) as t (id) where together is not null and t.id = any($1::uuid[])
"""
_ATTEMPTS = """
select notification_id, address_id, attempt, status, reason, provider_ref, recorded_at from attempt
where notification_id = any($1::uuid[]) order by attempt
"""
_RECEIPTS = """
select notification_id, address_id, attempt, kind, provider, at, detail, vendor_class from receipt
where notification_id = any($1::uuid[]) order by at
"""
_RECEIPT_FIELDS = ("attempt", "kind", "provider", "at", "detail", "vendor_class")
_REQUEST = """
select id, cause_id, cause_kind, parent_id, release_id, communication, subject, lane, on_unknown, expires_at,
       received_at, cancelled_at, settled_at, recipients, extra, pending, sent, failed, skipped, suppressed, unknown
from request where id = $1 and tenant = $2 and mode = $3
"""
_FIGURES = """
select count(*), count(*) filter (where settled_at is null), coalesce(sum(recipients + extra), 0),
       coalesce(sum(pending), 0), coalesce(sum(sent), 0), coalesce(sum(failed), 0), coalesce(sum(skipped), 0),
       coalesce(sum(suppressed), 0), coalesce(sum(unknown), 0)
from request where tenant = $1 and mode = $2 and received_at >= $3
"""
_BY_COMMUNICATION = """
select communication, sum(recipients + extra), sum(pending), sum(sent), sum(failed), sum(skipped), sum(suppressed),
       sum(unknown)
from request where tenant = $1 and mode = $2 and received_at >= $3 group by communication order by communication
"""
_BACKLOG = """
select w.lane, count(*), sum(coalesce(cardinality(w.together), cardinality(w.ordinals))),
       count(*) filter (where w.held),
       coalesce(extract(epoch from now() - min(w.due_at) filter (where not w.held)), 0)::float8
from work w group by w.lane
"""


_UNKNOWN = """
select r.tenant, r.mode, m.sender, count(*) from doubt d
join message m on m.notification_id = d.notification_id and m.address_id = d.address_id and m.status = 6
join request r on r.id = m.request_id group by r.tenant, r.mode, m.sender
"""

_COLUMNS = [field.name for field in fields(MessageRow)][:22]


@dataclass(frozen=True, slots=True)
class PostgresReads:
    """Reads of one schema; nothing here locks."""

    database: Database
    keyring: Keyring

    async def messages(self, realm: tuple[int, Mode], keys: Sequence[tuple[UUID, int]]) -> list[MessageRow]:
        """Return messages by key, with attempts and receipts. Tenant 0 (the suite) sees all tenants' messages."""
        async with self.database.acquire() as connection:
            ids = ([key[0] for key in keys], [key[1] for key in keys])
            rows = [_message(row) for row in await connection.fetch(_MESSAGES, *ids, realm[0], int(realm[1]))]
            await _history(connection, rows)
            await self._name(connection, rows)
        return rows

    async def requests(self, ids: set[UUID]) -> dict[UUID, Request]:
        """Return requests with their bodies."""
        async with self.database.acquire() as connection:
            return await read_requests(connection, ids)

    async def request(self, realm: tuple[int, Mode], id_: UUID) -> dict[str, Any] | None:
        """Return one request with its account."""
        async with self.database.acquire() as connection:
            row = await connection.fetchrow(_REQUEST, id_, realm[0], int(realm[1]))
        return dict(row) if row else None

    async def standings(self, realm: tuple[int, Mode], ids: Sequence[UUID]) -> list[Standing]:
        """Return where notifications stand; unknown ids are absent."""
        wanted = sorted(set(ids))
        low, high = zip(*map(moment_of, wanted), strict=True) if wanted else ((), ())
        # one snapshot: between two, a claim may move a recipient from the queue to a row, and neither read would find
        # it
        async with self.database.snapshot() as connection:
            rows = await connection.fetch(_BY_NOTIFICATION, wanted, realm[0], int(realm[1]))
            messages = [_message(row) for row in rows]
            around = await connection.fetch(_REQUESTS_OF, low, high, realm[0], int(realm[1]))
            requests = await read_requests(connection, {row[0] for row in around})
            work = await connection.fetch(_WORK, list(requests))
        return self._standings(set(wanted), messages, requests, work)

    def _standings(
        self, wanted: set[UUID], messages: list[MessageRow], requests: dict[UUID, Request], work: Sequence[Any]
    ) -> list[Standing]:
        found: dict[UUID, Standing] = {}
        for request in requests.values():
            if request.body is None:
                continue
            body = Body(self.keyring, request.id, request.body)
            for ordinal in range(len(body)):
                if (id_ := body.notification_id(ordinal)) not in wanted:
                    continue
                slot = body.slot(ordinal)
                standing = found.setdefault(id_, Standing(id_))
                standing.request_id, standing.expires_at = request.id, request.expires_at
                standing.subject, standing.communication = request.subject, request.communication
                standing.cause_id, standing.release_id = request.cause_id, request.release_id
                standing.recipient = slot.recipient if slot else ""
                standing.work += [_work(row) for row in work if row[0] == request.id and ordinal in row[1]]
        for message in messages:
            standing = found.setdefault(message.notification_id, Standing(message.notification_id))
            standing.request_id = message.request_id
            standing.messages.append(message)
        return list(found.values())

    async def figures(self, realm: tuple[int, Mode], since: datetime) -> dict[str, Any]:
        """Return sums of the requests received since, and the queue of all tenants."""
        async with self.database.acquire() as connection:
            row = await connection.fetchrow(_FIGURES, realm[0], int(realm[1]), since)
            each = await connection.fetch(_BY_COMMUNICATION, realm[0], int(realm[1]), since)
            backlog = await connection.fetch(_BACKLOG)
            outbox = await connection.fetchrow(
                "select count(*), coalesce(extract(epoch from now() - min(created_at)), 0)::float8 from outbox"
                " where published_at is null"
            )
        names = ("total", "pending", "sent", "failed", "skipped", "suppressed", "unknown")
        return {
            "requests": row[0],
            "open_requests": row[1],
            "messages": dict(zip(names, [int(value) for value in row[2:]], strict=True)),
            "communications": {name: dict(zip(names, map(int, sums), strict=True)) for name, *sums in each},
            "backlog": {lane: (rows, int(n), held, oldest) for lane, rows, n, held, oldest in backlog},
            "outbox": (outbox[0], outbox[1]),
        }

    async def backlog(self) -> dict[int, tuple[int, int, int, float]]:
        """Return, by lane: chunks, recipients, held chunks, age in seconds of the oldest due row."""
        async with self.database.acquire() as connection:
            found = await connection.fetch(_BACKLOG)
        return {lane: (rows, int(n), held, oldest) for lane, rows, n, held, oldest in found}

    async def unknown_by_sender(self) -> dict[tuple[int, int, int], int]:
        """Count unknown messages, by (tenant, mode, sender)."""
        async with self.database.acquire() as connection:
            return {(row[0], row[1], row[2]): row[3] for row in await connection.fetch(_UNKNOWN)}

    async def _name(self, connection: Any, rows: Sequence[MessageRow]) -> None:
        requests = await read_requests(connection, {row.request_id for row in rows})
        for row in rows:
            raw = requests[row.request_id].body
            slot = Body(self.keyring, row.request_id, raw).slot(row.ordinal) if raw else None
            row.recipient = slot.recipient if slot else ""
            row.erased = slot is None and raw is not None


async def _history(connection: Any, rows: Sequence[MessageRow]) -> None:
    by_key = {(row.notification_id, row.address_id): row for row in rows}
    ids = sorted({row.notification_id for row in rows})
    for notification, address, *rest in await connection.fetch(_ATTEMPTS, ids):
        if (row := by_key.get((notification, address))) is not None:
            row.attempts.append(dict(zip(("attempt", "status", "reason", "provider_ref", "at"), rest, strict=True)))
    for notification, address, *rest in await connection.fetch(_RECEIPTS, ids):
        if (row := by_key.get((notification, address))) is not None:
            row.receipts.append(dict(zip(_RECEIPT_FIELDS, rest, strict=True)))


def _message(row: Any) -> MessageRow:
    values = dict(zip(_COLUMNS, row, strict=True))
    return MessageRow(**values | {"status": Status(row[4]), "reason": Reason(row[5])})


def _work(row: Any) -> QueuedWork:
    _, _, due_at, attempt, step, reason, *rest = row
    return QueuedWork(due_at, attempt, step, Reason(reason), *rest)
