"""Many events in one broker message: CloudEvents' own batch format, carried by one CloudEvent.

A message costs the sidecars and the broker the same whatever it contains, so events that were leased together travel
together. Each event in a batch is complete: its own id, subject, time, trace and partition key, and its data as JSON.
The carrier's type is theirs plus `.batch`. A batch holds events of one type, source, tenant and mode. The subscriber
takes it apart, and an event that fails does not affect the others.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec

from libs.contracts.outcomes import Mode

MEDIA_TYPE = "application/cloudevents-batch+json"
SUFFIX = ".batch"
# Bytes of data per batch: far below broker limits, and small enough for a subscriber to take a hundred batches at once.
# Larger ones save nothing: a message's own cost is already a hundredth of its content's.
MOST_BYTES = 32_000

Text = Annotated[str, msgspec.Meta(pattern=r"^[^\x00]*\Z")]
_Tenant = Annotated[int, msgspec.Meta(ge=0, le=32_767)]
_ModeNumber = Annotated[int, msgspec.Meta(ge=int(min(Mode)), le=int(max(Mode)))]
_Time = Annotated[datetime, msgspec.Meta(tz=True)]


class Attributes(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The CloudEvents attributes and ours, of a single event or of one in a batch. Whatever is valid here can be
    stored as a dead letter, so nothing loops."""

    id: UUID
    type: Text
    source: Text
    time: _Time
    tenant: _Tenant
    mode: _ModeNumber
    partitionkey: Text
    subject: Text | None = None


class BatchedEvent(Attributes, frozen=True, kw_only=True):
    """One event of a batch."""

    specversion: Text
    data: msgspec.Raw
    traceparent: Text | None = None


_encoder = msgspec.json.Encoder()
_json = msgspec.json.Decoder(msgspec.Raw)
_events = msgspec.json.Decoder(list[msgspec.Raw])
_event = msgspec.json.Decoder(BatchedEvent)


def batched(rows: Sequence[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    """Group outbox rows (one event each) that travel together: same type, source, tenant and mode. A large event goes
    alone, and so does one that is not valid JSON, because it would invalidate the whole batch."""
    open_: dict[tuple[Any, ...], tuple[int, list[Mapping[str, Any]]]] = {}
    for row in rows:
        if len(row["payload"]) > MOST_BYTES or not _is_json(row["payload"]):
            yield [row]
            continue
        head = row["type"], row["source"], row["tenant"], row["mode"]
        size, together = open_.get(head) or (0, [])
        if together and size + len(row["payload"]) > MOST_BYTES:
            yield together
            size, together = 0, []
        together.append(row)
        open_[head] = (size + len(row["payload"]), together)
    yield from (together for _, together in open_.values())


def _is_json(payload: bytes) -> bool:
    try:
        _json.decode(payload)
    except msgspec.DecodeError:
        return False
    return True


def written(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Encode the batch of these outbox rows."""
    return _encoder.encode([
        BatchedEvent(
            specversion="1.0",
            id=row["event_id"],
            type=row["type"],
            source=row["source"],
            time=row["created_at"],
            tenant=row["tenant"],
            mode=row["mode"],
            partitionkey=row["partition_key"],
            data=msgspec.Raw(row["payload"]),
            subject=row["subject"],
            traceparent=row["traceparent"] or None,
        )
        for row in rows
    ])  # fmt: skip


def taken_apart(batch: bytes) -> list[tuple[bytes, BatchedEvent | msgspec.DecodeError | UnicodeDecodeError]]:
    """Return a batch's events, each as raw bytes and as parsed, or with the error. Raises msgspec.DecodeError or
    UnicodeDecodeError if the batch is not a list."""
    return [(bytes(raw), _read(raw)) for raw in _events.decode(batch)]


def _read(raw: msgspec.Raw) -> BatchedEvent | msgspec.DecodeError | UnicodeDecodeError:
    try:
        return _event.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return error
