"""Reject bodies that are too large or compressed, before any route reads them, and those that end too early.

Source: RFC 9110 §15.5.14 and §15.5.16.
"""

from collections.abc import Mapping

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from libs.errors import BadRequest, TooLarge, UnsupportedMedia
from libs.web import problem_response

DEFAULT_BODY_BYTES = 1 << 20


class BodyLimit:
    """Ends a request whose body exceeds the route's limit with 413, without buffering it, and a compressed one with
    415: its size says nothing about the content, and signatures cover the bytes as they arrived."""

    def __init__(self, app: ASGIApp, limits: Mapping[str, int], default: int = DEFAULT_BODY_BYTES) -> None:
        self._app = app
        self._limits = limits
        self._default = default

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._limit(scope)
        headers = dict(scope["headers"])
        encoding = headers.get(b"content-encoding", b"").strip().lower()
        if encoding not in (b"", b"identity"):
            answer = problem_response(_compressed(encoding))
            answer.headers["accept-encoding"] = "identity"
            await answer(scope, receive, send)
            return
        declared = headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > limit:
            await problem_response(_too_large(limit))(scope, receive, send)
            return
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            if message["type"] == "http.request":
                taken += len(message.get("body", b""))
                if taken > limit:
                    raise _too_large(limit)
            return message

        try:
            await self._app(scope, counted, send)
        except ClientDisconnect:
            # nobody reads this, but counted as a 500 every phone that loses its connection would alarm somebody
            await problem_response(_cut_off())(scope, receive, send)

    def _limit(self, scope: Scope) -> int:
        path = str(scope["path"]).removeprefix(str(scope.get("root_path", "")))
        for prefix, limit in self._limits.items():
            if path.startswith(prefix):
                return limit
        return self._default


def _too_large(limit: int) -> TooLarge:
    return TooLarge(
        f"The body is larger than the {limit:,} bytes that this route accepts; send it in parts.", limit=limit
    )


def _cut_off() -> BadRequest:
    return BadRequest("The connection closed before the end of the body; send it again.")


def _compressed(encoding: bytes) -> UnsupportedMedia:
    told = encoding[:40].decode("latin-1")
    return UnsupportedMedia(f"The body has the content encoding {told!r}; send it uncompressed.")
