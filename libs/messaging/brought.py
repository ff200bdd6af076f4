"""Events from the sidecar, read back into outbox rows: one event, many in a batch, or something unreadable."""

import base64
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec

from libs.contracts.outcomes import Mode
from libs.ids import uuid7
from libs.messaging.batches import MEDIA_TYPE, SUFFIX, Attributes, BatchedEvent, Text, taken_apart
from libs.messaging.reading import Failure

Row = dict[str, Any]


class _CloudEvent(Attributes, frozen=True, kw_only=True):
    """The format that our relays send: one event, or a batch of them."""

    data_base64: bytes
    origintraceparent: Text | None = None
    datacontenttype: Text | None = None


_cloud_event = msgspec.json.Decoder(_CloudEvent)


def read(brought: Any) -> Any:
    """Parse the event; if it is not one, return its JSON or its text, to be stored."""
    if isinstance(brought, str):
        try:
            brought = base64.b64decode(brought, validate=True)
        except ValueError:
            return brought
    if not isinstance(brought, bytes):
        return brought
    for decode in (_cloud_event.decode, msgspec.json.decode):
        with suppress(msgspec.DecodeError, UnicodeDecodeError):
            return decode(brought)
    return brought.decode(errors="replace")


def rows_of(event: Any) -> Iterator[tuple[Row, Failure | None]]:
    """Yield what arrived as outbox rows, each with the reason if it cannot be read."""
    try:
        whole = event if isinstance(event, _CloudEvent) else msgspec.convert(event, _CloudEvent)
        if whole.datacontenttype != MEDIA_TYPE:
            yield _row(whole, whole.data_base64, whole.origintraceparent), None
            return
        batch = taken_apart(whole.data_base64)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        yield unreadable(event), Failure(f"unreadable: {error}", final=True)
        return
    for raw, one in batch:
        if isinstance(one, BatchedEvent):
            yield _row(one, bytes(one.data), one.traceparent), None
        else:
            yield unreadable(read(raw)), Failure(f"unreadable: {one}", final=True)


def events_of(row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return one row per event: the row itself, or the events of a batch stored by a version that did not know
    batches."""
    if not row["type"].endswith(SUFFIX):
        return [row]
    try:
        events = [event for _, event in taken_apart(row["payload"])]
    except (msgspec.DecodeError, UnicodeDecodeError):
        return [row]
    rows = [_row(event, bytes(event.data), event.traceparent) for event in events if isinstance(event, BatchedEvent)]
    return [{**row, **own} for own in rows] if len(rows) == len(events) else [row]


def _row(event: Attributes, payload: bytes, traceparent: str | None) -> Row:
    return {
        "id": 0,
        "entries": 0,  # it is in no outbox of ours yet; an owed event gets its own row
        "event_id": event.id,
        "type": event.type,
        "source": event.source,
        "subject": event.subject,
        "tenant": event.tenant,
        "mode": event.mode,
        "partition_key": event.partitionkey,
        "payload": payload,
        "traceparent": traceparent,
        "created_at": event.time,
    }


def unreadable(event: Any) -> Row:
    """Return what can be stored of an unreadable event, under no tenant, because nothing in it can be trusted."""
    known = msgspec.to_builtins(event) if isinstance(event, _CloudEvent) else event if isinstance(event, dict) else {}
    return {
        "id": 0,
        "entries": 0,
        "event_id": uuid7(),
        "type": _text(known.get("type")),
        "source": _text(known.get("source")),
        "subject": None,
        "tenant": 0,
        "mode": int(Mode.LIVE),
        "partition_key": "",
        "payload": msgspec.json.encode(event),
        "traceparent": None,
        "created_at": datetime.now(UTC),
    }


def _text(found: Any) -> str:
    return found.replace("\0", "") if isinstance(found, str) else "unknown"  # Postgres text cannot hold NUL
