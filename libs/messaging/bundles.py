"""Many events in one outbox row: a transaction's events about hundreds of messages cost a few rows, not hundreds.

A bundle holds events of one type, source, tenant, mode and lane, up to about 7 KB, so that the row stays on its page
(Postgres would split a larger one and store the pieces elsewhere). The relay unpacks it: handlers, dead letters and
retries see single events only.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar
from uuid import UUID

import msgspec

MAX_BYTES = 7_000

T = TypeVar("T")


class Item(msgspec.Struct, Generic[T], frozen=True, array_like=True):
    """One event of a bundle; `data` is either encoded or decoded as its contract says."""

    id: UUID
    subject: str | None
    key: str
    traceparent: str | None
    data: T


Head = tuple[str, str, int, int, int]  # type, source, tenant, mode, lane

_encoder = msgspec.json.Encoder(decimal_format="number")
_decoder = msgspec.json.Decoder(list[Item[msgspec.Raw]])


def bundled(items: Sequence[tuple[Head, bytes]]) -> Iterator[tuple[Head, list[int]]]:
    """Group the indexes of packed items by head, starting a new bundle before one grows too large."""
    open_: dict[Head, tuple[int, list[int]]] = {}
    for place, (head, item) in enumerate(items):
        size, together = open_.get(head) or (0, [])
        weight = len(item) + 1
        if together and size + weight > MAX_BYTES:
            yield head, together
            size, together = 0, []
        together.append(place)
        open_[head] = (size + weight, together)
    yield from ((head, together) for head, (_, together) in open_.items())


def packed(item: Item[Any]) -> bytes:
    """Encode one item of a bundle."""
    return _encoder.encode(item)


def unbundled(rows: Sequence[Any]) -> list[Mapping[str, Any]]:
    """Return the outbox rows with each bundle replaced by one row per event (with the bundle's `id` and `entries`)."""
    return [single for row in rows for single in (singles(row) if row["entries"] > 1 else [row])]


def singles(row: Any) -> list[Mapping[str, Any]]:
    """Return a bundle's events, each in the form of its own row."""
    shared = {name: row[name] for name in ("id", "type", "source", "tenant", "mode", "lane", "created_at", "entries")}
    return [
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
