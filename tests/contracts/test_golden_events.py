"""Golden files of every event: a change that an older subscriber could not read fails here first.

Within a version, fields may be added with a default; none may be renamed, removed or become required.
"""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from libs import exact_json
from libs.contracts import access, audit, bounce, delivery, orders_notification, templates, tokens
from libs.contracts.envelope import EVENTS, Event, UnknownEventType, decode, encode

GOLDEN = Path(__file__).parent / "golden"
DECLARING = (access, audit, bounce, delivery, orders_notification, templates, tokens)


def golden(event: type[Event]) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((GOLDEN / f"{event.topic()}.json").read_text(encoding="utf-8"))
    return loaded


def test_every_event_has_its_golden_file_and_no_file_is_orphaned() -> None:
    assert {f"{e.topic()}.json" for e in EVENTS.values()} == {p.name for p in GOLDEN.iterdir()}


@pytest.mark.parametrize("event", EVENTS.values(), ids=lambda e: e.TYPE)
def test_golden_files_are_still_read_and_written_identically(event: type[Event]) -> None:
    kept = golden(event)
    read = decode(event.TYPE, json.dumps(kept).encode())
    assert isinstance(read, event)
    written = json.loads(encode(read))
    assert {name: written[name] for name in kept} == kept


@pytest.mark.parametrize("event", EVENTS.values(), ids=lambda e: e.TYPE)
def test_an_unknown_field_is_ignored(event: type[Event]) -> None:
    assert decode(event.TYPE, json.dumps(golden(event) | {"from_the_future": [1]}).encode())


@pytest.mark.parametrize("event", EVENTS.values(), ids=lambda e: e.TYPE)
def test_a_missing_required_field_is_an_error(event: type[Event]) -> None:
    required = [f.encode_name for f in msgspec.structs.fields(event) if f.required]
    assert required
    for name in required:
        with pytest.raises(msgspec.ValidationError):
            decode(event.TYPE, json.dumps({k: v for k, v in golden(event).items() if k != name}).encode())


def test_numbers_in_event_data_cross_the_bus_exactly() -> None:
    raw = golden(delivery.NotificationRequested)
    raw["event"]["data"] = {"id": 123456789012345678, "text": "👩‍👩‍👧 שלום"}
    line = json.dumps(raw).replace('"event": {', '"event": {"price": 19.90, ')
    again = exact_json.loads(encode(decode("notification.requested", line.encode())))
    assert again["event"]["data"]["id"] == 123456789012345678
    assert b'"price":19.90' in encode(decode("notification.requested", line.encode()))


def test_an_undeclared_type_is_named() -> None:
    with pytest.raises(UnknownEventType):
        decode("order.placed", b"{}")
