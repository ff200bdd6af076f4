"""Events, their keys, and their outbox rows: one transaction per batch."""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from itertools import chain
from typing import Any
from uuid import UUID

from libs import exact_json
from libs.contracts.erasing import is_gone
from libs.contracts.orders_notification import Decision, DecisionRecorded
from libs.contracts.outcomes import Lane
from libs.ids import time_of
from libs.keyring import Keyring
from libs.messaging import outbox
from libs.messaging.outbox import FIRST_LANE, SECOND_LANE, Outgoing
from libs.storage.database import Database
from libs.storage.erasures import Erased, erased_among, mark
from libs.storage.new_rows import insert, written
from services.orders_notification.adapters.postgres import rejections
from services.orders_notification.domain.intake import Kept, Prepared
from services.orders_notification.ports.intake import Stored

_CLAIM = """
insert into event_key (key, event_id) select * from unnest($1::uuid[], $2::uuid[])
on conflict (key) do nothing returning key
"""
_FIRST = "select key, event_id from event_key where key = any($1)"
# Written with COPY: it takes half the Python of arrays, and a quarter less of Postgres.
_COLUMNS = (
    "id", "tenant", "mode", "type", "source", "event_id", "subject", "recipient", "client", "occurred_at", "time",
    "requested", "decisions", "body", "extensions", "traceparent", "received_at", "decided_at",
)  # fmt: skip
_RECIPIENTS = """
insert into event_recipient (tenant, mode, recipient, id)
select * from unnest($1::smallint[], $2::smallint[], $3::text[], $4::uuid[])
"""
_SETTLE = insert("""
insert into settlement (cause_id, request_id) select * from unnest($1::uuid[], $2::uuid[]) {unless}
""")
_ERASE = """
update event set body = null, extensions = null, recipient = nullif(recipient, $3),
  decisions = convert_to(replace(convert_from(decisions, 'UTF8'), '"recipient":' || $4, '"recipient":null'), 'UTF8')
where tenant = $1 and mode = $2 and (recipient = $3 or id in (
  select id from event_recipient where tenant = $1 and mode = $2 and recipient = $3))
"""
_ERASE_AMONG = "delete from event_recipient where tenant = $1 and mode = $2 and recipient = $3"

_HURRIES = Lane.TRANSACTIONAL.word


