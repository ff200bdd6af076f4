"""The outbox: events committed with the state they are about, published afterwards by a relay."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from libs.contracts.envelope import Event, encode
from libs.ids import uuid7
from libs.telemetry import current_traceparent

_INSERT = """
insert into outbox (event_id, type, source, subject, tenant, mode, partition_key, payload, traceparent)
select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::smallint[], $6::smallint[],
                     $7::text[], $8::bytea[], $9::text[])
"""


@dataclass(frozen=True, slots=True)
class Outgoing:
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
    await connection.execute(
        _INSERT,
        [uuid7() for _ in events],
        [item.event.TYPE for item in events],
        [item.source or item.event.SOURCE for item in events],
        [item.subject for item in events],
        [item.tenant for item in events],
        [int(item.mode) for item in events],
        [item.key for item in events],
        [encode(item.event) for item in events],
        [item.traceparent or here for item in events],
    )
