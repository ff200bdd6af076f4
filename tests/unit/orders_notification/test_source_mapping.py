"""Expression results become an event, or are refused with a pointer; nothing unstorable or unreadable passes."""

import time
from decimal import Decimal
from typing import Any

import pytest

from libs import exact_json
from services.orders_notification.domain.cloudevents import BusinessEvent
from services.orders_notification.domain.delivery import Delivery
from services.orders_notification.domain.mapping import Answer, Mapped, handshake, map_delivery
from services.orders_notification.domain.reading import Unmappable
from services.orders_notification.domain.sources import source
from tests.unit.orders_notification.builders import NOW


def outcome(mapping: dict[str, Any], body: Any) -> Mapped:
    definition = {
        "verification": {"scheme": "token", "header": "x-token"},
        "mapping": {"type": "'order.placed'", "id": "'1'"} | mapping,
    }
    return map_delivery(source("own", 1, definition), Delivery(exact_json.dumps(body), {"x-delivery": "d"}, {}), NOW)


def mapped(mapping: dict[str, Any], body: Any) -> BusinessEvent:
    (event,) = outcome(mapping, body).events
    return event


@pytest.mark.parametrize("name", ["subject", "time", "recipient"])
def test_an_empty_optional_attribute_counts_as_absent(name: str) -> None:
    event = mapped({name: "body.x"}, {"x": ""})
    assert (event.subject, event.occurred_at, event.recipient) == (None, NOW, None)
    assert event.data == {"x": ""}


def test_a_delivery_may_hold_a_thousand_events_and_no_more() -> None:
    made = outcome({"id": "body.n"}, [{"n": n} for n in range(1_000)])
    assert (len(made.events), made.events[-1].id) == (1_000, "999")
    with pytest.raises(Unmappable, match="more than 1000 events"):
        outcome({"id": "body.n"}, [{"n": n} for n in range(1_001)])


@pytest.mark.parametrize(
    ("written", "time"),
    [
        (1_700_000_000, "2023-11-14T22:13:20+00:00"),
        (1_700_000_000_123, "2023-11-14T22:13:20.123000+00:00"),
        (Decimal("1700000000.5"), "2023-11-14T22:13:20.500000+00:00"),
        ("2023-11-14T22:13:20Z", "2023-11-14T22:13:20Z"),
        ("2023-11-14T22:13:20.5+0100", "2023-11-14T22:13:20.5+01:00"),  # PHP's DATE_ISO8601, Java
        ("2023-11-14T22:13-05", "2023-11-14T22:13:00-05:00"),
        ("2023-11-14 22:13:20+00:00", "2023-11-14T22:13:20+00:00"),  # Python, Postgres
        ("2023-11-14 22:13:20 UTC", "2023-11-14T22:13:20Z"),  # Ruby
        ("1700000000", "2023-11-14T22:13:20+00:00"),  # in a form
        ("1700000000123", "2023-11-14T22:13:20.123000+00:00"),
    ],
)
def test_times_are_read_in_the_units_shops_use(written: Any, time: str) -> None:
    assert mapped({"time": "body.at"}, {"at": written}).time == time


@pytest.mark.parametrize(
    ("mapping", "body", "pointer"),
    [
        ({"filter": "body.x"}, {"x": "false"}, "/mapping/filter"),
        ({"filter": "null"}, {}, "/mapping/filter"),
        ({"time": "body.x"}, {"x": 10**399}, "/mapping/time"),
        ({"time": "body.x"}, {"x": "tomorrow"}, "/mapping/time"),
        ({"time": "body.x"}, {"x": "2023-11-14 22:13:20"}, "/mapping/time"),  # of which zone?
        ({"time": "body.x"}, {"x": "2023-02-30T22:13:20+0100"}, "/mapping/time"),
        ({"time": "body.x"}, {"x": "20231114"}, "/mapping/time"),
        ({"recipient": "body.x"}, {"x": Decimal("1.5")}, "/mapping/recipient"),
        ({"recipient": "[1, 2]"}, {}, "/mapping/recipient"),
        ({"data": {"a": {"b": '"x\\u0000"'}}}, {}, "/mapping/data/a/b"),
        ({"data": {"a": "{'b': [b'x']}"}}, {}, "/mapping/data/a"),  # bytes and durations broke a schema's check
        ({"data": "duration('1h')"}, {}, "/mapping/data"),
        ({"data": {"share": "1.0 / double(body.x)"}}, {"x": 0}, "/mapping/data/share"),
        ({"data": {"share": "0.0 / double(body.x)"}}, {"x": 0}, "/mapping/data/share"),
        ({"subject": "string(body.x)"}, {"x": None}, "/mapping/subject"),
    ],
)
def test_an_invalid_result_is_reported_with_its_pointer(mapping: dict[str, Any], body: Any, pointer: str) -> None:
    with pytest.raises(Unmappable) as refused:
        outcome(mapping, body)

    assert [error.pointer for error in refused.value.errors] == [pointer]


