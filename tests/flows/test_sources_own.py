"""A tenant's own sources: defined, edited, rehearsed; deliveries that they cannot map are stored and replayed."""

import base64
import hashlib
import hmac
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli import documents
from libs import exact_json
from libs.service import Runtime
from libs.service_client import Transport
from services.orders_notification.api.source_shapes import Definition
from services.orders_notification.domain.sources import FIELDS, source
from tests.flows.intake import NOW, Intake, event, intake, release
from tests.flows.intake_shops import SECRET, SHOPIFY_ORDER, from_shopify, hmac_base64, ship


@pytest.fixture
async def shop(runtime: Runtime, transports: dict[str, Transport]) -> AsyncIterator[Intake]:
    async with intake(runtime, transports) as running:
        running.published.releases[:] = [
            release(trigger, communication=trigger.replace(".", "-"), recipient=None)
            for trigger in ("order.placed", "payment.failed", "parcel.shipped")
        ]
        yield running


async def test_the_same_body_from_two_sources_is_kept_for_both(shop: Intake) -> None:
    definition = {
        "verification": {"scheme": "hmac-hex", "header": "X-Sign"},
        "mapping": {"type": "body.topic", "id": "body.number"},
        "secrets": [SECRET],
    }
    body = b'{"number":12}'
    for name in ("own", "other"):
        assert (await shop.put(f"/v1/sources/{name}", definition)).status_code == 201
        signed = {"x_sign": hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()}
        assert (await shop.post(f"/v1/sources/{name}", body, key=None, **signed)).status_code == 202
    kept = (await shop.get("/v1/rejections")).json()["items"]
    assert {one["source"] for one in kept} == {"own", "other"}


