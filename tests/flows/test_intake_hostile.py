"""Bad input at the events and sources routes: a 4xx that says what and where, never a 500, nothing written."""

import gzip
from collections.abc import AsyncIterator
from typing import Any

import pytest

from libs import exact_json
from libs.service import Runtime
from libs.service_client import Transport
from tests.flows.intake import Intake, event, intake


@pytest.fixture
async def shop(runtime: Runtime, transports: dict[str, Transport]) -> AsyncIterator[Intake]:
    async with intake(runtime, transports) as running:
        yield running


def without(name: str) -> bytes:
    document = event()
    del document[name]
    return exact_json.dumps(document)


RAW = [
    (b"", 400, None),
    (b"{", 400, None),
    (b"[]]", 400, None),
    (b'{"a":1,"a":2}', 400, None),
    (b'{"specversion":"1.0","data":NaN}', 400, None),
    (b'{"specversion":"1.0","id":"\\udc00"}', 400, None),
    (b"[" * 10_000 + b"]" * 10_000, 400, None),
    (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, 400, None),
    (b"\xff\xfe{}", 400, None),
    (b"17", 422, ""),
    (without("specversion"), 422, "/specversion"),
    (without("id"), 422, "/id"),
    (without("source"), 422, "/source"),
    (without("type"), 422, "/type"),
]
CHANGES: list[tuple[dict[str, Any], str]] = [
    ({"specversion": "0.3"}, "/specversion"),
    ({"specversion": 1.0}, "/specversion"),
    ({"type": "x" * 201}, "/type"),
    ({"type": ""}, "/type"),
    ({"id": 17}, "/id"),
    ({"id": "a\nb"}, "/id"),
    ({"source": "not a uri"}, "/source"),
    ({"time": "2027-03-01"}, "/time"),
    ({"time": "2027-03-01T10:00:00"}, "/time"),
    ({"time": "2027-02-30T10:00:00Z"}, "/time"),
    ({"time": "0001-01-01T00:00:00+23:59"}, "/time"),
    ({"time": 1_772_000_000}, "/time"),
    ({"subject": ""}, "/subject"),
    ({"datacontenttype": 5}, "/datacontenttype"),
    ({"datacontenttype": ""}, "/datacontenttype"),
    ({"dataschema": 17}, "/dataschema"),
    ({"dataschema": "not a uri"}, "/dataschema"),
    ({"data_base64": "e30="}, "/data_base64"),
    ({"data": None, "data_base64": "!"}, "/data_base64"),
    ({"data": None, "data_base64": "ew=="}, "/data_base64"),
    ({"My-Extension": "x"}, "/My-Extension"),
    ({"extension": {"a": 1}}, "/extension"),
    ({"recipient": "customer:"}, "/recipient"),
    ({"recipient": "a b"}, "/recipient"),
]


async def test_unreadable_events_are_refused(shop: Intake) -> None:
    for raw, status, pointer in RAW:
        for content_type in ("application/cloudevents+json", "application/json"):
            answer = await shop.post("/v1/events", raw, content_type=content_type)
            assert answer.status_code == status, (raw[:40], answer.text)
            assert answer.headers["content-type"] == "application/problem+json", raw[:40]
            if pointer is not None:
                assert pointer in [error["pointer"] for error in answer.json()["errors"]], raw[:40]
    assert (await shop.count("event"), await shop.count("outbox")) == (0, 0)


async def test_wrong_cloudevents_name_the_attribute(shop: Intake) -> None:
    for changes, pointer in CHANGES:
        answer = await shop.post("/v1/events", event(**changes))
        assert answer.status_code == 422, (changes, answer.text)
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer], changes
    assert await shop.count("event") == 0


async def test_fifty_megabytes_are_refused_without_being_kept(shop: Intake) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(50):
            sent += 1
            yield b"x" * (1 << 20)

    headers = {"authorization": "Bearer live-key", "content-type": "application/cloudevents+json"}
    answer = await shop.http.post("/v1/events", content=endless(), headers=headers)
    assert answer.status_code == 413, answer.text
    declared = await shop.post("/v1/events", b"x" * (17 << 20))
    assert declared.status_code == 413
    single = await shop.post("/v1/events", event(data={"text": "x" * (1 << 20)}))
    assert single.status_code == 413
    assert await shop.count("event") == 0


async def test_other_content_types_are_named_as_such(shop: Intake) -> None:
    for content_type in ("text/plain", "application/xml", "", "application/cloudevents+avro"):
        answer = await shop.post("/v1/events", event(), content_type=content_type)
        assert answer.status_code == 415, content_type
        assert "application/x-ndjson" in answer.json()["detail"], content_type


