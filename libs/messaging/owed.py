"""Events that subscribers failed to process: retried with back-off, then stored as dead letters."""

import random
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from prometheus_client import Counter

from libs.ids import uuid7
from libs.messaging.erasing import buried
from libs.messaging.reading import Failure
from libs.telemetry import get_logger, span

log = get_logger(__name__)
_dead_letters = Counter("depesche_dead_letters", "Events that a subscriber failed to process", ["type", "subscriber"])

EVENT_COLUMNS = (
    "event_id", "type", "source", "subject", "tenant", "mode", "partition_key", "payload", "traceparent", "created_at"
)  # fmt: skip
_OWE = """
insert into outbox_delivery (outbox_id, subscriber, attempts, due_at, error)
select id, subscriber, 1, now() + delay * interval '1 second', error
from unnest($1::bigint[], $2::text[], $3::float8[], $4::text[]) as owed (id, subscriber, delay, error)
"""
_STAYS = "update outbox set published_at = now() where id = any($1)"
# an owed event of a bundle gets its own row, so that the rest of the bundle can be deleted
_OWN_ROW = """
insert into outbox (event_id, type, source, subject, tenant, mode, partition_key, payload, traceparent, created_at,
                    published_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, now()) returning id
"""
_LATER = """
update outbox_delivery set attempts = $3, error = $4, due_at = now() + $5 * interval '1 second'
where outbox_id = $1 and subscriber = $2
"""
_ALL_TOOK_IT = """
delete from outbox o where id = $1 and not exists (select from outbox_delivery d where d.outbox_id = o.id)
"""
_BURY = """
insert into dead_letter (id, event_id, type, source, subscriber, subject, tenant, mode, partition_key, payload,
                         traceparent, created_at, attempts, reason)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
"""

ATTEMPTS_IN_AN_OUTAGE = 4_000  # about a day, at 22 s on average between two

Owed = tuple[Any, str, Failure]  # the event as its own row, the subscriber that failed, and why


async def remember(connection: Any, owed: Sequence[Owed]) -> set[int]:
    """Record who is owed what after a first delivery; return the ids of the outbox rows that must stay."""
    kept: dict[UUID, int] = {}  # event → the row that stays for it
    for row, subscriber, failure in owed:
        if failure.final:
            await _bury(connection, row, subscriber, 1, failure.reason)
        elif row["event_id"] not in kept:
            kept[row["event_id"]] = await _row_of_its_own(connection, row)
    again = [(kept[row["event_id"]], subscriber, f.reason) for row, subscriber, f in owed if not f.final]
    if again:
        await connection.execute(_STAYS, sorted(kept.values()))
        ids, subscribers, reasons = zip(*again, strict=True)
        await connection.execute(_OWE, ids, subscribers, [_back_off(1) for _ in again], reasons)
    return set(kept.values())


async def settle(connection: Any, row: Any, failure: Failure | None, max_attempts: int) -> None:
    """Record the result of a retry; `row` has the event, its `subscriber` and its `attempts` so far."""
    attempts = row["attempts"] + 1
    owed = (row["id"], row["subscriber"])
    # an unavailable store says nothing about the event: eight attempts, half a minute, would bury everything that came
    most = ATTEMPTS_IN_AN_OUTAGE if failure is not None and failure.outage else max_attempts
    if failure is not None and not failure.final and attempts < most:
        await connection.execute(_LATER, *owed, attempts, failure.reason, _back_off(attempts))
        return
    if failure is not None:
        await _bury(connection, row, row["subscriber"], attempts, failure.reason)
    await connection.execute("delete from outbox_delivery where outbox_id = $1 and subscriber = $2", *owed)
    await connection.execute(_ALL_TOOK_IT, row["id"])


async def _row_of_its_own(connection: Any, row: Any) -> int:
    if row["entries"] == 1:
        return int(row["id"])
    return int(await connection.fetchval(_OWN_ROW, *(row[name] for name in EVENT_COLUMNS)))


async def _bury(connection: Any, row: Any, subscriber: str, attempts: int, reason: str) -> None:
    with span("dead_letter", parent=row["traceparent"]):
        log.error("dead_letter", type=row["type"], subscriber=subscriber, reason=reason, event_id=str(row["event_id"]))
    _dead_letters.labels(row["type"], subscriber).inc()
    letter = await buried(connection, row, reason)
    await connection.execute(
        _BURY,
        uuid7(),
        row["event_id"],
        row["type"],
        row["source"],
        subscriber,
        letter.subject,
        row["tenant"],
        row["mode"],
        letter.partition_key,
        letter.payload,
        row["traceparent"],
        row["created_at"],
        attempts,
        letter.reason,
    )


def _back_off(attempts: int) -> float:
    """Return the seconds until the next attempt: 0.2, 0.4 … 30, half of it random, so that failures spread out."""
    return float(min(30.0, 0.1 * 2 ** min(attempts, 10)) * (0.5 + random.random() / 2))
