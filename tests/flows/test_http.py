"""HTTP as every service speaks it: guards, problems with pointers, limits, idempotency; on real Postgres."""

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import islice
from typing import Annotated, Any

import httpx
import pytest
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from libs.auth import Principal, internal, public, scope
from libs.contracts.outcomes import Mode
from libs.errors import DepescheError, Forbidden, Invalid, TooManyRequests, Unauthorized, Unavailable
from libs.paging import make_cursor, read_cursor
from libs.service import Runtime, Service
from libs.service_client import AsgiTransport, Transport
from libs.web import Router

calls: list[int] = []
revoked: set[str] = set()
troubles: list[DepescheError] = []
held: list[asyncio.Event] = []  # what a request to make something waits for
routes = Router()
access_routes = Router()


class Thing(BaseModel):
    """A thing to create."""

    number: int = Field(ge=0)
    data: dict[str, Any]


@routes.post("/v1/things", status_code=201)
async def make(thing: Thing, principal: Annotated[Principal, scope("events:send", internal=True)]) -> dict[str, Any]:
    calls.append(thing.number)
    for event in held:
        await event.wait()
    return {"tenant": principal.tenant, "mode": principal.mode.word, "text": str(thing.data.get("price"))}


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid")
    quantity: int = 1


@routes.put("/v1/parts", dependencies=[public()])
async def put_parts(parts: list[Part]) -> None: ...


@routes.get("/v1/things", dependencies=[public()])
async def things() -> list[int]:
    return calls


@routes.get("/v1/pages", dependencies=[public()])
async def pages(cursor: str | None = None) -> dict[str, Any]:
    return {"after": read_cursor(cursor, str, int)}


@routes.get("/v1/broken", dependencies=[public()])
async def broken() -> None:
    raise ZeroDivisionError("a bug")


@routes.post("/v1/halves", dependencies=[public()])
async def halves() -> StreamingResponse:
    calls.append(0)

    async def parts(fails: bool) -> AsyncIterator[bytes]:
        yield b"both "
        if fails:
            raise ConnectionError("in the middle of its answer")
        yield b"halves"

    return StreamingResponse(parts(len(calls) == 1))


@routes.post("/v1/busy", dependencies=[public()])
async def busy() -> str:
    if troubles:
        raise troubles.pop()
    return "done"


@routes.get("/v1/slow", dependencies=[public()])
async def slow() -> None:
    await asyncio.Event().wait()


@access_routes.post("/v1/keys:verify", dependencies=[internal()])
async def verify(body: dict[str, str]) -> dict[str, Any]:
    known = {
        "dp_live_good": (7, "events:send"),
        "dp_live_other": (8, "events:send"),
        "dp_live_reader": (7, "events:read"),
    }
    if body["key"] not in known or body["key"] in revoked:
        raise Unauthorized("No such key.")
    tenant, may = known[body["key"]]
    return {"tenant": tenant, "mode": "live", "key_id": "k1", "scopes": [may]}


@pytest.fixture
async def client(runtime: Runtime, transports: dict[str, Transport]) -> AsyncIterator[httpx.AsyncClient]:
    calls.clear()
    revoked.clear()
    held.clear()
    service = Service("access", runtime, None, runtime.database("access", max_size=8), [routes, access_routes])
    transports["access"] = AsgiTransport(lambda: service.app)
    transport = httpx.ASGITransport(service.app, raise_app_exceptions=False)
    async with service.running(), httpx.AsyncClient(transport=transport, base_url="http://suite") as opened:
        opened.headers["authorization"] = "Bearer dp_live_good"
        yield opened


BODY = {"number": 1, "data": {"price": 1}}


async def test_a_key_opens_what_its_scopes_say(client: httpx.AsyncClient) -> None:
    assert (await client.post("/v1/things", json=BODY)).json()["tenant"] == 7
    for authorization, status in (
        ("", 401),
        ("Bearer dp_live_bad", 401),
        ("Bearer dp_live_reader", 403),
        ("Internal x", 401),
    ):
        refused = await client.post("/v1/things", json=BODY, headers={"authorization": authorization})
        assert refused.status_code == status
        assert refused.headers["content-type"] == "application/problem+json"


