"""The suite over HTTP: one client with timeouts, retries where they are safe, and problems as errors.

If a response is lost, GET is retried, and so is POST because it carries an Idempotency-Key (events carry their own
ids); PUT and DELETE are not, because they may have been done. After a response, only 429 and 503 are retried. A
refused connection is never retried.
"""

import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from cli.errors import ProblemAnswer, Unreachable, UsageError
from libs import exact_json
from libs.errors import BadRequest

_TRIES = 4
_LONGEST_PAUSE_SECONDS = 20.0
_TIMEOUT = httpx.Timeout(60.0, connect=5.0)
_LONG_TIMEOUT = httpx.Timeout(600.0, connect=5.0)  # a stream gets its response once all of it was processed
_AGAIN = (429, 503)
PAGE = 500


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful response; `body` is decoded JSON, or the text of another media type."""

    status: int
    body: Any
    etag: str | None


@dataclass(frozen=True, slots=True)
class Content:
    """A request body that is already encoded; an iterator is sent once and never retried."""

    raw: bytes | Iterator[bytes]
    media_type: str


class Api:
    """The suite at one URL, with one key."""

    def __init__(self, url: str, key: str | None) -> None:
        self.url = _checked(url).rstrip("/")
        headers = {"user-agent": "depesche-cli", "accept": "application/json"}
        if key:
            headers["authorization"] = f"Bearer {key}"
        # loading the system's certificates takes longer than most commands; plain HTTP does not need them
        verify = self.url.startswith("https:")
        self._client = httpx.Client(base_url=self.url, headers=headers, timeout=_TIMEOUT, verify=verify)

    def get(self, path: str, **query: Any) -> Any:
        """Return the decoded body of a GET."""
        return self.call("GET", path, query=query).body

    def fetch(self, path: str) -> Answer | None:
        """GET with the entity tag; None if there is nothing."""
        try:
            return self.call("GET", path)
        except ProblemAnswer as problem:
            if problem.status == 404:
                return None
            raise

    def put(self, path: str, body: Any, *, etag: str | None = None) -> Answer:
        """PUT; `etag` of the version that was read, None to create."""
        return self.call("PUT", path, body, headers={"if-match": etag} if etag else None)

    def post(self, path: str, body: Any = None, **query: Any) -> Any:
        """Return the decoded body of a POST."""
        return self.call("POST", path, body, query=query).body

    def delete(self, path: str, **query: Any) -> Any:
        """Return the decoded body of a DELETE."""
        return self.call("DELETE", path, query=query).body

    def items(self, path: str, *, most: int | None = None, **query: Any) -> Iterator[Any]:
        """Yield the items of a paged list, up to `most`, fetching pages as they are needed."""
        left = most
        cursor: str | None = None
        while left is None or left > 0:
            page = self.get(path, cursor=cursor, limit=PAGE if left is None else min(left, PAGE), **query)
            yield from page["items"]
            cursor = page.get("next_cursor")
            if not cursor:
                return
            left = left - len(page["items"]) if left is not None else None

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request. Raises ProblemAnswer or Unreachable."""
        sent = dict(headers or {})
        raw: bytes | Iterator[bytes] = b""
        timeout = _LONG_TIMEOUT if isinstance(body, Content) else _TIMEOUT
        if isinstance(body, Content):
            raw, sent["content-type"] = body.raw, body.media_type
        elif body is not None:
            raw, sent["content-type"] = exact_json.dumps(body), "application/json"
        if method == "POST":
            sent["idempotency-key"] = str(uuid.uuid4())
        parameters = {name: value for name, value in (query or {}).items() if value is not None}
        request = self._client.build_request(
            method, path, params=parameters, content=raw or None, headers=sent, timeout=timeout
        )
        return self._answer(self._sent(request, tries=_TRIES if isinstance(raw, bytes) else 1))

    def _sent(self, request: httpx.Request, *, tries: int) -> httpx.Response:
        for left in reversed(range(tries)):
            try:
                response = self._client.send(request)
            except httpx.ConnectError as error:
                # nothing was sent, and if nothing listens, waiting does not help
                raise Unreachable(self.url, str(error) or "connection refused") from error
            except httpx.TransportError as error:
                # PUT and DELETE may have been done: with If-Match a retry would only look like a conflict
                if not left or request.method in ("PUT", "DELETE"):
                    raise Unreachable(self.url, type(error).__name__) from error
                _pause(1.0)
                continue
            if not left or not _try_again(response):
                return response
            _pause(_retry_after(response))
        raise AssertionError("the last try returns or raises")

    def _answer(self, response: httpx.Response) -> Answer:
        if response.is_redirect:
            raise Unreachable(self.url, f"it redirects to {_short(response.headers.get('location', ''))}")
        if response.headers.get("content-type", "").startswith("text/html"):
            # Depesche's API has no pages: a proxy's error, or another server, whose 404 says nothing about a name
            raise Unreachable(self.url, f"a web page answers there, with status {response.status_code}")
        body = _decoded(response)
        if response.is_success:
            return Answer(response.status_code, body, response.headers.get("etag"))
        raise ProblemAnswer(
            response.status_code, body if isinstance(body, dict) else {"detail": _short(str(body or ""))}
        )


def at(collection: str, name: str, *, slashes: bool = False) -> str:
    """Return the path of one object. Raises UsageError for a name that would be another path (`..`, `a/b`)."""
    if not name.strip(".") or ("/" in name and not slashes):
        raise UsageError(f"{name!r} is not an id or a name.", hint="Nothing was sent; `list` shows ids and names.")
    return f"{collection}/{quote(name, safe=':')}"


def at_cause(collection: str, text: str) -> str:
    """Return the path of an event or its cause. Raises UsageError if that is the shop's id or an order number."""
    try:
        uuid.UUID(text)
    except ValueError:
        hint = "Depesche's own id of the event is needed: `depesche events list --subject ORDER` shows it."
        raise UsageError(f"{text!r} is not an id or a name.", hint=hint) from None
    return at(collection, text)


def _checked(url: str) -> str:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise UsageError(f"{url!r} is not a URL: {error}.") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise UsageError(f"{url!r} is not a URL.", hint="Write it with its scheme, like http://127.0.0.1:8700.")
    return url


def ndjson(items: Iterable[bytes]) -> Content:
    """Return lines as one request body."""
    return Content(b"\n".join(items) + b"\n", "application/x-ndjson")


def _decoded(response: httpx.Response) -> Any:
    media = response.headers.get("content-type", "").partition(";")[0].strip()
    if not response.content:
        return None
    try:
        if media.endswith("ndjson"):
            return [exact_json.loads(line) for line in response.content.splitlines() if line.strip()]
        if media == "application/json" or media.endswith("+json"):
            return exact_json.loads(response.content)
    except BadRequest:
        return {"title": "The suite's response cannot be read", "detail": _short(response.text)}
    return response.text


def _try_again(response: httpx.Response) -> bool:
    # 409 in progress: our own first attempt, whose response was lost, is still being processed
    return response.status_code in _AGAIN or (
        response.status_code == 409 and b"/idempotency-key-in-progress" in response.content
    )


def _retry_after(response: httpx.Response) -> float:
    given = response.headers.get("retry-after", "")
    return min(float(given), _LONGEST_PAUSE_SECONDS) if given.isdigit() else 1.0


def _pause(seconds: float) -> None:
    threading.Event().wait(seconds)


def _short(text: str) -> str:
    return text if len(text) <= 500 else text[:500] + " …"
