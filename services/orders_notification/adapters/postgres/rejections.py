"""Deliveries that could not become events, sealed as they came, until they expire."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from libs import exact_json
from libs.contracts.audit import ActionRecorded
from libs.contracts.outcomes import Mode
from libs.contracts.reasons import Reason
from libs.errors import FieldError
from libs.keyring import Keyring
from libs.messaging import outbox
from libs.messaging.outbox import Outgoing
from libs.storage.database import Database
from services.orders_notification.domain.intake import Kept, Raw
from services.orders_notification.ports.rejections import Filter, Rejection
from services.orders_notification.ports.sources import Author

# headers that differ each time a sender repeats a delivery: Stripe signs the time anew, proxies count their requests
_OF_AN_ATTEMPT = re.compile(
    r"signature|timestamp|trace(parent|state)|forwarded|(request|correlation)-id|retry|attempt|^(date|via|user-agent)$"
)
_INSERT = """
insert into rejection as r (id, tenant, mode, source, client, reason, errors, event_type, event_source, event_id,
                            subject, headers, query, body, sealed, digest, received_at, last_at, recipient)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, '{}', '{}', '', $12, $13, $14, $14, $15)
on conflict (tenant, mode, digest) where state = 0
do update set times = r.times + 1, last_at = excluded.last_at, reason = excluded.reason, errors = excluded.errors,
  event_type = coalesce(excluded.event_type, r.event_type), recipient = coalesce(excluded.recipient, r.recipient)
returning id
"""
_REJECTED_AGAIN = """
update rejection set times = times + 1, last_at = $2, reason = $3, errors = $4, event_type = coalesce($5, event_type),
  recipient = coalesce($6, recipient)
where id = $1
"""
_COLUMNS = """
id, source, client, reason, errors, event_type, event_source, event_id, subject, headers, query, body, sealed,
times, received_at, last_at, state, replayed_at
"""
_FIND = f"select {_COLUMNS} from rejection where tenant = $1 and mode = $2"  # noqa: S608 - our own words
_NARROWED = {
    "before": "id < {}",
    "after": "id > {}",
    "source": "source = {}",
    "type": "event_type = {}",
    "reason": "reason = {}",
    "state": "state = {}",
    "ids": "id = any({})",
    "subjects": "subject = any({})",
}
_REPLAYED = """
update rejection set state = 1, replayed_at = $4
where tenant = $1 and mode = $2 and state = 0 and id = any($3)
"""

_CLEAR = "select id, headers, query, body from rejection where sealed is null limit $1 for update skip locked"
_SEAL = """
update rejection r set sealed = s.sealed, headers = '{}', query = '{}', body = ''
from unnest($1::uuid[], $2::bytea[]) as s (id, sealed) where r.id = s.id
"""
_AT_ONCE = 100
_PURPOSE = "rejections"
_ERASE = "delete from rejection where tenant = $1 and mode = $2 and recipient = $3"


async def erase(connection: Any, tenant: int, mode: Mode, recipient: str) -> None:
    """Delete an erased recipient's rejections: replayed, they would be about nobody."""
    await connection.execute(_ERASE, tenant, int(mode), recipient)


async def insert(connection: Any, kept: Sequence[Kept], now: datetime, keyring: Keyring) -> dict[UUID, UUID]:
    """Store rejections; return the row of each: an earlier one's where a sender repeats a delivery, or we replay it."""
    digests = {item.id: _digest(item) for item in kept}
    rows: dict[UUID, UUID] = {}
    for item in sorted(kept, key=lambda item: (item.origin.tenant, item.origin.mode, digests[item.id])):
        if (row := item.origin.replayed) is not None:  # its digest may be of another version of ours
            rows[item.id] = row
            await connection.execute(_REJECTED_AGAIN, row, now, *_verdict(item))
            continue
        rows[item.id] = await connection.fetchval(
            _INSERT, *_row(item, _sealed(keyring, item.id, item.raw), digests[item.id], now)
        )
    return rows