async def test_decimals_reach_the_handler_as_written(client: httpx.AsyncClient) -> None:
    raw = b'{"number":1,"data":{"price":19.90}}'
    answer = await client.post("/v1/things", content=raw, headers={"content-type": "application/json"})
    assert answer.json()["text"] == "19.90"


BAD_BODIES: list[tuple[bytes, int, str]] = [
    (b"{", 400, "line 1"),
    (b'{"number":1,"number":2}', 400, "twice"),
    (b"[" * 10_000, 400, "nested"),
    (b'{"number":NaN}', 400, "NaN"),
    (b'{"number":-1,"data":{}}', 422, "/number"),
    (b'{"number":1,"data":[]}', 422, "/data"),
    (b"x" * 2_000_000, 413, "1,048,576"),
    (b"\xff", 400, "UTF-8"),
]


async def test_a_bad_body_is_a_problem_that_says_where(client: httpx.AsyncClient) -> None:
    for raw, status, says in BAD_BODIES:
        answer = await client.post("/v1/things", content=raw, headers={"content-type": "application/json"})
        assert answer.status_code == status, raw
        assert says in answer.text, raw
        assert calls == [], raw


async def test_an_unknown_field_names_the_one_that_was_meant(client: httpx.AsyncClient) -> None:
    answer = await client.put("/v1/parts", json=[{"quantity": 1}, {"Quantitty": 2}])
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert (error["pointer"], "Did you mean 'quantity'?" in error["detail"]) == ("/1/Quantitty", True)


