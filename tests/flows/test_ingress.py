"""The ingress of the topology on one machine passes requests on unchanged, and reports services that do not answer."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.responses import StreamingResponse

from cli.engines.engine import free_port
from cli.ingress import create_app
from tests.shell import serving
from tests.waiting import eventually

MEGABYTE = 1 << 20


def upstream(seen: list[httpx.Headers], more: list[asyncio.Event], left: list[str]) -> FastAPI:
    app = FastAPI()

    @app.api_route("/shop/v1/things:digest", methods=["GET", "POST", "DELETE"])
    async def digest(request: Request) -> dict[str, object]:
        seen.append(httpx.Headers(request.headers.raw))
        made, size = hashlib.sha256(), 0
        async for part in request.stream():
            made.update(part)
            size += len(part)
        return {"sha256": made.hexdigest(), "size": size, "query": str(request.url.query), "verb": request.method}

    @app.get("/shop/v1/slow")
    async def slow() -> StreamingResponse:
        event = asyncio.Event()
        more.append(event)

        async def parts() -> AsyncIterator[bytes]:
            try:
                yield b"first\n"
                await event.wait()
                yield b"last\n"
            except asyncio.CancelledError:
                left.append("the reader")
                raise

        return StreamingResponse(parts(), media_type="text/plain")

    @app.get("/shop/v1/broken")
    async def broken() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"half"
            raise OSError("it died")

        return StreamingResponse(parts(), headers={"content-length": "8"})

    return app


class Town:
    """An ingress before one service, and the requests that it has seen."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.seen: list[httpx.Headers] = []
        self.more: list[asyncio.Event] = []
        self.left: list[str] = []


@pytest.fixture
def town(monkeypatch: pytest.MonkeyPatch) -> Iterator[Town]:
    monkeypatch.setattr("cli.ingress._CONNECT_SECONDS", 60.0)  # a slow machine is not away
    made = Town("")
    with serving(upstream(made.seen, made.more, made.left)) as behind:
        ports = {"shop": urlsplit(behind).port or 0, "gone": free_port()}
        with serving(create_app(ports, "http://ingress.example")) as made.url:
            yield made


@pytest.fixture
async def client(town: Town) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=town.url, timeout=120, trust_env=False, verify=False) as made:
        yield made


async def test_fifty_megabytes_go_through_as_they_come(client: httpx.AsyncClient, town: Town) -> None:
    part = bytes(range(256)) * (MEGABYTE // 256)
    made = hashlib.sha256()

    async def body() -> AsyncIterator[bytes]:
        for _ in range(50):
            made.update(part)
            yield part

    answer = await client.post("/shop/v1/things:digest?dry_run=1", content=body())
    assert answer.json() == {
        "sha256": made.hexdigest(), "size": 50 * MEGABYTE, "query": "dry_run=1", "verb": "POST",
    }  # fmt: skip
    assert town.seen[0]["transfer-encoding"] == "chunked"
    assert town.seen[0]["host"] == urlsplit(town.url).netloc
    assert town.seen[0]["x-forwarded-for"] == "127.0.0.1"


async def test_a_body_of_known_length_and_none_at_all(client: httpx.AsyncClient, town: Town) -> None:
    assert (await client.post("/shop/v1/things:digest", content=b"four")).json()["size"] == 4
    for verb in ("GET", "DELETE"):
        assert (await client.request(verb, "/shop/v1/things:digest")).json()["verb"] == verb
    assert [headers.get("transfer-encoding") for headers in town.seen] == [None, None, None]


async def test_an_answer_comes_as_it_is_made(client: httpx.AsyncClient, town: Town) -> None:
    async with client.stream("GET", "/shop/v1/slow") as answer:
        lines = answer.aiter_lines()
        assert await anext(lines) == "first"
        town.more[0].set()  # on another thread's loop, which checks again when it is written to
        assert [line async for line in lines] in (["last"], [])


async def test_who_reads_no_more_is_not_answered_any_more(client: httpx.AsyncClient, town: Town) -> None:
    async with client.stream("GET", "/shop/v1/slow") as answer:
        assert await anext(answer.aiter_lines()) == "first"
    await eventually(lambda: town.left, 120)


async def test_where_nobody_answers_it_says_so_and_when_to_ask_again(client: httpx.AsyncClient) -> None:
    answer = await client.post("/gone/v1/things", content=b"x" * MEGABYTE)
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "1"
    assert "gone does not answer at the moment" in answer.json()["detail"]


async def test_what_nobody_serves_is_a_problem(client: httpx.AsyncClient) -> None:
    for path in ("/nowhere/v1/things", "/dapr/events/tenant.changed.v1", "/"):
        answer = await client.post(path)
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"


async def test_half_an_answer_is_not_taken_for_a_whole_one(client: httpx.AsyncClient) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        await client.get("/shop/v1/broken")


async def test_it_describes_the_whole(client: httpx.AsyncClient) -> None:
    assert (await client.get("/health")).json()["status"] == "ok"
    document = (await client.get("/openapi.json")).json()
    assert document["servers"][0]["url"] == "http://ingress.example"
    assert any(path.startswith("/delivery/v1/") for path in document["paths"])
    assert "<html" in (await client.get("/docs")).text
