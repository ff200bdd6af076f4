"""Bodies are read in the charset and format that shops send; an unreadable body is refused with a reason."""

from decimal import Decimal
from typing import Any

import pytest

from services.orders_notification.domain.delivery import Delivery
from services.orders_notification.domain.mapping import map_delivery
from services.orders_notification.domain.reading import Unmappable, read_body
from services.orders_notification.domain.sources import source
from tests.unit.orders_notification.builders import NOW

FORM = "application/x-www-form-urlencoded"
PARTS = (
    "--b\r\nContent-Disposition: form-data; name=\"order\"\r\n\r\n7\r\n"
    "--b\r\nContent-Disposition: form-data; name=\"name\"\r\nContent-Type: text/plain; charset=UTF-8\r\n\r\n"
    "Zoë\r\n--\r\n"
    "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.pdf\"\r\n\r\n\0\r\n--b--\r\n"
).encode()  # fmt: skip


@pytest.mark.parametrize(
    ("content_type", "body", "read"),
    [
        ("application/json", b'\xef\xbb\xbf{"a": "\xc3\xa4"}', {"a": "ä"}),
        ("application/json; charset=ISO-8859-1", b'{"a": "\xe4"}', {"a": "ä"}),
        ("application/json; charset=ISO-8859-1", b'{"a": "\xc3\xa4"}', {"a": "ä"}),  # declared as Latin-1, yet UTF-8
        ('application/json; charset="utf-16"', '{"a": "ä"}'.encode("utf-16"), {"a": "ä"}),
        ("application/json; charset=utf-16le", '{"a": "ä"}'.encode("utf-16-le"), {"a": "ä"}),
        ("application/json", '{"a": "ä"}'.encode("utf-16"), {"a": "ä"}),
        ("application/json; charset=utf-16", b'{"a": 1} ', {"a": 1}),
        ("text/plain", b'{"a": 1.10}', {"a": Decimal("1.10")}),
        ("application/octet-stream", b'{"a": 1}', {"a": 1}),
        ("application/vnd.shop+json", b"[]", []),
        ("", b"", None),
        # JavaScript cut a text inside an emoji: the order is still an order
        ("application/json", rb'{"a": "gift \ud83d", "b": 19.90}', {"a": "gift \ufffd", "b": Decimal("19.90")}),
        (
            "application/json",
            rb'{"a": "\udf81\ud83c\udf81 \\ud83c \\\ud83c\u0000"}',
            {"a": "\ufffd🎁 \\ud83c \\\ufffd\ufffd"},
        ),
        ("application/x-ndjson", b'{"a": "\\ud83d"}\n{"a": 1}', [{"a": "\ufffd"}, {"a": 1}]),
        (FORM, b"a=%C3%A4&b=&a=2", {"a": ["ä", "2"], "b": ""}),
        (f"{FORM}; charset=windows-1252", b"a=%E4%80", {"a": "ä€"}),
        (f"{FORM}; charset=windows-1252", "a=ä".encode("cp1252"), {"a": "ä"}),
        (FORM, b"a=%E4&charset=windows-1252", {"a": "ä", "charset": "windows-1252"}),  # PayPal names it in the form
        (f"{FORM}; charset=utf-8", b"_charset_=iso-8859-1&a=%E4", {"a": "ä", "_charset_": "iso-8859-1"}),
        (FORM, b'{"a": 1.10}', {"a": Decimal("1.10")}),  # what PHP's curl calls JSON, unless told otherwise
        (FORM, b'[{"a": 1}]', [{"a": 1}]),
        (FORM, b"%7B=1", {"{": "1"}),
        ("application/x-ndjson", b'{"a": 1}\r\n\n{"a": 1.10}', [{"a": 1}, {"a": Decimal("1.10")}]),
        ("application/jsonl", b"", []),
        (FORM.upper(), b"items%5B0%5D=1", {"items[0]": "1"}),
        ("multipart/form-data; boundary=b", PARTS, {"order": "7", "name": "Zoë\r\n--"}),
        ('multipart/form-data; boundary="b"', PARTS, {"order": "7", "name": "Zoë\r\n--"}),
    ],
)
def test_a_body_is_read_as_its_sender_wrote_it(content_type: str, body: bytes, read: Any) -> None:
    found = read_body(Delivery(body, {"content-type": content_type} if content_type else {}, {}))
    assert found == read


