"""What was refused is stored sealed, shown without the secrets that schemas mark, and replayed to the last one."""

import hashlib
import hmac
from collections.abc import AsyncIterator
from typing import Any

import pytest
from prometheus_client import REGISTRY

from libs import exact_json
from libs.service import Runtime
from libs.service_client import Transport
from tests.flows.intake import Intake, event, intake, release
from tests.flows.intake_shops import SECRET

CODE = "471147"
SCHEMA = {
    "type": "object",
    "required": ["until"],
    "properties": {"code": {"type": "string", "x-secret": True}, "until": {"type": "string"}},
}
OWN: dict[str, Any] = {
    "verification": {"scheme": "hmac-hex", "header": "X-Sign"},
    "mapping": {
        "type": "body.kind",
        "id": "body.number",
        "recipient": "body.customer",
        "data": {"code": "body.secret_number", "until": "body.until"},
    },
    "secrets": [SECRET],
}


@pytest.fixture
async def shop(runtime: Runtime, transports: dict[str, Transport]) -> AsyncIterator[Intake]:
    async with intake(runtime, transports) as running:
        running.published.releases[:] = [release("login.code", communication="login-code")]
        yield running


async def rejected(shop: Intake, **query: str) -> list[dict[str, Any]]:
    wanted = "&".join(f"{name}={value}" for name, value in query.items())
    return list((await shop.get(f"/v1/rejections?{wanted}")).json()["items"])


async def deliver(shop: Intake, query: str = "", **body: Any) -> dict[str, Any]:
    raw = exact_json.dumps(body)
    sign = hmac.new(SECRET.encode(), raw, hashlib.sha256).hexdigest()
    answer = await shop.post(f"/v1/sources/own{query}", raw, key=None, x_sign=sign)
    assert answer.status_code == 202, answer.text
    (result,) = answer.json()["results"]
    return dict(result)


async def stored_in_clear(shop: Intake, text: str) -> bool:
    rows = await shop.rows("select * from orders_notification.rejection")
    rows += await shop.rows("select * from orders_notification.outbox")
    return any(text in str(value) for row in rows for value in row.values())


async def test_a_code_in_an_event_that_its_schema_refuses_is_neither_shown_nor_stored_in_clear(shop: Intake) -> None:
    await shop.put("/v1/event-types/login.code", {"schema": SCHEMA})
    answer = await shop.post("/v1/events", event(type="login.code", data={"code": CODE, "customer_id": "1"}))
    assert answer.status_code == 422
    (shown,) = await rejected(shop)
    assert exact_json.loads(shown["body"])["data"] == {"code": "********", "customer_id": "1"}
    assert not await stored_in_clear(shop, CODE)

    await shop.put("/v1/event-types/login.code", {"schema": SCHEMA | {"required": []}}, if_match='"1"')
    assert (await shop.post("/v1/rejections:replay", {})).json()["replayed"] == 1
    (request,) = await shop.outbox("notification.requested")
    assert request.event["data"]["code"] == CODE


async def test_a_code_in_the_wrong_place_is_hidden_too(shop: Intake) -> None:
    await shop.put("/v1/event-types/login.code", {"schema": SCHEMA})
    for number, data in enumerate(({"for": {"code": CODE}}, [{"code": CODE}], {"code": {"digits": CODE}})):
        await shop.post("/v1/events", event(f"e{number}", type="login.code", data=data))
    shown = await rejected(shop)
    assert len(shown) == 3
    assert not [one["body"] for one in shown if CODE in one["body"]]


async def test_a_webhook_that_its_schema_refuses_is_not_shown_where_the_type_has_secrets(shop: Intake) -> None:
    """Which of the sender's fields holds the code is known to its mapping only."""
    await shop.put("/v1/event-types/login.code", {"schema": SCHEMA})
    assert (await shop.put("/v1/sources/own", OWN)).status_code == 201
    said = {"kind": "login.code", "number": 1, "customer": "1", "secret_number": CODE, "until": 7}
    assert (await deliver(shop, **said))["status"] == "kept"
    (shown,) = await rejected(shop)
    assert (shown["body"], shown["headers"]) == (None, None)
    assert shown["errors"][0]["pointer"] == "/data/until"
    assert not await stored_in_clear(shop, CODE)


