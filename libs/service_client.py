"""Calls between services: directly into the other application (`asgi:`) or over the network (`http:`).

Both use the same JSON, internal token, deadlines and errors: a problem document becomes the error it describes; a
timeout or a 5xx becomes Unavailable.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, ClassVar, Protocol
from urllib.parse import urlencode

import msgspec
from starlette.types import ASGIApp, Message

from libs import exact_json
from libs.auth import InternalTokens
from libs.contracts.outcomes import Mode
from libs.errors import (
    BadRequest,
    Conflict,
    DepescheError,
    Forbidden,
    Invalid,
    NotFound,
    PreconditionFailed,
    Unauthorized,
    Unavailable,
)
from libs.telemetry import current_traceparent

_ERRORS: dict[int, type[DepescheError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    412: PreconditionFailed,
    422: Invalid,
}
_TOKEN_SECONDS = 30.0
_decoder = msgspec.json.Decoder(float_hook=Decimal)


@dataclass(frozen=True, slots=True)
class Call:
    """One request to another service; `body` is JSON bytes or empty."""

    method: str
    path: str
    query: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


class Transport(Protocol):
    """Carries a call to one service and returns status and body."""

    async def __call__(self, call: Call) -> tuple[int, bytes]: ...


@dataclass(frozen=True, slots=True)
class AsgiTransport:
    """Calls an application of this process directly; looked up late, because applications refer to one another."""

    app: Callable[[], ASGIApp]

    async def __call__(self, call: Call) -> tuple[int, bytes]:
        status = 500
        chunks: list[bytes] = []
        given = answered = False

        async def receive() -> Message:
            nonlocal given
            if given:
                await asyncio.Event().wait()
            given = True
            return {"type": "http.request", "body": call.body, "more_body": False}

        async def send(message: Message) -> None:
            nonlocal status, answered
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "http.response.body":
                chunks.append(message.get("body", b""))
                answered = not message.get("more_body", False)

        try:
            await self.app()(_scope(call), receive, send)
        except Exception:
            # Starlette raises a bug again after its 500, for the server's log; the caller gets what it would by HTTP
            if not answered:
                raise
        return status, b"".join(chunks)


def _scope(call: Call) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": call.method,
        "scheme": "http",
        "path": call.path,
        "raw_path": call.path.encode(),
        "query_string": call.query.encode(),
        "root_path": "",
        "headers": list(call.headers),
        "client": ("127.0.0.1", 0),
        "server": ("suite", 80),
        "state": {},
    }


class HttpTransport:
    """Calls over the network with one pooled client, opened at the first call, inside the running loop. `headers` are
    added to every call."""

    def __init__(self, base_url: str, headers: Mapping[str, str] | None = None) -> None:
        self._base = base_url.rstrip("/")
        self._headers = dict(headers or {})
        self._client: Any = None

    async def __call__(self, call: Call) -> tuple[int, bytes]:
        import httpx

        if self._client is None:
            # no timeout: the caller has a deadline; no proxy: services are near; loading certificates is slow
            limits, verify = httpx.Limits(max_connections=100), self._base.startswith("https:")
            self._client = httpx.AsyncClient(
                headers=self._headers, timeout=None, limits=limits, trust_env=False, verify=verify
            )
        url = f"{self._base}{call.path}" + (f"?{call.query}" if call.query else "")
        try:
            response = await self._client.request(
                call.method, url, content=call.body or None, headers=list(call.headers)
            )
        except httpx.HTTPError as error:
            raise Unavailable(f"{self._base} cannot be reached: {type(error).__name__}") from error
        return response.status_code, response.content

    async def aclose(self) -> None:
        """Close its connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None


@dataclass(slots=True)
class ServiceClient:
    """Another service, as its caller sees it."""

    name: str
    caller: str
    tokens: InternalTokens
    transport: Transport
    _made: dict[tuple[int, int], tuple[float, bytes]] = field(default_factory=dict)

    default_seconds: ClassVar[float] = 5.0

    async def post(self, path: str, body: Any, *, tenant: int, mode: Mode, timeout: float | None = None) -> Any:
        """POST JSON (an object, or bytes already encoded) and return the decoded response. `timeout`: seconds; None:
        `default_seconds`.

        Raises Unavailable on a timeout, 5xx or 429, otherwise the error that the problem document describes."""
        raw = body if isinstance(body, bytes) else exact_json.dumps(body)
        return await self._call(Call("POST", path, "", self._headers(tenant, mode), raw), timeout)

    async def get(
        self, path: str, query: dict[str, Any] | None = None, *, tenant: int, mode: Mode, timeout: float | None = None
    ) -> Any:
        """GET; see post."""
        pairs = {name: value for name, value in (query or {}).items() if value is not None}
        return await self._call(Call("GET", path, urlencode(pairs), self._headers(tenant, mode), b""), timeout)

    def _headers(self, tenant: int, mode: Mode) -> tuple[tuple[bytes, bytes], ...]:
        now = time.monotonic()
        made = self._made.get((tenant, mode))
        if made is None or made[0] < now:
            token = self.tokens.make(self.caller, tenant, mode).encode()
            made = self._made[tenant, mode] = (now + _TOKEN_SECONDS, b"Internal " + token)
        headers = ((b"authorization", made[1]), (b"content-type", b"application/json"))
        traceparent = current_traceparent()
        return (*headers, (b"traceparent", traceparent.encode())) if traceparent else headers

    async def _call(self, call: Call, timeout: float | None) -> Any:
        timeout = self.default_seconds if timeout is None else timeout
        try:
            async with asyncio.timeout(timeout):
                status, raw = await self.transport(call)
        except TimeoutError as error:
            raise Unavailable(f"{self.name} did not answer {call.path} within {timeout} s") from error
        if 200 <= status < 300:
            try:
                # our own services wrote it, so the strict parser's checks are not needed again
                return _decoder.decode(raw) if raw else None
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise Unavailable(f"Not {self.name}, but something else answered {call.path}: no JSON") from error
        raise self._error(status, raw, call.path)

    def _error(self, status: int, raw: bytes, path: str) -> DepescheError:
        try:
            problem = exact_json.loads(raw)
            detail = str(problem["detail"])
        except (BadRequest, KeyError, TypeError):
            detail = f"{self.name} answered {status} to {path}"
        if status >= 500 or status == 429:
            return Unavailable(detail)
        return _ERRORS.get(status, BadRequest)(detail)


@contextmanager
def refusals_as_unavailable(name: str) -> Iterator[None]:
    """For batch calls whose answer leaves out what is not found: a refusal then says nothing about what was asked, but
    that the other service has another secret, clock or URL than we think. Raises Unavailable."""
    try:
        yield
    except (Unauthorized, Forbidden, NotFound) as error:
        raise Unavailable(f"{name} refuses our calls: {error.detail}") from error
