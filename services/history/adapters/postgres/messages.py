"""Messages out of their rows: first which notifications, then everything about them."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from libs.contracts.outcomes import Channel, ReceiptKind, Status
from libs.contracts.reasons import Reason
from libs.ids import parse_message_id
from services.history.domain.facts import Message, Receipt, Rejection, Transition
from services.history.ports import Search

# $1 tenant, $2 mode, $3 limit, $4 before, $5 communication, $6 what is looked for
_TAIL = """
  and t.tenant = $1 and t.mode = $2 and ($4::uuid is null or t.notification_id < $4)
  and ($5::text is null or t.request_id in (
    select r.id from request r where r.id = t.request_id and r.communication = (select id from term where word = $5)))
group by t.notification_id order by t.notification_id desc limit $3
"""
_DIRECT = "select t.notification_id from transition t where {which} {tail}"
_BY_RECIPIENT = _DIRECT.format(
    which="hashtextextended(t.recipient, 0) = hashtextextended($6::text, 0) and t.recipient = $6", tail=_TAIL
)
_BY_ADDRESS = _DIRECT.format(which="t.address_key = $6::bigint", tail=_TAIL)
# a notification's id begins with the 48 time bits of its cause: a range of the primary key finds a request's messages
_OF_REQUESTS = """
select t.notification_id from request r cross join lateral (
  select * from transition t where t.request_id = r.id
    and t.notification_id >= (substr(r.cause_id::text, 1, 13) || '-0000-0000-000000000000')::uuid
    and t.notification_id <= (substr(r.cause_id::text, 1, 13) || '-ffff-ffff-ffffffffffff')::uuid
    and ($7::text is null or t.recipient = $7)) t
where {which} {tail}
"""
_BY_SUBJECT = _OF_REQUESTS.format(
    which="hashtextextended(r.subject, 0) = hashtextextended($6::text, 0) and r.subject = $6"
    " and r.tenant = $1 and r.mode = $2",
    tail=_TAIL,
)
_BY_CAUSES = _OF_REQUESTS.format(which="r.cause_id = any ($6::uuid[])", tail=_TAIL)

_TRANSITIONS = """
select t.*, r.cause_id, r.release_id, r.subject, term.word as communication
from unnest($3::uuid[]) as wanted (id)
cross join lateral (
  select * from transition t where t.notification_id = wanted.id and t.tenant = $1 and t.mode = $2) t
join request r on r.id = t.request_id
join term on term.id = r.communication
order by t.notification_id, t.address_id, t.attempt, t.at
"""
_RECEIPTS = """
select t.* from unnest($3::uuid[]) as wanted (id)
cross join lateral (select * from receipt t where t.notification_id = wanted.id and t.tenant = $1 and t.mode = $2) t
order by t.at
"""
_REJECTIONS = """
select t.* from unnest($3::uuid[]) as wanted (id)
cross join lateral (select * from rejection t where t.notification_id = wanted.id and t.tenant = $1 and t.mode = $2) t
order by t.attempt, t.at
"""

Key = tuple[UUID, int]


async def find_messages(connection: Any, wanted: Search) -> list[Message]:
    """The messages of the newest `limit` notifications that fit, newest first."""
    ids = await _notifications(connection, wanted)
    if not ids:
        return []
    owned = (wanted.tenant, wanted.mode, ids)
    transitions = await connection.fetch(_TRANSITIONS, *owned)
    receipts = await connection.fetch(_RECEIPTS, *owned)
    rejections = await connection.fetch(_REJECTIONS, *owned)
    rows: dict[Key, list[Any]] = {}
    for row in transitions:
        rows.setdefault((row["notification_id"], row["address_id"]), []).append(row)
    came_back, refused = _by_message(receipts), _by_message(rejections)
    made = [_message(of, came_back.get(key, []), refused.get(key, [])) for key, of in rows.items()]
    return sorted(made, key=lambda m: (m.notification_id, -m.address_id), reverse=True)


async def _notifications(connection: Any, wanted: Search) -> list[UUID]:
    if wanted.message is not None:
        return [parse_message_id(wanted.message)[0]]
    if wanted.notifications:
        return list(wanted.notifications)
    common = (wanted.tenant, wanted.mode, wanted.limit, wanted.before, wanted.communication)
    if wanted.subject is not None:
        rows = await connection.fetch(_BY_SUBJECT, *common, wanted.subject, wanted.recipient)
    elif wanted.causes:
        rows = await connection.fetch(_BY_CAUSES, *common, list(wanted.causes), wanted.recipient)
    elif wanted.recipient is not None:
        rows = await connection.fetch(_BY_RECIPIENT, *common, wanted.recipient)
    elif wanted.address_key is not None:
        rows = await connection.fetch(_BY_ADDRESS, *common, wanted.address_key)
    else:
        return []
    return [row["notification_id"] for row in rows]


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