async def test_what_could_not_be_mapped_hides_every_field_that_is_named_like_a_secret(shop: Intake) -> None:
    await shop.put("/v1/event-types/login.code", {"schema": SCHEMA})
    assert (await shop.put("/v1/sources/own", OWN)).status_code == 201
    inside = exact_json.dumps({"code": CODE}).decode()
    result = await deliver(shop, f"?code={CODE}&lang=de", number=1, Code=CODE, message={"data": inside}, city="Graz")
    assert result["reason"] == "mapping_failed"
    (shown,) = await rejected(shop)
    body = exact_json.loads(shown["body"])
    assert body == {"number": 1, "Code": "********", "message": {"data": "********"}, "city": "Graz"}
    assert shown["query"] == {"code": "********", "lang": "de"}
    assert not await stored_in_clear(shop, CODE)


async def test_without_secrets_what_was_refused_is_shown_as_it_came(shop: Intake) -> None:
    assert (await shop.put("/v1/sources/own", OWN)).status_code == 201
    await deliver(shop, number=1, code="A7")
    (shown,) = await rejected(shop)
    assert exact_json.loads(shown["body"]) == {"number": 1, "code": "A7"}
    assert shown["headers"]["content-type"] == "application/json"


async def test_what_an_older_version_stored_in_clear_is_sealed_and_can_be_replayed(shop: Intake) -> None:
    await shop.put("/v1/event-types/login.code", {"schema": SCHEMA})
    await shop.post("/v1/events", event(type="login.code", data={"code": CODE}))
    body = exact_json.dumps(event("e1", type="login.code", data={"code": CODE, "until": "soon"}))
    await shop.rows(
        'update orders_notification.rejection set sealed = null, body = $1, headers = \'{"x-a": "b"}\'', body
    )
    assert await stored_in_clear(shop, CODE)
    assert (await rejected(shop))[0]["headers"] == {"x-a": "b"}
    assert await shop.service.deps.rejections.seal_clear() == 1
    assert not await stored_in_clear(shop, CODE)
    (shown,) = await rejected(shop)
    assert (shown["headers"], exact_json.loads(shown["body"])["data"]["until"]) == ({"x-a": "b"}, "soon")
    assert (await shop.post("/v1/rejections:replay", {})).json()["replayed"] == 1


async def test_a_walk_of_replays_reaches_every_rejection_though_many_are_refused_again(shop: Intake) -> None:
    shop.published.releases[:] = [release()]
    await shop.put("/v1/event-types/order.placed", {"schema": {"required": ["total"], "properties": {"total": {}}}})
    for number in range(7):
        answer = await shop.post("/v1/events", event(f"e{number}", data={"customer_id": "1", "sum": number}))
        assert answer.status_code == 422
    schema = {"properties": {"sum": {"maximum": 1}}}
    await shop.put("/v1/event-types/order.placed", {"schema": schema}, if_match='"1"')
    walked, cursor, asked = [], None, 0
    while cursor is not None or not asked:
        done = (await shop.post("/v1/rejections:replay", {"limit": 3, "cursor": cursor})).json()
        walked += [result["status"] for result in done["results"]]
        cursor, asked = done["next_cursor"], asked + 1
    assert (walked, asked) == (["accepted"] * 2 + ["rejected"] * 5, 3)  # oldest first, each once


@pytest.mark.parametrize("stranger", ["test-key", "other-key"])
async def test_another_tenant_or_mode_neither_sees_nor_replays_a_rejection(shop: Intake, stranger: str) -> None:
    for number, key in enumerate(("live-key", stranger)):
        await shop.put("/v1/event-types/order.placed", {"schema": {"required": ["total"]}}, key=key)
        assert (await shop.post("/v1/events", event(f"e{number}", data={"of": key}), key=key)).status_code == 422
        await shop.put("/v1/event-types/order.placed", {"schema": {}}, key=key, if_match='"1"')
    (ours,) = await rejected(shop)
    (theirs,) = (await shop.get("/v1/rejections", key=stranger)).json()["items"]
    assert [exact_json.loads(one["body"])["data"]["of"] for one in (ours, theirs)] == ["live-key", stranger]
    answer = await shop.post("/v1/rejections:replay", {"ids": [ours["id"]]}, key=stranger)
    assert answer.json()["replayed"] == 0
    assert [one["id"] for one in await rejected(shop, state="open")] == [ours["id"]]


