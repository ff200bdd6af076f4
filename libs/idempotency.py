"""Idempotency-Key on POST: the same key, query and body get the first response again; others under that key get 409.

The key's scope is caller, method and path. The response is stored for 24 hours in the service's own schema; responses
that mean "try again" (429, 5xx) are not stored. Streams (NDJSON, CSV, mails) carry ids of their own and are passed
through.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from libs.errors import BadRequest, Conflict, DepescheError, Unavailable
from libs.keyring import Keyring
from libs.storage.database import Database
from libs.telemetry import get_logger
from libs.web import problem_response

log = get_logger(__name__)

_MAX_KEY = 255
_ARCHIVES = ("application/zip", "application/x-zip-compressed", "application/mbox", "application/x-mbox")
_STREAMED = ("application/x-ndjson", "text/csv", "message/rfc822", "multipart/", *_ARCHIVES)
# A first request that died with its process leaves its row; after this time the key may be used again.
_ABANDONED_SECONDS = 60

_CLAIM = """
insert into idempotency as i (scope, key, body_hash) values ($1, $2, $3)
on conflict (scope, key) do update set created_at = now()
where i.status is null and i.created_at < now() - $4 * interval '1 second' and i.body_hash = excluded.body_hash
returning true
"""
_FIND = "select body_hash, status, content_type, etag, location, body from idempotency where scope = $1 and key = $2"
_KEEP = """
update idempotency set status = $3, content_type = $4, etag = $5, location = $6, body = $7
where scope = $1 and key = $2
"""
_DROP = "delete from idempotency where scope = $1 and key = $2"


class ReusedKey(Conflict):
    """The key was used before with another body."""

    slug = "idempotency-key-reused"
    title = "Idempotency-Key used for another request"


class StillRunning(Conflict):
    """The first request with this key has not finished."""

    slug = "idempotency-key-in-progress"
    title = "The first request with this key is still running"


@dataclass(frozen=True, slots=True)
class Idempotency:
    """ASGI middleware around a service's routes."""

    app: ASGIApp
    database: Database
    keyring: Keyring

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        key = headers.get("idempotency-key")
        if key is None or scope["method"] != "POST" or headers.get("content-type", "").startswith(_STREAMED):
            await self.app(scope, receive, send)
            return
        try:
            if not 1 <= len(key) <= _MAX_KEY or not key.isprintable():
                raise BadRequest(f"Idempotency-Key must have 1 to {_MAX_KEY} printable characters.")
            await self._once(key, Request(scope, receive), send)
        except DepescheError as error:
            await problem_response(error)(scope, receive, send)

    async def _once(self, key: str, request: Request, send: Send) -> None:
        body = await request.body()
        content = body + (f"?{request.url.query}".encode() if request.url.query else b"")
        caller = f"{request.headers.get('authorization', '')}\0{request.method}\0{request.url.path}"
        mark = (hashlib.sha256(caller.encode()).digest(), key)
        if (earlier := await self._claim(mark, hashlib.sha256(content).digest())) is not None:
            await _require_valid_key(request)
            await earlier(request.scope, request.receive, send)
            return
        answer = _Answer(send)
        try:
            await self.app(request.scope, _again(body, request.receive), answer)
        finally:
            # also after cancellation or failure: a key must not stay claimed without a response
            try:
                await self._keep(mark, answer)
            except Unavailable as error:  # the caller has the response; the claim expires like an abandoned one
                log.warning("idempotency_answer_not_kept", detail=error.detail)

    async def _claim(self, mark: tuple[bytes, str], body_hash: bytes) -> Response | None:
        async with self.database.acquire() as connection:
            if await connection.fetchval(_CLAIM, *mark, body_hash, _ABANDONED_SECONDS):
                return None
            row = await connection.fetchrow(_FIND, *mark)
        if row is None or (row["body_hash"] == body_hash and row["status"] is None):
            raise StillRunning("Wait for its response, then send this again.")
        if row["body_hash"] != body_hash:
            raise ReusedKey(
                "This Idempotency-Key was used before with another body or query; use a new key for a new request."
            )
        headers = {name: row[name] for name in ("etag", "location") if row[name]} | {"idempotency-replayed": "true"}
        # sealed: a response may contain what is shown only once, such as a new API key
        body = self.keyring.open("idempotency", row["body"], mark[0])
        return Response(body, row["status"], headers=headers, media_type=row["content_type"])

    async def _keep(self, mark: tuple[bytes, str], answer: "_Answer") -> None:
        async with self.database.acquire() as connection:
            if not answer.whole or answer.status in (401, 403, 429) or answer.status >= 500:
                await connection.execute(_DROP, *mark)
                return
            found = Headers(raw=answer.headers)
            await connection.execute(
                _KEEP,
                *mark,
                answer.status,
                found.get("content-type"),
                found.get("etag"),
                found.get("location"),
                self.keyring.seal("idempotency", b"".join(answer.chunks), mark[0]),
            )


class _Answer:
    """Passes the response on and records it."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0
        self.whole = False
        self.headers: list[tuple[bytes, bytes]] = []
        self.chunks: list[bytes] = []

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = list(message.get("headers", ()))
        elif message["type"] == "http.response.body":
            self.chunks.append(message.get("body", b""))
            self.whole = not message.get("more_body", False)
        await self._send(message)


async def _require_valid_key(request: Request) -> None:
    """Raises Unauthorized: a revoked key gets no stored response either. The route's guard checks all other calls."""
    kind, _, key = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        await request.app.state.runtime.keys.verify(key.strip())


def _again(body: bytes, receive: Receive) -> Receive:
    given = False

    async def replay() -> Any:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
