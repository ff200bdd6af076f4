"""A suite that answers from a script and records its requests, on a real socket."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

KEY = {"DEPESCHE_KEY": "dp_live_a_b"}


class ScriptedSuite:
    """An ASGI application that answers from a script and records its requests."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.queries: list[str] = []
        self.answers: dict[tuple[str, str], Callable[[bytes], tuple[int, Any, dict[str, str]]]] = {}

    def forget(self) -> None:
        """Forget all requests and scripted answers."""
        self.asked.clear()
        self.queries.clear()
        self.answers.clear()

    def on(self, method: str, path: str, *answers: tuple[int, Any]) -> None:
        """Script answers in turn; the last one repeats."""
        left = list(answers)
        self.answers[method, path] = lambda _: (*(left.pop(0) if len(left) > 1 else left[0]), {})

    async def __call__(self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Any) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.asked.append((scope["method"], scope["path"], headers, body))
        self.queries.append(scope["query_string"].decode())
        answer = self.answers.get((scope["method"], scope["path"]))
        status, document, more = answer(body) if answer else (404, {"title": "Not found", "detail": "None."}, {})
        lines = isinstance(document, list) and "events" in scope["path"]
        raw = b"".join(json.dumps(d).encode() + b"\n" for d in document) if lines else json.dumps(document).encode()
        media = "application/x-ndjson" if lines else "application/json"
        head = [(name.encode(), value.encode()) for name, value in ({"content-type": media} | more).items()]
        await send({"type": "http.response.start", "status": status, "headers": head})
        await send({"type": "http.response.body", "body": raw})