@pytest.mark.parametrize("path", ["/v1/events", "/v1/sources/shopify"])
async def test_a_compressed_body_is_refused_as_such(shop: Intake, path: str) -> None:
    for content_type in ("application/cloudevents+json", "application/x-ndjson"):
        body = gzip.compress(exact_json.dumps(event()))
        answer = await shop.post(path, body, content_type=content_type, content_encoding="gzip")
        assert (answer.status_code, answer.headers["accept-encoding"]) == (415, "identity"), answer.text
        assert "'gzip'" in answer.json()["detail"]
    plain = await shop.post("/v1/events", event(), content_encoding="identity")
    assert plain.status_code == 202


async def test_a_key_without_the_scope_and_no_key_send_nothing(shop: Intake) -> None:
    assert (await shop.post("/v1/events", event(), key="reader-key")).status_code == 403
    assert (await shop.post("/v1/events", event(), key=None)).status_code == 401
    assert await shop.count("event") == 0


async def test_wrong_headers_of_binary_mode_are_refused(shop: Intake) -> None:
    for header in ({"ce_subject": "%ff"}, {"ce_time": "now"}, {"ce_id": ""}, {"ce_type": "x" * 300}):
        headers = {"ce_specversion": "1.0", "ce_type": "t", "ce_source": "/s", "ce_id": "1"} | header
        answer = await shop.post("/v1/events", b"{}", **headers)
        assert answer.status_code in (400, 422), (header, answer.text)


async def test_a_signed_webhook_that_is_no_json_is_kept_with_its_reason(shop: Intake) -> None:
    definition = {
        "verification": {"scheme": "token", "header": "X-Token"},
        "mapping": {"type": "body.type", "id": "body.id"},
        "secrets": ["hush-hush"],
    }
    await shop.put("/v1/sources/own", definition)
    for body in (b"{", b"[" * 10_000, b"", b'{"a":1,"a":2}', b"\xff", b'{"type":"","id":""}', b'{"type":[],"id":{}}'):
        answer = await shop.post("/v1/sources/own", body, key=None, x_token="hush-hush")
        assert (answer.status_code, answer.json()["results"][0]["status"]) == (202, "kept"), answer.text
    assert (await shop.post("/v1/sources/own", b"{", key=None, x_token="wrong")).status_code == 401
    unstorable = await shop.post("/v1/sources/own?a=%00", b"{", key=None, x_token="hush-hush")
    assert (unstorable.status_code, unstorable.json()["errors"][0]["pointer"]) == (400, "/a")
    assert (await shop.post("/v1/sources/unknown", b"{", key=None)).status_code == 404
    assert (await shop.post("/v1/sources/No%20Name", b"{", key=None)).status_code == 422
    assert await shop.count("rejection") == 7


async def test_a_schema_that_cannot_be_used_is_refused(shop: Intake) -> None:
    schemas: list[dict[str, Any]] = [
        {"type": "objec"},
        {"$ref": "https://example.com/schema.json"},
        {"$ref": "file:///etc/passwd"},
        {"properties": {"a": {"pattern": "("}}},
        {"properties": 1},
    ]
    for schema in schemas:
        answer = await shop.put("/v1/event-types/order.placed", {"schema": schema})
        assert answer.status_code == 422, (schema, answer.text)
        assert answer.json()["errors"][0]["pointer"].startswith("/schema"), schema


async def test_cursors_and_ids_of_others_are_refused(shop: Intake) -> None:
    assert (await shop.get("/v1/events?cursor=WyJ4Il0")).status_code == 422
    assert (await shop.get("/v1/events?cursor=%00")).status_code == 422
    assert (await shop.get("/v1/rejections?cursor=WzFd")).status_code == 422
    for query in (
        "events?subject=%00",
        "events?type=%00",
        "events?recipient=%00",
        "rejections?source=%00",
        "rejections?type=a%00",
    ):
        assert (await shop.get(f"/v1/{query}")).status_code == 422
    assert (await shop.post("/v1/rejections:replay", {"source": "\u007f", "type": "x"})).status_code == 422
    assert (await shop.get("/v1/events/not-an-id")).status_code == 422
    assert (await shop.get("/v1/events/019afe2c-7a31-7cc4-b0a1-3d1f0a2b4c5d")).status_code == 404
    taken = (await shop.post("/v1/events", event())).json()
    assert (await shop.get(f"/v1/events/{taken['id']}", key="other-key")).status_code == 404
    assert (await shop.get(f"/v1/events/{taken['id']}", key="test-key")).status_code == 404
