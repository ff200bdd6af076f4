"""What senders read: the answer to a first call by GET or HEAD, and the one without which no delivery counts."""

import hashlib
import hmac
from collections.abc import AsyncIterator
from typing import Any

import pytest

from libs.service import Runtime
from libs.service_client import Transport
from tests.flows.intake import Intake, intake
from tests.flows.intake_shops import SECRET

MAPPING = {"type": "'order.placed'", "id": "body.id"}
META = {
    "verification": {"scheme": "hmac-hex", "header": "X-Hub-Signature-256", "prefix": "sha256="},
    "handshake": 'query["hub.verify_token"] == "ours" ? query["hub.challenge"] : null',
}
MAILCHIMP = {"verification": {"scheme": "token", "query": "token"}}


@pytest.fixture
async def shop(runtime: Runtime, transports: dict[str, Transport]) -> AsyncIterator[Intake]:
    async with intake(runtime, transports) as running:
        yield running


async def defined(shop: Intake, definition: dict[str, Any]) -> None:
    answer = await shop.put("/v1/sources/own", {"mapping": MAPPING, "secrets": [SECRET], **definition})
    assert answer.status_code == 201, answer.text


def signed(body: bytes) -> dict[str, str]:
    return {"x_hub_signature_256": "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()}


async def test_a_challenge_by_get_is_answered_as_the_handshake_says(shop: Intake) -> None:
    await defined(shop, META)
    asked = "/v1/sources/own?hub.mode=subscribe&hub.challenge=%3Cb%3E115&hub.verify_token="
    answer = await shop.http.get(asked + "ours")
    assert (answer.status_code, answer.text) == (200, "<b>115")
    assert answer.headers["content-type"].startswith("text/plain")  # never a page: it repeats what anybody sent
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert (await shop.http.get(asked + "guessed")).status_code == 401
    assert (await shop.http.get(asked.replace("own", "none"))).status_code == 404
    assert await shop.count("event") == 0


async def test_a_get_with_the_token_of_the_address_is_answered_200(shop: Intake) -> None:
    await defined(shop, MAILCHIMP)
    answer = await shop.http.get(f"/v1/sources/own?token={SECRET}")
    assert (answer.status_code, answer.content) == (200, b"")
    assert (await shop.http.get("/v1/sources/own?token=guessed")).status_code == 401


async def test_the_definition_is_still_read_with_a_key_alone(shop: Intake) -> None:
    await defined(shop, META)
    assert (await shop.get("/v1/sources/own")).json()["name"] == "own"
    assert (await shop.get("/v1/sources/own?hub.mode=subscribe&hub.challenge=1&hub.verify_token=ours")).json()[
        "version"
    ] == 1
    assert (await shop.http.get("/v1/sources/own")).status_code == 401


async def test_an_address_is_tried_by_head(shop: Intake) -> None:
    await defined(shop, META)
    assert (await shop.http.head("/v1/sources/own")).status_code == 200


@pytest.mark.parametrize(
    ("answer", "content", "media"),
    [
        ({"op": "success"}, b'{"op":"success"}', "application/json"),  # Adobe Commerce stops a checkout without it
        ([{"op": "success"}], b'[{"op":"success"}]', "application/json"),
        ("[accepted]", b"[accepted]", "text/plain; charset=utf-8"),
        ("<Response/>", b"<Response/>", "application/xml"),  # Twilio would send a plain text as a reply
        ("", b"", "text/plain; charset=utf-8"),
    ],
)
async def test_a_sender_reads_the_answer_that_it_waits_for(
    shop: Intake, answer: Any, content: bytes, media: str
) -> None:
    await defined(shop, META | {"answer": answer})
    assert (await shop.get("/v1/sources/own")).json()["answer"] == answer
    for body in (b'{"id":"1"}', b'{"id":"1"}', b'{"no":"id"}', b"not json"):  # new, repeated, kept, unreadable
        got = await shop.post("/v1/sources/own", body, key=None, **signed(body))
        assert (got.status_code, got.content, got.headers["content-type"]) == (200, content, media)
    assert (await shop.count("event"), await shop.count("rejection")) == (1, 2)
    refused = await shop.post("/v1/sources/own", b'{"id":"2"}', key=None, **signed(b"another body"))
    assert refused.status_code == 401


async def test_without_an_answer_of_its_own_a_delivery_is_answered_with_counts(shop: Intake) -> None:
    await defined(shop, META)
    got = await shop.post("/v1/sources/own", b'{"id":"1"}', key=None, **signed(b'{"id":"1"}'))
    assert (got.status_code, [r["status"] for r in got.json()["results"]]) == (202, ["accepted"])


async def test_a_topic_answers_nobody(shop: Intake) -> None:
    definition = {"topic": {"component": "erp", "name": "orders"}, "answer": "ok"}
    refused = await shop.put("/v1/sources/own", definition)
    assert [e["pointer"] for e in refused.json()["errors"]] == ["/answer"]


async def test_a_wrongly_signed_delivery_is_refused_though_a_handshake_would_answer_it(shop: Intake) -> None:
    """Whoever mistyped the secret saw 200, and the sender took every delivery for received."""
    greedy = {"verification": {"scheme": "token", "query": "token"}, "handshake": "has(body.id)"}
    await defined(shop, greedy)
    other = {"mapping": MAPPING, "secrets": ["of the other tenant"], **META, "handshake": None}
    assert (await shop.put("/v1/sources/own", other, key="other-key")).status_code == 201
    body = b'{"id":"1"}'
    assert (await shop.post("/v1/sources/own", body, key=None, **signed(body))).status_code == 401
    assert (await shop.post("/v1/sources/own?token=guessed", body, key=None)).status_code == 401
    assert (await shop.post("/v1/sources/own", body, key=None)).status_code == 200  # a first call
    assert (await shop.post(f"/v1/sources/own?token={SECRET}", body, key=None)).status_code == 200


@pytest.mark.parametrize(
    ("verification", "secret", "sent"),
    [
        ({"scheme": "standard-webhooks"}, "whsec_c2VjcmV0IG9mIGEgc2VuZGVy", {"svix_signature": "v1,AAAA"}),
        ({"scheme": "basic"}, "user:password", {"authorization": "Basic dXNlcjp3cm9uZw=="}),
        ({"scheme": "hmac-hex", "field": "sign"}, "hush-hush", {}),
    ],
)
async def test_a_wrong_signature_is_recognised_wherever_it_is(
    shop: Intake, verification: dict[str, Any], secret: str, sent: dict[str, str]
) -> None:
    await defined(shop, {"verification": verification, "secrets": [secret], "handshake": "has(body.id)"})
    signed_inside = b'{"id":"1","sign":"00"}' if "field" in verification else b'{"id":"1"}'
    assert (await shop.post("/v1/sources/own", signed_inside, key=None, **sent)).status_code == 401
    for body, headers, shaken in ((signed_inside, sent, False), (b'{"id":"1"}', {}, True)):
        pasted = {"body": body.decode(), "headers": {name.replace("_", "-"): value for name, value in headers.items()}}
        assert (await shop.post("/v1/sources/own:test", pasted)).json()["handshake"] is shaken
    assert (await shop.post("/v1/sources/own", b'{"id":"1"}', key=None)).status_code == 200
