"""The outbox: events committed with the state they describe, published afterwards by a relay.

It has two lanes, so that a one-time code does not wait behind a campaign: the second lane holds events that may wait,
in any number. Within a lane, events are published roughly in order of arrival.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from libs.contracts.envelope import Event, encode
from libs.ids import uuid7
from libs.messaging.bundles import Head, Item, bundled, packed
from libs.telemetry import current_traceparent

FIRST_LANE, SECOND_LANE = LANES = (0, 1)

_COLUMNS = "event_id, type, source, subject, tenant, mode, lane, partition_key, payload, traceparent, entries"
_INSERT = f"""
insert into outbox ({_COLUMNS})
select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::smallint[], $6::smallint[], $7::smallint[],
                     $8::text[], $9::bytea[], $10::text[], $11::smallint[])
"""  # noqa: S608 - our own column names
# Smaller groups stay single rows: bundling would save nothing, and psql can read them.
_BUNDLE_FROM = 8


class Outgoing(msgspec.Struct, frozen=True):
    """One event to publish. `key` is the partition key. Set `source` if the contract names none, and `lane` if events
    of one contract differ in urgency."""

    event: Event
    key: str
    tenant: int
    mode: int
    subject: str | None = None
    traceparent: str | None = None
    source: str | None = None
    lane: int | None = None


async def append(connection: Any, events: Sequence[Outgoing]) -> None:
    """Add the events to the outbox of the connection's schema, within its transaction, in one statement."""
    if not events:
        return
    here = current_traceparent()
    if len(events) < _BUNDLE_FROM:
        rows = [_row(one, here) for one in events]
    else:
        items = [(_head(one), packed(_item(one, here))) for one in events]
        rows = [
            _bundle_row(head, [items[n][1] for n in together]) if len(together) > 1 else _row(events[together[0]], here)
            for head, together in bundled(items)
        ]
    await connection.execute(_INSERT, *zip(*rows, strict=True))


def _head(one: Outgoing) -> Head:
    event, lane = one.event, one.lane
    if lane is None:
        lane = SECOND_LANE if event.MAY_WAIT else FIRST_LANE
    return event.TYPE, one.source or event.SOURCE, one.tenant, int(one.mode), lane


def _item(one: Outgoing, here: str | None) -> Item[Event]:
    return Item(uuid7(), one.subject, one.key, one.traceparent or here, one.event)


def _row(one: Outgoing, here: str | None) -> tuple[Any, ...]:
    type_, source, *owner = _head(one)
    traceparent = one.traceparent or here
    return uuid7(), type_, source, one.subject, *owner, one.key, encode(one.event), traceparent, 1


def _bundle_row(head: Head, items: list[bytes]) -> tuple[Any, ...]:
    type_, source, *owner = head
    return uuid7(), type_, source, None, *owner, "", b"[" + b",".join(items) + b"]", None, len(items)
