"""CloudEvents 1.0 from clients: what is read, what is refused, and that nothing is changed in transit."""

import base64
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from libs.errors import BadRequest, Invalid
from services.orders_notification.domain.cloudevents import from_binary, from_structured, is_json, parse_time

NOW = datetime(2027, 3, 1, 9, 30, tzinfo=UTC)
MINIMAL = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "order.placed"}


def test_the_four_required_attributes_are_enough() -> None:
    event = from_structured(MINIMAL, NOW)
    assert (event.id, event.source, event.type) == ("1", "/shop", "order.placed")
    assert (event.subject, event.data, event.body) == (None, None, b"null")
    assert event.occurred_at == NOW  # an event without a time gets the time of its arrival


def test_null_counts_as_absent() -> None:
    event = from_structured(MINIMAL | {"subject": None, "time": None, "data": None, "ext": None}, NOW)
    assert (event.subject, event.occurred_at, event.extensions) == (None, NOW, None)


def test_data_keeps_every_digit() -> None:
    data = {"id": 820982911946154508, "total": Decimal("19.90"), "name": "Zoë 👩‍👧"}
    event = from_structured(MINIMAL | {"data": data}, NOW)
    assert event.body == '{"id":820982911946154508,"total":19.90,"name":"Zoë 👩‍👧"}'.encode()


def test_extensions_are_stored_and_two_have_a_meaning() -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    given = {"recipient": "installation:7", "traceparent": trace, "sequence": "5", "urgent": True, "n": 3}
    event = from_structured(MINIMAL | given, NOW)
    assert (event.recipient, event.traceparent) == ("installation:7", trace)
    assert event.extensions == {"sequence": "5", "urgent": True, "n": 3}


def test_a_malformed_traceparent_is_ignored() -> None:
    assert from_structured(MINIMAL | {"traceparent": "broken"}, NOW).traceparent is None


def test_all_invalid_attributes_are_reported_at_once() -> None:
    with pytest.raises(Invalid) as refused:
        from_structured({"specversion": "0.3", "id": "", "source": 1, "time": "soon"}, NOW)
    pointers = [error.pointer for error in refused.value.errors]
    assert pointers == ["/specversion", "/id", "/source", "/type", "/time"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2027-03-01T10:30:00+01:00", "2027-03-01T09:30:00+00:00"),
        ("2027-03-01t10:30:00.123456789z", "2027-03-01T10:30:00.123456+00:00"),
        ("2027-03-01T10:30:00.5-05:30", "2027-03-01T16:00:00.500000+00:00"),
        ("2026-12-31T23:59:60Z", "2027-01-01T00:00:00+00:00"),  # a leap second
    ],
)
def test_rfc_3339_times_become_utc(text: str, expected: str) -> None:
    assert parse_time(text).isoformat() == expected


@pytest.mark.parametrize(
    "text",
    ["2027-03-01", "20270301T103000Z", "2027-03-01 10:30:00Z", "2027-03-01T10:30Z", "2027-03-01T24:00:00Z",
     "2027-03-01T10:30:00", "2027-03-01T10:30:00+01", "２０２７-03-01T10:30:00Z", "9999-12-31T23:59:60Z",
     "0001-01-01T00:00:00+01:00", "2027-03-01T10:30:00+24:00", ""],
)  # fmt: skip
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_time(text)


def test_base64_data_is_parsed_if_its_content_type_is_json() -> None:
    encoded = base64.b64encode(b'{"a": 1.50}').decode()
    assert from_structured(MINIMAL | {"data_base64": encoded}, NOW).data == {"a": Decimal("1.50")}
    told = MINIMAL | {"data_base64": encoded, "datacontenttype": "application/octet-stream"}
    assert from_structured(told, NOW).data == encoded


def test_binary_mode_accepts_any_data() -> None:
    headers = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t"}
    read = {
        "application/json; charset=utf-8": ({"a": 1}, b'{"a":1}'),
        "application/vnd.shop+json": ([1], b"[1]"),
        "text/plain": ("grüße", "grüße".encode()),
        "image/png": (base64.b64encode(b"\x89PNG\x00").decode(), b"\x89PNG\x00"),
        "": (None, b""),
    }
    for content_type, (expected, body) in read.items():
        assert from_binary(headers | {"content-type": content_type}, body, NOW).data == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ('"quoted \\"text\\""', 'quoted "text"'),
        ("100%25", "100%"),
        ("plain", "plain"),
        ("Grüße".encode().decode("latin-1"), "Grüße"),  # not percent-encoded, as many clients send it
    ],
)
def test_header_values_are_decoded_as_the_binding_says(value: str, expected: str) -> None:
    headers = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t", "ce-subject": value}
    assert from_binary(headers, b"", NOW).subject == expected


def test_non_utf_8_headers_are_refused() -> None:
    headers = {"ce-specversion": "1.0", "ce-id": "%ff", "ce-source": "/s", "ce-type": "t"}
    with pytest.raises(BadRequest):
        from_binary(headers, b"", NOW)


@pytest.mark.parametrize("document", [None, [], "x", 1, {}])
def test_an_invalid_event_is_refused(document: Any) -> None:
    with pytest.raises(Invalid):
        from_structured(document, NOW)


def test_json_content_types_are_recognised() -> None:
    assert all(is_json(t) for t in ("application/json", "Application/CloudEvents+JSON;charset=utf-8", "text/json"))
    assert not any(is_json(t) for t in ("", "text/plain", "application/jsonp", "json"))
