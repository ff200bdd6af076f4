"""The outbox: events committed with the state they are about, published afterwards by a relay."""

from collections.abc import Sequence
from typing import Any

import msgspec

from libs.contracts.envelope import Event, encode
from libs.ids import uuid7
from libs.telemetry import current_traceparent

_INSERT = """
insert into outbox (event_id, type, source, subject, tenant, mode, partition_key, payload, traceparent)
select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::smallint[], $6::smallint[],
                     $7::text[], $8::bytea[], $9::text[])
"""
_COLUMNS = ("event_id", "type", "source", "subject", "tenant", "mode", "partition_key", "payload", "traceparent")
# From here on COPY is cheaper: 2 µs of Python a row against 4, since arrays are looked into item by item.
_COPY_FROM = 20


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
    rows = [
        (
            uuid7(),
            item.event.TYPE,
            item.source or item.event.SOURCE,
            item.subject,
            item.tenant,
            int(item.mode),
            item.key,
            encode(item.event),
            item.traceparent or here,
        )
        for item in events
    ]
    if len(rows) < _COPY_FROM:
        await connection.execute(_INSERT, *zip(*rows, strict=True))
    else:
        await connection.copy_records_to_table("outbox", records=rows, columns=_COLUMNS)