async def test_what_cannot_be_mapped_is_kept_and_replayed_when_the_mapping_is_mended(shop: Intake) -> None:
    definition = {
        "verification": {"scheme": "hmac-hex", "header": "X-Sign", "prefix": "sha256="},
        "mapping": {"type": "body.topic", "id": "body.number", "recipient": "body.customer"},
        "secrets": [SECRET],
    }
    assert (await shop.put("/v1/sources/own", definition)).status_code == 201
    body = b'{"kind":"order.placed","number":12,"customer":"7","at":"2027-03-01T09:29:00Z"}'
    signed = {"x_sign": "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()}
    kept = [await shop.post("/v1/sources/own", body, key=None, authorization="Bearer x", **signed) for _ in range(2)]
    assert [a.status_code for a in kept] == [202, 202]
    assert kept[0].json() == kept[1].json()  # the sender's retry is the same row
    (rejection,) = (await shop.get("/v1/rejections?source=own&state=open")).json()["items"]
    assert (rejection["reason"], rejection["times"]) == ("mapping_failed", 2)
    assert rejection["errors"][0]["pointer"] == "/mapping/type"
    assert rejection["body"] == body.decode()
    assert "authorization" not in rejection["headers"]

    still = (await shop.post("/v1/rejections:replay", {"source": "own"})).json()
    assert (still["replayed"], still["rejected"]) == (0, 1)
    definition["mapping"] = {"type": "body.kind", "id": "body.number", "recipient": "body.customer", "time": "body.at"}
    assert (await shop.put("/v1/sources/own", definition, if_match='"1"')).status_code == 200
    mended = (await shop.post("/v1/rejections:replay", {"ids": [rejection["id"]]})).json()
    assert (mended["replayed"], mended["rejected"]) == (1, 0)
    (item,) = (await shop.get("/v1/events")).json()["items"]
    assert (item["type"], item["event_id"], item["recipient"]) == ("order.placed", "12", "customer:7")
    assert (await shop.get("/v1/rejections?state=open")).json()["items"] == []
    assert (await shop.post("/v1/rejections:replay", {})).json()["results"] == []


async def test_no_mapping_reads_the_credentials_of_whoever_delivered(shop: Intake) -> None:
    definition = {
        "verification": {"scheme": "token", "query": "code"},
        "mapping": {"type": "'order.placed'", "id": "body.number", "data": {"headers": "headers", "query": "query"}},
        "secrets": [SECRET],
    }
    assert (await shop.put("/v1/sources/own", definition)).status_code == 201
    sent = {"authorization": "Bearer x", "cookie": "c=1", "x_shop": "42"}
    answer = await shop.post(f"/v1/sources/own?code={SECRET}&lang=de", b'{"number":12}', key=None, **sent)
    assert answer.status_code == 202, answer.text
    (item,) = (await shop.get("/v1/events")).json()["items"]
    data = (await shop.get(f"/v1/events/{item['id']}")).json()["data"]
    assert data["query"] == {"lang": "de"}
    assert data["headers"]["x-shop"] == "42"
    assert not {"authorization", "cookie", "host"} & data["headers"].keys()


async def test_a_rehearsal_shows_what_a_body_would_become_and_writes_nothing(shop: Intake) -> None:
    await ship(shop, "shopify")
    before = await shop.count("outbox")
    headers = {
        "X-Shopify-Topic": "orders/create",
        "X-Shopify-Event-Id": "e",
        "X-Shopify-Hmac-Sha256": hmac_base64(SHOPIFY_ORDER),
    }
    pasted = await shop.post("/v1/sources/shopify:test", {"body": SHOPIFY_ORDER.decode(), "headers": headers})
    report = exact_json.loads(pasted.content)
    assert report["verified"] is True
    (made,) = report["events"]
    assert (made["type"], made["recipient"]) == ("order.placed", "customer:115310627314723954")
    assert [d["outcome"] for d in made["decisions"]] == ["requested"]
    unsigned = (await shop.post("/v1/sources/shopify:test", {"body": exact_json.loads(SHOPIFY_ORDER)})).json()
    assert unsigned["verified"] is False
    assert {e["pointer"] for e in unsigned["errors"]} >= {"/mapping/type", "/mapping/id"}
    assert (await shop.count("event"), await shop.count("outbox")) == (0, before)


async def test_an_event_that_does_not_fit_its_schema_is_kept_and_replayed(shop: Intake) -> None:
    schema = {"type": "object", "required": ["customer_id"], "properties": {"customer_id": {"type": "integer"}}}
    assert (await shop.put("/v1/event-types/order.placed", {"schema": schema})).status_code == 201
    refused = await shop.post("/v1/events", event(recipient="customer:4711"))
    assert refused.status_code == 422, refused.text
    problem = refused.json()
    assert problem["errors"] == [{"pointer": "/data/customer_id", "detail": 'the value is not of type "integer".'}]
    (decided,) = await shop.outbox("decision.recorded")
    told = '/data/customer_id: the value is not of type "integer".'
    assert [(d.outcome, d.detail) for d in decided.decisions] == [("schema_invalid", told)]
    (rejection,) = (await shop.get("/v1/rejections")).json()["items"]
    assert f"schema of its type: {told} Fix" in rejection["detail"]
    assert (await shop.put("/v1/event-types/order.placed", {"schema": None}, if_match='"1"')).status_code == 200
    mended = (await shop.post("/v1/rejections:replay", {"reason": "schema_invalid"})).json()
    assert mended["results"][0]["status"] == "accepted"
    assert [len(r.recipients) for r in await shop.outbox("notification.requested")] == [1]


async def test_marked_data_are_hidden_from_readers_and_secrets_are_never_stored(shop: Intake) -> None:
    schema = {"properties": {"code": {"type": "string", "x-secret": True}, "email": {"type": "string", "x-pii": True}}}
    await shop.put("/v1/event-types/order.placed", {"schema": schema})
    data = {"customer_id": "1", "code": "123456", "email": "zoe@example.org"}
    taken = (await shop.post("/v1/events", event(data=data, recipient="customer:1"))).json()
    seen = (await shop.get(f"/v1/events/{taken['id']}", key="reader-key")).json()
    assert (seen["data"]["email"], seen["data"]["code"]) == ("********", "********")
    unmasked = (await shop.get(f"/v1/events/{taken['id']}")).json()
    assert (unmasked["data"]["email"], unmasked["data"]["code"]) == ("zoe@example.org", "********")
    (request,) = await shop.outbox("notification.requested")
    assert request.event["data"]["code"] == "123456"  # the message needs it


async def test_standard_webhooks_and_basic_sources_are_verified(shop: Intake) -> None:
    key = base64.b64encode(b"a key of 24 bytes or more").decode()
    definition = {
        "verification": {"scheme": "standard-webhooks"},
        "mapping": {"type": "body.type", "id": 'headers["webhook-id"]'},
        "secrets": [f"whsec_{key}"],
    }
    assert (await shop.put("/v1/sources/standard", definition)).status_code == 201
    body, at = b'{"type":"order.placed"}', str(int(NOW.timestamp()))
    mac = base64.b64encode(hmac.digest(base64.b64decode(key), b"msg_1." + at.encode() + b"." + body, "sha256")).decode()
    headers = {"webhook_id": "msg_1", "webhook_timestamp": at, "webhook_signature": f"v1a,xx v1,{mac}"}
    assert (await shop.post("/v1/sources/standard", body, key=None, **headers)).status_code == 202
    headers["webhook_id"] = "msg_2"
    assert (await shop.post("/v1/sources/standard", body, key=None, **headers)).status_code == 401
    definition |= {"verification": {"scheme": "basic"}, "secrets": ["shop:pass:word"]}
    definition["mapping"] = {"type": '"order.placed"', "id": "body.n"}
    assert (await shop.put("/v1/sources/basic", definition)).status_code == 201
    credentials = base64.b64encode(b"shop:pass:word").decode()
    answer = await shop.post("/v1/sources/basic", {"n": 1}, key=None, authorization=f"Basic {credentials}")
    assert answer.status_code == 202


async def test_a_sender_that_signs_the_address_is_verified_by_the_one_that_is_shown(shop: Intake) -> None:
    definition = {
        "verification": {"scheme": "hmac-base64", "header": "X-Sign", "algorithm": "sha1", "signed": "{url}{form}"},
        "unwrap": [{"payload": "body.events", "encoding": "json"}],
        "mapping": {"type": "'sms.' + body.kind", "id": "body.id", "data": "{'text': body.text}"},
        "secrets": [SECRET],
    }
    shown = (await shop.put("/v1/sources/sms", definition)).json()
    body = b"events=%5B%7B%22id%22%3A1%2C%22kind%22%3A%22a%22%2C%22text%22%3A%22%C3%A4%22%7D%2C%7B%22id%22%3A2%7D%5D"
    content = shown["webhook"] + "?a=1&b=%20" + 'events[{"id":1,"kind":"a","text":"ä"},{"id":2}]'
    signed = base64.b64encode(hmac.digest(SECRET.encode(), content.encode(), "sha1")).decode()
    sent: dict[str, Any] = {"key": None, "content_type": "application/x-www-form-urlencoded", "x_sign": signed}

    assert (await shop.post("/v1/sources/sms?b=%20&a=1", body, **sent)).status_code == 401
    answer = await shop.post("/v1/sources/sms?a=1&b=%20", body, **sent)
    assert (answer.status_code, [each["status"] for each in answer.json()["results"]]) == (202, ["kept"])
    definition["mapping"] = {"type": "has(body.kind) ? 'sms.' + body.kind : 'sms.other'", "id": "body.id"}
    await shop.put("/v1/sources/sms", definition, if_match='"1"')
    assert (await shop.post("/v1/rejections:replay", {"source": "sms"})).json()["replayed"] == 1
    found = (await shop.get("/v1/events")).json()["items"]
    assert sorted(item["type"] for item in found) == ["sms.a", "sms.other"]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"mapping": {"type": "body.x +", "id": "nope", "data": {"a": {"b": "1 +"}}}}, "/mapping/type"),
    ({"verification": {"scheme": "hmac-hex"}}, "/verification/header"),
    ({"verification": {"scheme": "basic", "header": "x"}}, "/verification/header"),
    ({"secrets": None}, "/secrets"),
    ({"shipped": "magento"}, "/shipped"),
    ({"surprise": 1}, "/surprise"),
    ({"mapping": {"type": "body.type", "id": "body.id", "data": 5}}, "/mapping/data"),
    ({"mapping": {"type": "body.type"}}, "/mapping/id"),
    ({"event_source": "my shop"}, "/event_source"),  # no event could have it: every delivery would be unreadable
    ({"handshake": "{'status': 'ok'}"}, "/handshake"),  # every small delivery would be answered, and lost
    ({"verification": {"scheme": "standard-webhooks"}, "secrets": ["whpk_c2hvcnQ="]}, "/secrets/0"),
]