class PostgresEvents:
    """Implements ports.intake.EventStore."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring  # for rejections

    async def store(self, prepared: Sequence[Prepared], kept: Sequence[Kept], now: datetime) -> Stored:
        """Claim the keys first: an event that another batch, or this one, has already brought is not written again."""
        async with self._database.transaction() as connection:
            prepared, kept, dropped = await _without_erased(connection, prepared, kept)
            first = await self._claim(connection, prepared)
            fresh = [item for item in prepared if first[item.key] == item.cause]
            if fresh:
                await self._insert(connection, fresh, now)
            rows = await rejections.insert(connection, kept, now, self._keyring) if kept else {}
            new = [item for item in kept if rows[item.id] == item.id]
            await outbox.append(connection, [*_outgoing(fresh, now), *_told(new, now)])
        return Stored(first, rows | dropped)

    async def _claim(self, connection: Any, prepared: Sequence[Prepared]) -> dict[UUID, UUID]:
        if not prepared:
            return {}
        wanted: dict[UUID, UUID] = {}
        for item in prepared:
            wanted.setdefault(item.key, item.cause)  # twice in one batch: the first counts
        keys = sorted(wanted)
        rows = await connection.fetch(_CLAIM, keys, [wanted[key] for key in keys])
        if len(rows) == len(keys):
            return wanted
        claimed = {row["key"] for row in rows}
        earlier = await connection.fetch(_FIRST, [key for key in keys if key not in claimed])
        return wanted | {row["key"]: row["event_id"] for row in earlier}

    async def _insert(self, connection: Any, fresh: Sequence[Prepared], now: datetime) -> None:
        records: list[tuple[Any, ...]] = []
        further: list[tuple[Any, ...]] = []
        for item in fresh:
            named = item.named
            records.append((*_row(item, named), now, now))
            further.extend((item.origin.tenant, int(item.origin.mode), other, item.cause) for other in named[1:])
        await connection.copy_records_to_table("event", records=records, columns=_COLUMNS)
        if further:
            await connection.execute(_RECIPIENTS, *zip(*sorted(further), strict=True))

    async def settle(self, requests: Collection[tuple[UUID, UUID]]) -> None:
        """Idempotent: a request counts once, however often it is reported."""
        ordered = sorted(requests, key=lambda pair: (pair[0].int, pair[1].int))  # comparing UUIDs runs in Python
        columns = [c for c, _ in ordered], [r for _, r in ordered]

        async def run(look: bool) -> None:
            async with self._database.acquire() as connection:
                await connection.execute(_SETTLE[look], *columns)

        await written(run)

    async def erase(self, erased: Sequence[Erased]) -> None:
        await mark(self._database, erased)
        for tenant, mode, recipient, _ in erased:
            async with self._database.transaction() as connection:
                quoted = exact_json.dumps(recipient).decode()  # in JSON no other text can look like this
                await connection.execute(_ERASE, tenant, int(mode), recipient, quoted)
                await connection.execute(_ERASE_AMONG, tenant, int(mode), recipient)
                await rejections.erase(connection, tenant, mode, recipient)


async def _without_erased(
    connection: Any, prepared: Sequence[Prepared], kept: Sequence[Kept]
) -> tuple[Sequence[Prepared], Sequence[Kept], dict[UUID, UUID]]:
    """Return both without the recipients who were erased after the events had come, and the ids of the rejections that
    are not stored at all. Must be the first statement of its transaction."""
    since = min([*(item.came_at for item in prepared), *map(_came_at, kept)], default=None)
    named = ((item.origin, name) for item in prepared for name in item.named)
    about = ((item.origin, item.recipient) for item in kept if item.recipient)
    owners = ((origin.tenant, int(origin.mode), name) for origin, name in chain(named, about))
    erased = await erased_among(connection, owners, since)
    if not erased:
        return prepared, kept, {}

    def gone(item: Prepared | Kept, came_at: datetime, names: Sequence[str | None]) -> set[str]:
        realm = (item.origin.tenant, int(item.origin.mode))
        return {name for name in names if name and is_gone(erased, (*realm, name), came_at)}

    stays = [item for item in kept if not gone(item, _came_at(item), [item.recipient])]
    less = [item.without(names) if (names := gone(item, item.came_at, item.named)) else item for item in prepared]
    return less, stays, {item.id: item.id for item in kept if item not in stays}


def _came_at(item: Kept) -> datetime:
    return item.came_at or time_of(item.id)


def _row(item: Prepared, recipients: list[str]) -> tuple[Any, ...]:
    event = item.event
    return (
        item.cause,
        item.origin.tenant,
        int(item.origin.mode),
        event.type,
        event.source,
        event.id,
        event.subject,
        recipients[0] if recipients else None,
        item.origin.client,
        event.occurred_at,
        event.time,
        len(item.decided.requests),
        exact_json.dumps(item.decided.decisions),
        item.body,
        None if event.extensions is None else exact_json.dumps(event.extensions),
        item.traceparent,
    )


def _outgoing(fresh: Sequence[Prepared], now: datetime) -> Iterator[Outgoing]:
    for item in fresh:
        tenant, mode, subject = item.origin.tenant, int(item.origin.mode), item.event.subject
        for request in item.decided.requests:
            yield Outgoing(
                event=request,
                key=request.recipients[0].key or str(item.cause),
                tenant=tenant,
                mode=mode,
                subject=subject,
                traceparent=item.traceparent,
                lane=FIRST_LANE if request.lane == _HURRIES else SECOND_LANE,
            )
        recorded = DecisionRecorded(
            cause_id=item.cause,
            event_id=item.event.id,
            event_type=item.event.type,
            event_source=item.event.source,
            received_at=now,
            decisions=item.decided.decisions,
            occurred_at=item.event.occurred_at,
        )
        yield Outgoing(
            event=recorded,
            key=str(item.cause),
            tenant=tenant,
            mode=mode,
            subject=subject,
            traceparent=item.traceparent,
        )


def _told(kept: Sequence[Kept], now: datetime) -> Iterator[Outgoing]:
    """A stored rejection is published too, so that `why` finds it by its order number."""
    for item in kept:
        detail = " ".join(error.told for error in item.errors[:5])
        event = item.event
        recorded = DecisionRecorded(
            cause_id=item.id,
            event_id=event.id if event else "",
            event_type=event.type if event else "",
            event_source=event.source if event else f"/sources/{item.origin.source}",
            received_at=now,
            decisions=(Decision(communication=None, outcome=item.reason.word, detail=detail),),
            occurred_at=event.occurred_at if event else None,
        )
        yield Outgoing(
            event=recorded,
            key=str(item.id),
            tenant=item.origin.tenant,
            mode=int(item.origin.mode),
            subject=event.subject if event else None,
            traceparent=item.origin.traceparent,
        )
