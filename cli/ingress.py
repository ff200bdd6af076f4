"""`python -m cli.ingress`: replaces a cluster's ingress. One port, every API under the suite's paths.

    /delivery/v1/…   to the program that serves delivery, streaming bodies both ways
    /docs, /openapi.json, /health   its own

It authenticates nobody and stores nothing; the program that gets the request does that.
"""

import argparse
import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field

import httpcore
from fastapi import FastAPI
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from libs import alone
from libs.errors import NotFound, Unavailable
from libs.http_connections import FAILURES, Connections
from libs.http_replies import trusted
from libs.keyring import Keyring
from libs.pages import pages_of
from libs.suite import SuiteSettings, load_suite
from libs.telemetry import configure_logs
from libs.web import add_routes, install_problem_handlers

_MOST_IDLE = 100
_CONNECT_SECONDS = 2.0
_ANSWER_SECONDS = 300.0  # an import of a million rows responds after the last row
# hop-by-hop fields (RFC 9110 §7.6.1), and those that the front server sets itself
_NOT_PASSED_ON = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding "
    b"upgrade date server".split()
)

Headers = list[tuple[bytes, bytes]]


@dataclass(slots=True)
class Proxy:
    """An ASGI application that forwards each request by the first part of its path. `ports` are on loopback."""

    ports: Mapping[str, int]
    _connections: Connections = field(init=False)

    def __post_init__(self) -> None:
        self._connections = Connections(trusted(None), _MOST_IDLE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        name = scope["path"].split("/")[1]
        if (port := self.ports.get(name)) is None:
            raise NotFound(f"There is nothing under /{name}; /docs lists all paths.")
        async with self._connections.lend(httpcore.Origin(b"http", b"127.0.0.1", port)) as connection:
            answering = asyncio.Event()
            request = _request(scope, port, _body(receive, answering))
            try:
                response = await connection.handle_async_request(request)
            except FAILURES as error:
                raise Unavailable(
                    f"{name} does not answer at the moment: {type(error).__name__}.", retry_after=1
                ) from error
            async with aclosing(response):
                await _pass_on(response, receive, send, answering)

    async def close(self) -> None:
        """Close the idle connections."""
        await self._connections.close()


def _request(scope: Scope, port: int, body: AsyncIterator[bytes]) -> httpcore.Request:
    headers: Headers = [(name, value) for name, value in scope["headers"] if name.lower() not in _NOT_PASSED_ON]
    names = {name.lower() for name, _ in scope["headers"]}
    if b"transfer-encoding" in names:
        headers.append((b"transfer-encoding", b"chunked"))
    elif b"content-length" not in names:
        headers.append((b"content-length", b"0"))
    if scope.get("client"):
        headers.append((b"x-forwarded-for", scope["client"][0].encode()))
    headers.append((b"x-forwarded-proto", scope["scheme"].encode()))
    target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
    timeout = {"connect": _CONNECT_SECONDS, "read": _ANSWER_SECONDS, "write": _ANSWER_SECONDS}
    url = httpcore.URL(scheme=b"http", host=b"127.0.0.1", port=port, target=target)
    return httpcore.Request(scope["method"], url, headers=headers, content=body, extensions={"timeout": timeout})


async def _body(receive: Receive, whole: asyncio.Event) -> AsyncIterator[bytes]:
    """Yield the request's body as it arrives; `whole` is set at its end."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        if part := message.get("body"):
            yield part
        if not message.get("more_body"):
            whole.set()
            return


async def _pass_on(response: httpcore.Response, receive: Receive, send: Send, whole: asyncio.Event) -> None:
    """Pass the response on as it arrives, until its end or until the client has gone."""
    headers = [(name, value) for name, value in response.headers if name.lower() not in _NOT_PASSED_ON]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    passing = asyncio.create_task(_parts(response, send))
    leaving = asyncio.create_task(_left(receive)) if whole.is_set() else None
    try:
        await asyncio.wait({passing, leaving} if leaving else {passing}, return_when=asyncio.FIRST_COMPLETED)
        if passing.done():
            passing.result()
    finally:
        for task in filter(None, (passing, leaving)):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def _parts(response: httpcore.Response, send: Send) -> None:
    async for part in response.aiter_stream():
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def create_app(ports: Mapping[str, int], url: str) -> FastAPI:
    """Return the proxy, and the pages that describe the whole suite."""
    proxy = Proxy(ports)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await proxy.close()

    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, lifespan=lifespan)
    install_problem_handlers(app)
    add_routes(app, pages_of(lambda: _document(url)))
    app.mount("/", proxy)
    return app


def _document(url: str) -> Mapping[str, object]:
    # imported here, because nothing else needs the services' code
    from services.__main__ import build, document

    return document(build(SuiteSettings(), Keyring(bytes(32))), url)


def main() -> None:
    """Run the command line; serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m cli.ingress", description="Serve every API on one port.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument(
        "routes", nargs="+", metavar="NAME=PORT", help="the first part of a path, and the port that serves it"
    )
    options = parser.parse_args()
    ports = {name: int(port) for name, _, port in (route.partition("=") for route in options.routes)}
    settings = load_suite()
    configure_logs(service="ingress", level=settings.log_level)
    app = create_app(ports, settings.url)
    import uvloop

    uvloop.run(alone.serve_http(app, options.host, options.port, drain_seconds=settings.drain_seconds))


if __name__ == "__main__":
    main()