async def test_a_wrong_definition_names_every_field(shop: Intake) -> None:
    definition = {
        "verification": {"scheme": "hmac-hex", "header": "X-Sign"},
        "mapping": {"type": "body.type", "id": "body.id"},
        "secrets": [SECRET],
    }
    for change, pointer in WRONG:
        answer = await shop.put("/v1/sources/own", definition | change)
        assert answer.status_code == 422, (change, answer.text)
        assert pointer in [error["pointer"] for error in answer.json()["errors"]], change


async def test_the_example_on_the_page_works(shop: Intake, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "what-you-write.md").read_text(encoding="utf-8")
    section = page.partition("## Events from a webhook")[2]
    (tmp_path / "reviews.yaml").write_text(section.split("```")[1].removeprefix("yaml"))
    (document,) = documents.read([tmp_path], kinds={"source": "name"})
    assert (await shop.put(f"/v1/sources/{document.name}", {**document.body, "secrets": [SECRET]})).status_code == 201
    review = {"action": "posted", "at": "2027-03-01T09:29:00Z", "stars": 5, "text": "ok"}
    body = exact_json.dumps(review | {"order": {"number": "7"}, "customer": {"id": 4}})
    signed = "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    answer = await shop.post("/v1/sources/reviews", body, key=None, x_signature=signed, x_delivery="d-1")
    assert answer.status_code == 202
    (item,) = (await shop.get("/v1/events")).json()["items"]
    assert (item["type"], item["subject"], item["recipient"]) == ("review.posted", "7", "customer:4")