def _digest(item: Kept) -> bytes:
    """Hash a delivery as received; for an event its key and data, because we may have added the time ourselves."""
    if item.origin.source is not None or item.event is None:
        # Shopify sends one order's body on several topics, and two messages may differ only in their keys
        raw = item.raw
        headers = sorted(pair for pair in raw.headers.items() if not _OF_AN_ATTEMPT.search(pair[0]))
        said = exact_json.dumps([item.origin.source, headers, sorted(raw.query.items())])
        return hashlib.sha256(said + b"\0" + raw.body).digest()
    key = f"{len(item.event.source)}:{item.event.source}:{item.event.id}\0"
    return hashlib.sha256(key.encode() + item.event.body).digest()


def _sealed(keyring: Keyring, id_: UUID, raw: Raw) -> bytes:
    return keyring.seal(_PURPOSE, msgspec.msgpack.encode(raw), id_.bytes)


def _verdict(item: Kept) -> tuple[Any, ...]:
    errors = [{"pointer": error.pointer, "detail": error.detail} for error in item.errors]
    return int(item.reason), errors, item.event.type if item.event else None, item.recipient


def _row(item: Kept, sealed: bytes, digest: bytes, now: datetime) -> tuple[Any, ...]:
    event = item.event
    reason, errors, event_type, recipient = _verdict(item)
    return (
        item.id,
        item.origin.tenant,
        int(item.origin.mode),
        item.origin.source,
        item.origin.client,
        reason,
        errors,
        event_type,
        event.source if event else None,
        event.id if event else None,
        event.subject if event else None,
        sealed,
        digest,
        now,
        recipient,
    )


class PostgresRejections:
    """Implements ports.rejections.Rejections."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring

    async def find(self, tenant: int, mode: Mode, wanted: Filter) -> list[Rejection]:
        asked = {name: value for name in _NARROWED if (value := getattr(wanted, name)) is not None}
        async with self._database.acquire() as connection:
            values = (tenant, int(mode), wanted.limit, *asked.values())
            rows = await connection.fetch(_question(asked, oldest_first=wanted.oldest_first), *values)
        return [self._rejection(row) for row in rows]

    async def seal_clear(self) -> int:
        total, count = 0, _AT_ONCE
        while count == _AT_ONCE:
            async with self._database.transaction() as connection:
                rows = await connection.fetch(_CLEAR, _AT_ONCE)
                raws = [Raw(row["body"], row["headers"], row["query"]) for row in rows]
                sealed = [_sealed(self._keyring, row["id"], raw) for row, raw in zip(rows, raws, strict=True)]
                await connection.execute(_SEAL, [row["id"] for row in rows], sealed)
            count = len(rows)
            total += count
        return total

    async def replayed(self, author: Author, ids: Sequence[UUID]) -> None:
        recorded = ActionRecorded(
            actor=author.actor,
            action="rejection.replay",
            object=str(ids[0]) if len(ids) == 1 else f"{len(ids)} rejections",
            at=author.at,
            after={"ids": [str(id_) for id_ in ids[:100]], "count": len(ids)},
        )
        tenant, mode = author.tenant, int(author.mode)
        async with self._database.transaction() as connection:
            await connection.execute(_REPLAYED, tenant, mode, sorted(ids), author.at)
            told = Outgoing(recorded, "rejections", tenant, mode, source="orders-notification")
            await outbox.append(connection, [told])

    def _rejection(self, row: Any) -> Rejection:
        values = dict(row)
        if (sealed := values.pop("sealed")) is not None:
            raw = msgspec.msgpack.decode(self._keyring.open(_PURPOSE, sealed, values["id"].bytes), type=Raw)
            values |= {"body": raw.body, "headers": raw.headers, "query": raw.query}
        values["reason"] = Reason(values["reason"])
        values["errors"] = tuple(FieldError(error["pointer"], error["detail"]) for error in values["errors"])
        return Rejection(**values)


def _question(asked: Iterable[str], *, oldest_first: bool = False) -> str:
    """Return a statement with only the conditions that are used: after a while Postgres makes a generic plan, which for
    "is null or" reads all of a tenant's rows."""
    narrowed = "".join(f" and {_NARROWED[name].format(f'${place}')}" for place, name in enumerate(asked, 4))
    return f"{_FIND}{narrowed} order by id {'asc' if oldest_first else 'desc'} limit $3"
