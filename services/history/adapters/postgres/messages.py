"""Reads messages from their rows: first finds the notifications, then loads everything about them."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from libs.contracts.outcomes import Channel, ReceiptKind, Status
from libs.contracts.reasons import Reason
from libs.ids import first_id_at, parse_message_id, time_of
from services.history.domain.facts import Message, Receipt, Rejection, Transition
from services.history.ports import Search

# Filtered first, sorted afterwards: with a LIMIT in sight the planner would rather scan a partition's key backwards.
# $1 tenant, $2 mode, $3 rows, $4 before, $5 communication, $6 the value searched for
_FIND = """
with found as materialized (
  select t.*, r.cause_id, r.release_id, r.subject, term.word as communication
  from {source} join term on term.id = r.communication
  where t.tenant = $1 and t.mode = $2 and ($4::uuid is null or t.notification_id < $4)
    and ($5::text is null or term.word = $5) and {which}
)
select * from found order by notification_id desc, address_id, attempt, at limit $3
"""
_DIRECT = "transition t join request r on r.id = t.request_id"
_BY_RECIPIENT = _FIND.format(
    source=_DIRECT, which="hashtextextended(t.recipient, 0) = hashtextextended($6::text, 0) and t.recipient = $6"
)
_BY_NOTIFICATIONS = _FIND.format(source=_DIRECT, which="t.notification_id = any ($6::uuid[])")
# a notification's id begins with the 48 time bits of its cause, so a range of the primary key finds a cause's messages;
# $8 and $9 are the outermost bounds, so that only the weeks in between are opened
_OF_CAUSES = """unnest($6::uuid[]) as cause (id) cross join lateral (
  select * from transition t
  where t.notification_id between (substr(cause.id::text, 1, 13) || '-0000-0000-000000000000')::uuid
      and (substr(cause.id::text, 1, 13) || '-ffff-ffff-ffffffffffff')::uuid
    and t.notification_id >= $8 and t.notification_id <= $9) t
  join request r on r.id = t.request_id and r.cause_id = cause.id"""
_BY_CAUSES = _FIND.format(source=_OF_CAUSES, which="($7::text is null or t.recipient = $7)")
_CAUSES_OF_SUBJECT = """
with found as materialized (
  select cause_id from request where hashtextextended(subject, 0) = hashtextextended($1::text, 0) and subject = $1
    and tenant = $2 and mode = $3 and ($5::uuid is null or cause_id <= $5)
)
select distinct cause_id from found order by cause_id desc limit $4
"""
_BY_ADDRESS = """
with found as materialized (
  select notification_id from transition
  where address_key = $4::bigint and tenant = $1 and mode = $2 and ($5::uuid is null or notification_id < $5)
)
select distinct notification_id from found order by notification_id desc limit $3
"""
_RECEIPTS = """
select * from receipt where notification_id = any ($3::uuid[]) and tenant = $1 and mode = $2 order by at
"""
_REJECTIONS = """
select * from rejection where notification_id = any ($3::uuid[]) and tenant = $1 and mode = $2 order by attempt, at
"""
_ROWS_A_NOTIFICATION = 6
_LEAST_ROWS = 5_000  # a single notification to twenty addresses, each tried hundreds of times, is returned whole

Key = tuple[UUID, int]


async def find_messages(connection: Any, wanted: Search) -> list[Message]:
    """Return the messages of the newest `limit` notifications that match, newest first."""
    transitions = await _transitions(connection, wanted)
    if not transitions:
        return []
    rows: dict[Key, list[Any]] = {}
    for row in transitions:
        rows.setdefault((row["notification_id"], row["address_id"]), []).append(row)
    owned = (wanted.tenant, wanted.mode, list({notification for notification, _ in rows}))
    came_back = _by_message(await connection.fetch(_RECEIPTS, *owned))
    refused = _by_message(await connection.fetch(_REJECTIONS, *owned))
    made = [_message(of, came_back.get(key, []), refused.get(key, [])) for key, of in rows.items()]
    return sorted(made, key=lambda m: (m.notification_id, -m.address_id), reverse=True)


async def _transitions(connection: Any, wanted: Search) -> list[Any]:
    ids = wanted.notifications
    if wanted.message is not None:
        ids = (parse_message_id(wanted.message)[0],)
    elif wanted.address_key is not None and wanted.recipient is None and wanted.subject is None:
        place = (wanted.address_key, wanted.before)
        found = await connection.fetch(_BY_ADDRESS, wanted.tenant, wanted.mode, wanted.limit, *place)
        ids = tuple(row["notification_id"] for row in found)
    limit = max(_LEAST_ROWS, _ROWS_A_NOTIFICATION * max(wanted.limit, len(ids)))
    common = (wanted.tenant, wanted.mode, limit, wanted.before, wanted.communication)
    causes = list(wanted.causes)
    if not ids and wanted.subject is not None:
        looked_for = (wanted.subject, wanted.tenant, wanted.mode, wanted.limit, _last_of(wanted.before))
        causes = [row["cause_id"] for row in await connection.fetch(_CAUSES_OF_SUBJECT, *looked_for)]
    if ids:
        rows = await connection.fetch(_BY_NOTIFICATIONS, *common, list(ids))
    elif causes:
        bounds = (first_id_at(time_of(min(causes))), _last_of(max(causes)))
        rows = await connection.fetch(_BY_CAUSES, *common, causes, wanted.recipient, *bounds)
    elif wanted.recipient is not None and wanted.subject is None:
        rows = await connection.fetch(_BY_RECIPIENT, *common, wanted.recipient)
    else:
        return []
    return _whole(rows, limit, max(wanted.limit, len(ids)))


def _last_of(id_: UUID | None) -> UUID | None:
    """Return the highest id of the same millisecond."""
    return None if id_ is None else UUID(int=id_.int | (1 << 80) - 1)


def _whole(rows: Sequence[Any], limit: int, notifications: int) -> list[Any]:
    """Return the rows of the newest notifications, without one that the limit cut off."""
    kept = list(dict.fromkeys(row["notification_id"] for row in rows))
    if len(rows) == limit and len(kept) > 1:
        kept.pop()
    wanted = set(kept[:notifications])
    return [row for row in rows if row["notification_id"] in wanted]


def _by_message(rows: Sequence[Any]) -> dict[Key, list[Any]]:
    found: dict[Key, list[Any]] = {}
    for row in rows:
        found.setdefault((row["notification_id"], row["address_id"]), []).append(row)
    return found


def _message(rows: Sequence[Any], receipts: Sequence[Any], rejections: Sequence[Any]) -> Message:
    first = rows[0]
    return Message(
        notification_id=first["notification_id"],
        address_id=first["address_id"],
        communication=first["communication"],
        cause_id=first["cause_id"],
        release_id=first["release_id"],
        request_id=first["request_id"],
        recipient=next((row["recipient"] for row in rows if row["recipient"]), None),
        subject=first["subject"],
        transitions=tuple(_transition(row) for row in rows),
        receipts=tuple(
            Receipt(row["at"], row["attempt"], ReceiptKind(row["kind"]), row["provider"], row["detail"])
            for row in receipts
        ),
        rejections=tuple(
            Rejection(
                row["at"],
                row["attempt"],
                row["final"],
                row["text"] or "",
                row["reply_code"],
                row["enhanced_code"],
                row["error"],
            )
            for row in rejections
        ),
        address_key=next((row["address_key"] for row in rows if row["address_key"] is not None), None),
    )


def _transition(row: Any) -> Transition:
    return Transition(
        at=row["at"],
        attempt=row["attempt"],
        was=Status(row["was"]),
        status=Status(row["status"]),
        reason=Reason(row["reason"]),
        channel=Channel(row["channel"]) if row["channel"] is not None else None,
        sender=row["sender"],
        step=row["step"],
        locale=row["locale"],
        provider_ref=row["provider_ref"],
        detail=row["detail"],
    )
