"""Many events in one outbox row: what one transaction says about hundreds of messages costs a few rows, not hundreds.

A bundle holds events of one type, source, tenant and mode, up to some 7 KB, so that the row stays on its page
(beyond it Postgres would cut it up and store the pieces elsewhere). The relay takes it apart again: handlers,
dead letters and retries know single events only.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

MAX_BYTES = 7_000


class Item(msgspec.Struct, frozen=True, array_like=True):
    """One event of a bundle; `data` as its contract encodes it."""

    id: UUID
    subject: str | None
    key: str
    traceparent: str | None
    data: msgspec.Raw


Head = tuple[str, str, int, int]  # type, source, tenant, mode

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(list[Item])


def bundled(items: Sequence[tuple[Head, Item]]) -> Iterator[tuple[Head, list[Item]]]:
    """The items by head, cut where a bundle would grow too large."""
    open_: dict[Head, tuple[int, list[Item]]] = defaultdict(lambda: (0, []))
    for head, item in items:
        size, together = open_[head]
        weight = len(memoryview(item.data)) + 160
        if together and size + weight > MAX_BYTES:
            yield head, together
            size, together = 0, []
        together.append(item)
        open_[head] = (size + weight, together)
    yield from ((head, together) for head, (_, together) in open_.items())


def packed(items: Sequence[Item]) -> bytes:
    """The payload of a bundle's row."""
    return _encoder.encode(items)


def unbundled(rows: Sequence[Any]) -> list[Mapping[str, Any]]:
    """Outbox rows, each bundle replaced by a row for each of its events (with the bundle's `id` and `entries`)."""
    single: list[Mapping[str, Any]] = []
    for row in rows:
        if row["entries"] == 1:
            single.append(row)
            continue
        shared = {name: row[name] for name in ("id", "type", "source", "tenant", "mode", "created_at", "entries")}
        single += [
            shared
            | {
                "event_id": item.id,
                "subject": item.subject,
                "partition_key": item.key,
                "traceparent": item.traceparent,
                "payload": bytes(item.data),
            }
            for item in _decoder.decode(row["payload"])
        ]
    return single
