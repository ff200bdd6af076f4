"""The outbox: events committed with the state they are about, published afterwards by a relay."""

from collections.abc import Sequence
from typing import Any

import msgspec

from libs.contracts.envelope import Event, encode
from libs.ids import uuid7
from libs.messaging.bundles import Head, Item, bundled, packed
from libs.telemetry import current_traceparent

_COLUMNS = "event_id, type, source, subject, tenant, mode, partition_key, payload, traceparent, entries"
_INSERT = f"""
insert into outbox ({_COLUMNS})
select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::smallint[], $6::smallint[],
                     $7::text[], $8::bytea[], $9::text[], $10::smallint[])
"""  # noqa: S608 - our own column names
# Fewer stay rows of their own: there is nothing to save, and they can be read with psql.
_BUNDLE_FROM = 8


class Outgoing(msgspec.Struct, frozen=True):
    """One event to publish. `key` is the partition key; `source` is needed where the contract names none."""

    event: Event
    key: str
    tenant: int
    mode: int
    subject: str | None = None
    traceparent: str | None = None
    source: str | None = None


async def append(connection: Any, events: Sequence[Outgoing]) -> None:
    """Adds the events to the outbox of the connection's schema, in its transaction, in one statement."""
    if not events:
        return
    here = current_traceparent()
    items = [(_head(one), Item(uuid7(), one.subject, one.key, one.traceparent or here, _data(one))) for one in events]
    single = len(items) < _BUNDLE_FROM
    groups = [(head, [item]) for head, item in items] if single else list(bundled(items))
    await connection.execute(_INSERT, *zip(*(_row(head, together) for head, together in groups), strict=True))


def _head(one: Outgoing) -> Head:
    return one.event.TYPE, one.source or one.event.SOURCE, one.tenant, int(one.mode)


def _data(one: Outgoing) -> msgspec.Raw:
    return msgspec.Raw(encode(one.event))


def _row(head: Head, items: list[Item]) -> tuple[Any, ...]:
    type_, source, tenant, mode = head
    if len(items) > 1:
        return uuid7(), type_, source, None, tenant, mode, "", packed(items), None, len(items)
    item = items[0]
    return (
        item.id,
        type_,
        source,
        item.subject,
        tenant,
        mode,
        item.key,
        bytes(item.data),
        item.traceparent,
        1,
    )