@pytest.mark.parametrize(
    ("content_type", "body", "says"),
    [
        ("application/xml", b"<a/>", "The content type 'application/xml' is neither JSON nor a form. Not valid JSON"),
        ("application/json", b'{"a": "\xe4"}', "Not UTF-8: byte 7"),
        ("application/json; charset=unicode_escape", b'{"a": "\xe4"}', "Not UTF-8: byte 7"),
        ("application/json; charset=idna", b"{", "Not valid JSON"),
        (FORM, b"{a=1", "Not valid JSON"),
        ("application/x-ndjson", b'{"a": 1}\n{"a":', "Not valid JSON"),
        ("application/x-ndjson", b"{}\n" * 1_001, "more than 1000 events"),
        (FORM, b"a=%E4", "The form is not UTF-8"),
        (f"{FORM}; charset=punycode", b"a=%E4", "The form is not UTF-8"),
        (FORM, b"a=%00", "U+0000"),
        (FORM, b"&".join(b"a=1" for _ in range(1_001)), "more than 1000 fields"),
        ("multipart/form-data", PARTS, "names no boundary"),
        ("multipart/form-data; boundary=c", PARTS, "does not match its boundary"),
        ("multipart/form-data; boundary=b", PARTS[:-6], "does not match its boundary"),
        ("multipart/form-data; boundary=b", PARTS.replace("ë".encode(), b"\xeb"), "field 'name' is not in utf-8"),
        ("multipart/form-data; boundary=b", PARTS * 400, "does not match its boundary"),
    ],
)
def test_an_unreadable_body_is_refused_with_a_reason(content_type: str, body: bytes, says: str) -> None:
    with pytest.raises(Unmappable) as refused:
        read_body(Delivery(body, {"content-type": content_type}, {}))

    assert says in str(refused.value.errors[0].detail)


@pytest.mark.parametrize(
    ("unwrap", "content_type", "body", "read"),
    [
        ([{"payload": "body.items"}, {"payload": "body.item"}], "", b'{"items":[{"item":{"a":1}},{"item":{"a":2}}]}',
         [{"a": 1}, {"a": 2}]),
        ([{"payload": "body.events", "encoding": "json"}], FORM, b"events=%5B%7B%22a%22%3A1%7D,%7B%7D%5D",
         [{"a": 1}, {}]),
        ([{"payload": "body.gone"}, {"payload": "body.items"}], "", b'[{"items":[]},{"items":[3]},{"items":4}]',
         [3, {"items": 4}]),
        ([{"payload": "body.events.map(e, {'event': e, 'user': body.user})"}], "",
         b'{"events":[1,{"a":2.50}],"user":7}',
         [{"event": 1, "user": 7}, {"event": {"a": Decimal("2.50")}, "user": 7}]),
        ([{"payload": "body.data", "encoding": "base64"}], "", b'{"data":"W3siYSI6MX0sMl0="}', [{"a": 1}, 2]),
    ],
)  # fmt: skip
def test_an_envelope_may_hold_several_events(
    unwrap: list[dict[str, str]], content_type: str, body: bytes, read: list[Any]
) -> None:
    number = "type(body) == int ? 'int' : has(body.a) ? string(body.a) : has(body.event) ? string(body.event == 1) : ''"
    mapping = {"type": "'order.placed'", "id": f"'of-' + ({number})"}
    told = source("own", 1, {"verification": {"scheme": "basic"}, "mapping": mapping, "unwrap": unwrap})
    mapped = map_delivery(told, Delivery(body, {"content-type": content_type} if content_type else {}, {}), NOW)

    assert [event.data for event in mapped.events] == read


def test_an_envelope_holds_a_limited_number_of_events() -> None:
    mapping = {"type": "'t'", "id": "'1'"}
    told = source(
        "own", 1, {"verification": {"scheme": "basic"}, "mapping": mapping, "unwrap": [{"payload": "body.x"}]}
    )
    with pytest.raises(Unmappable, match="more than 1000 events"):
        map_delivery(told, Delivery(b'{"x":[' + b"1," * 1_000 + b"1]}", {}, {}), NOW)