BY_HEADER = OWN | {"mapping": {"type": "headers['x-topic'] + body.until", "id": "headers['x-topic']"}}


async def test_one_body_on_two_topics_is_two_rejections_and_both_become_events(shop: Intake) -> None:
    assert (await shop.put("/v1/sources/own", BY_HEADER)).status_code == 201
    body = exact_json.dumps({"order": 7})
    sign = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    for topic in ("orders/create", "orders/paid", "orders/paid"):  # Shopify sends the same order on both
        answer = await shop.post("/v1/sources/own?shop=de", body, key=None, x_sign=sign, x_topic=topic)
        assert answer.json()["results"][0]["status"] == "kept"
    await shop.post("/v1/sources/own?shop=at", body, key=None, x_sign=sign, x_topic="orders/paid")
    shown = [(one["headers"]["x-topic"], one["query"]["shop"], one["times"]) for one in await rejected(shop)]
    assert sorted(shown) == [("orders/create", "de", 1), ("orders/paid", "at", 1), ("orders/paid", "de", 2)]

    mended = BY_HEADER | {"mapping": {"type": "headers['x-topic']", "id": "headers['x-topic']"}}
    assert (await shop.put("/v1/sources/own", mended, if_match='"1"')).status_code == 200
    assert (await shop.post("/v1/rejections:replay", {})).json()["replayed"] == 3
    events = (await shop.get("/v1/events")).json()["items"]
    assert sorted(one["type"] for one in events) == ["orders/create", "orders/paid"]


@pytest.mark.parametrize("mapping", [{}, {"mapping": {"type": "'login.code'", "id": "body.number"}}])
async def test_a_rejection_of_an_earlier_version_is_refused_again_in_its_own_row(
    shop: Intake, mapping: dict[str, Any]
) -> None:
    """Versions differ in what they hash, so its row is found by its id."""
    await shop.put("/v1/event-types/login.code", {"schema": SCHEMA})
    assert (await shop.put("/v1/sources/own", OWN)).status_code == 201
    await deliver(shop, number=1)
    await shop.rows("update orders_notification.rejection set digest = 'older'")
    assert (await shop.put("/v1/sources/own", OWN | mapping, if_match='"1"')).status_code == 200
    for _ in range(2):
        again = (await shop.post("/v1/rejections:replay", {})).json()
        assert (again["replayed"], again["rejected"]) == (0, 1), again
    (shown,) = await rejected(shop)
    assert (shown["times"], shown["reason"]) == (3, "schema_invalid" if mapping else "mapping_failed")
    assert shown["body"] is None or not mapping  # its type has secrets, known since the mapping is mended


def counted(outcome: str) -> float:
    labels = {"source": "own", "outcome": outcome}
    return REGISTRY.get_sample_value("depesche_source_deliveries_total", labels) or 0.0


async def test_a_delivery_that_cannot_be_mapped_is_not_counted_as_mapped(shop: Intake) -> None:
    assert (await shop.put("/v1/sources/own", OWN)).status_code == 201
    before = counted("kept"), counted("mapped")
    await deliver(shop, number=1)
    await deliver(shop, kind="login.code", number=1, customer="1", secret_number=CODE, until="soon")
    assert (counted("kept"), counted("mapped")) == (before[0] + 1, before[1] + 1)


async def test_a_body_that_is_no_json_has_a_reason_without_a_place(shop: Intake) -> None:
    definition = {"verification": {"scheme": "token", "query": "token"}, "secrets": [SECRET]}
    definition |= {"mapping": {"type": "body.topic", "id": "body.number"}}
    assert (await shop.put("/v1/sources/own", definition)).status_code == 201
    assert (await shop.post(f"/v1/sources/own?token={SECRET}", b"<order/>", key=None)).status_code == 202
    (decided,) = await shop.outbox("decision.recorded")
    assert [str(d.detail)[:14] for d in decided.decisions] == ["Not valid JSON"]