async def test_a_body_without_a_length_is_cut_at_the_limit(client: httpx.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 65_536

    answer = await client.post("/v1/things", content=endless(), headers={"content-type": "application/json"})
    assert answer.status_code == 413


async def test_the_same_idempotency_key_gives_the_first_answer_again(client: httpx.AsyncClient) -> None:
    headers = {"idempotency-key": "order-1"}
    first = await client.post("/v1/things", json=BODY, headers=headers)
    again = await client.post("/v1/things", json=BODY, headers=headers)
    assert (again.status_code, again.json()) == (201, first.json())
    assert again.headers["idempotency-replayed"] == "true"
    assert calls == [1]


async def test_the_same_key_with_another_body_is_refused(client: httpx.AsyncClient) -> None:
    headers = {"idempotency-key": "order-2"}
    await client.post("/v1/things", json=BODY, headers=headers)
    other = await client.post("/v1/things", json=BODY | {"number": 2}, headers=headers)
    assert other.status_code == 409
    assert calls == [1]


async def test_the_same_key_with_another_query_is_refused(client: httpx.AsyncClient) -> None:
    headers = {"idempotency-key": "order-6"}
    await client.post("/v1/things?dry_run=true", json=BODY, headers=headers)
    assert (await client.post("/v1/things", json=BODY, headers=headers)).status_code == 409
    again = await client.post("/v1/things?dry_run=true", json=BODY, headers=headers)
    assert (again.status_code, calls) == (201, [1])


async def test_twins_at_the_same_time_have_one_effect(client: httpx.AsyncClient) -> None:
    headers = {"idempotency-key": "order-3"}
    held.append(asyncio.Event())
    twins = [asyncio.create_task(client.post("/v1/things", json=BODY, headers=headers)) for _ in range(4)]
    answers = [await answer for answer in islice(asyncio.as_completed(twins), 3)]
    assert [a.status_code for a in answers] == [409] * 3  # while the first is at work
    held[0].set()
    assert sorted(a.status_code for a in await asyncio.gather(*twins)) == [201, 409, 409, 409]
    assert calls == [1]


async def test_a_revoked_key_gets_no_stored_response(client: httpx.AsyncClient, runtime: Runtime) -> None:
    headers = {"idempotency-key": "order-8"}
    assert (await client.post("/v1/things", json=BODY, headers=headers)).status_code == 201
    revoked.add("dp_live_good")
    runtime.keys._known.clear()  # or five seconds later
    assert (await client.post("/v1/things", json=BODY, headers=headers)).status_code == 401


async def test_half_an_answer_is_not_kept_as_the_first_one(client: httpx.AsyncClient) -> None:
    headers = {"idempotency-key": "order-5"}
    await client.post("/v1/halves", headers=headers)
    assert (await client.post("/v1/halves", headers=headers)).text == "both halves"


_TROUBLES = [
    TooManyRequests("Too fast."),
    Unavailable("Away."),
    DepescheError("A bug."),
    Forbidden("A scope is missing, which an administrator then adds."),
    Unauthorized("It has expired."),
]


@pytest.mark.parametrize("trouble", _TROUBLES, ids=lambda trouble: trouble.slug)
async def test_an_answer_that_says_try_again_is_not_kept(client: httpx.AsyncClient, trouble: DepescheError) -> None:
    headers = {"idempotency-key": "order-9"}
    troubles[:] = [trouble]
    assert (await client.post("/v1/busy", headers=headers)).status_code == trouble.status
    assert (await client.post("/v1/busy", headers=headers)).json() == "done"


async def test_a_bug_is_a_problem_document_and_not_a_stack_trace(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/broken")
    assert answer.status_code == 500
    assert answer.json()["type"].endswith("/internal")
    assert "ZeroDivision" not in answer.text


@pytest.mark.parametrize("headers", [[], [(b"idempotency-key", b"order-5")]])
async def test_a_connection_lost_in_the_body_is_no_error_of_ours(
    runtime: Runtime, client: httpx.AsyncClient, headers: list[tuple[bytes, bytes]]
) -> None:
    service = Service("access", runtime, None, runtime.database("access", max_size=8), [routes])
    coming = iter([{"type": "http.request", "body": b'{"num', "more_body": True}, {"type": "http.disconnect"}])
    sent: list[Any] = []

    async def receive() -> Any:
        return next(coming)

    async def send(message: Any) -> None:
        sent.append(message)

    head = [(b"content-type", b"application/json"), (b"authorization", b"Bearer dp_live_good"), *headers]
    base = {"type": "http", "http_version": "1.1", "scheme": "http", "query_string": b"", "root_path": ""}
    path = {"path": "/v1/things", "raw_path": b"/v1/things", "method": "POST"}
    async with service.running():
        await service.app({**base, **path, "headers": head}, receive, send)
    assert sent[0]["status"] == 400
    assert b"closed before the end" in sent[1]["body"]


async def test_unknown_paths_and_methods_are_problems_too(client: httpx.AsyncClient) -> None:
    assert (await client.get("/nothing")).json()["status"] == 404
    assert "/docs" in (await client.get("/nothing")).json()["detail"]
    refused = await client.put("/v1/things")
    assert (refused.json()["status"], refused.headers["allow"]) == (405, "GET, POST")
    assert refused.json()["detail"] == "This path accepts GET, POST."


async def test_a_foreign_cursor_is_refused_with_the_way_out(client: httpx.AsyncClient) -> None:
    for cursor in ("x", "!!", "W10", make_cursor("one"), "é"):
        answer = await client.get("/v1/pages", params={"cursor": cursor})
        assert answer.status_code == 422, cursor
        assert "leave it out" in answer.text, cursor


async def test_services_speak_to_one_another_with_a_token_and_typed_errors(
    runtime: Runtime, client: httpx.AsyncClient, make_runtime: Callable[[str], Runtime]
) -> None:
    mine = runtime.client("tokens", "access")
    made = await mine.post("/v1/things", BODY, tenant=3, mode=Mode.TEST)
    assert (made["tenant"], made["mode"]) == (3, "test")
    with pytest.raises(Invalid):
        await mine.post("/v1/things", {"number": "x"}, tenant=3, mode=Mode.TEST)
    with pytest.raises(Unavailable):
        await mine.get("/v1/slow", tenant=3, mode=Mode.TEST, timeout=0.05)