def test_the_page_has_every_scheme_with_its_fields() -> None:
    page = (Path(__file__).parents[2] / "docs" / "what-you-write.md").read_text(encoding="utf-8")
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| `")]
    told = {
        scheme: set(re.findall(r"`([a-z_]+)`", "".join(row[2:])))
        for row in rows
        for scheme in re.findall(r"`([a-z0-9-]+)`", row[0])
    }
    for scheme, fields in FIELDS.items():
        assert told[scheme.value] - {"sha1", "sha256", "sha512", "hex", "base64"} == fields, scheme


def test_what_the_page_says_of_senders_can_be_defined() -> None:
    page = (Path(__file__).parents[2] / "docs" / "what-you-write.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| [A-Z][^|]* \| `(\{scheme: [^`]*\})`", page, re.MULTILINE)
    assert len(told) > 10
    for verification in told:
        definition = {"verification": yaml.safe_load(verification), "mapping": {"type": "'t'", "id": "'1'"}}
        assert source("sender", 1, Definition.model_validate(definition).model_dump(exclude_none=True)).verification


async def test_secrets_rotate_without_a_gap_and_are_never_given_back(shop: Intake) -> None:
    await ship(shop, "shopify", ["old-secret"])
    body = {"shipped": "shopify", "secrets": ["old-secret", "new-secret"]}
    edited = await shop.put("/v1/sources/shopify", body, if_match='"1"')
    assert edited.status_code == 200, edited.text
    assert "secret" not in edited.text.replace('"secrets"', "").replace("the secret is", "").replace(
        "client secret", ""
    )
    for number, secret in enumerate(["old-secret", "new-secret"]):
        answer = await from_shopify(
            shop, X_Shopify_Hmac_Sha256=hmac_base64(SHOPIFY_ORDER, secret), X_Shopify_Event_Id=str(number)
        )
        assert answer.status_code == 202
    sealed = await shop.rows("select secrets from orders_notification.source")
    assert b"new-secret" not in sealed[0]["secrets"]


async def test_a_definition_that_changes_nothing_makes_no_new_version(shop: Intake) -> None:
    """A file with a shipped definition is applied again after each upgrade, to get its corrections."""
    await ship(shop, "shopify", [SECRET])
    body = {"shipped": "shopify", "secrets": [SECRET]}
    for change, version in (({}, 1), ({"event_source": "/other"}, 2), ({"secrets": [SECRET, "another-one"]}, 3)):
        answer = await shop.put("/v1/sources/shopify", body | change, if_match=f'"{max(1, version - 1)}"')
        assert (answer.status_code, answer.json()["version"], answer.headers["etag"]) == (200, version, f'"{version}"')


async def test_a_source_is_edited_with_if_match_only(shop: Intake) -> None:
    await ship(shop, "shopify")
    assert (await shop.put("/v1/sources/shopify", {"shipped": "shopify"})).status_code == 428
    assert (await shop.put("/v1/sources/shopify", {"shipped": "shopify"}, if_match='"7"')).status_code == 412
    kept = await shop.put("/v1/sources/shopify", {"shipped": "shopify", "description": "Ours"}, if_match='"1"')
    assert kept.status_code == 200
    assert (await from_shopify(shop)).status_code == 202  # left out, the secrets stay
    assert (await shop.delete("/v1/sources/shopify", if_match='"2"')).status_code == 204
    assert (await from_shopify(shop)).status_code == 404


async def test_the_secret_that_verifies_tells_tenant_and_mode(shop: Intake) -> None:
    await ship(shop, "shopify", ["live-secret"])
    await ship(shop, "shopify", ["test-secret"], key="test-key")
    await ship(shop, "shopify", ["other-secret"], key="other-key")
    for secret, key in [("live-secret", "live-key"), ("test-secret", "test-key"), ("other-secret", "other-key")]:
        await from_shopify(shop, X_Shopify_Hmac_Sha256=hmac_base64(SHOPIFY_ORDER, secret))
        assert len((await shop.get("/v1/events", key=key)).json()["items"]) == 1