def test_a_false_filter_drops_the_delivery() -> None:
    assert outcome({"filter": "has(body.x)"}, {}).filtered == 1
    assert outcome({"filter": "has(body.x)"}, {"x": 1}).filtered == 0


@pytest.mark.parametrize(
    ("expression", "answer"),
    [
        ("has(query.token) ? query.token : null", Answer("ä b".encode(), "text/plain")),
        ("{'code': query.token}", Answer('{"code":"ä b"}'.encode(), "application/json")),
        ("query.token == 'ä b'", Answer()),
        ("query.token != 'ä b'", None),
        ("query.gone", None),
        ("''", None),
        ("17", None),
        ("[1]", None),
    ],
)
def test_a_handshake_gets_the_answer_its_sender_expects(expression: str, answer: Answer | None) -> None:
    definition = {
        "verification": {"scheme": "basic"}, "mapping": {"type": "'t'", "id": "'1'"}, "handshake": expression
    }  # fmt: skip
    assert handshake(source("own", 1, definition), Delivery(b"{}", {}, {"token": "ä b"})) == answer


def test_object_keys_become_json_strings() -> None:
    assert mapped({"data": "{true: 1, 'a': 2}"}, {}).data == {"true": 1, "a": 2}


def test_what_a_mapping_of_many_expressions_reads_is_converted_once() -> None:
    expressions = {f"name{number}": "body.text + 'x'" for number in range(500)}
    started = time.process_time()
    events = outcome({"data": expressions}, [{"text": "a" * 70}] * 30).events
    assert time.process_time() - started < 2  # 5 s, if each expression converts anew what all read
    assert events[0].data["name499"] == "a" * 70 + "x"


@pytest.mark.parametrize("number", [7, 820982911946154508, 10**30 + 1])
def test_a_number_as_id_and_subject_becomes_its_digits(number: int) -> None:
    event = mapped({"id": "body.number", "subject": "body.number", "recipient": "body.number"}, {"number": number})
    assert (event.id, event.subject, event.recipient) == (str(number), str(number), f"customer:{number}")


def test_a_number_that_only_a_bare_path_reads_may_be_of_any_size() -> None:
    event = mapped({"type": "'order.' + body.kind", "data": "body.sum"}, {"kind": "placed", "sum": 10**399})
    assert (event.type, event.data) == ("order.placed", 10**399)


def test_events_of_one_delivery_that_share_an_id_are_refused_instead_of_lost() -> None:
    with pytest.raises(Unmappable) as refused:
        outcome({"id": "headers['x-delivery']"}, [{"number": 1}, {"number": 2}])
    assert [error.pointer for error in refused.value.errors] == ["/mapping/id"]
    assert len(outcome({"id": "headers['x-delivery']"}, [{"number": 1}, {"number": 1}]).events) == 2  # a duplicate
    assert len(outcome({"id": "body.number"}, [{"number": 1}, {"number": 2}]).events) == 2


def test_the_order_of_fields_does_not_tell_two_events_apart() -> None:
    """The engine returns the fields of a map in any order, so a repeat in an array made the delivery unreadable."""
    item = {name: number for number, name in enumerate("abcdefghijklmnop")}
    made = outcome({"id": "body.a", "data": "{'item': body, 'b': body.b, 'c': body.c}"}, [item] * 20)
    assert len(made.events) == 20
