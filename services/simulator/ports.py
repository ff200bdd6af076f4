"""What the simulator needs from outside: an HTTP server's requests, and a way to send receipts and mails."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

Headers = Sequence[tuple[str, str]]


class RequestHeaders(Protocol):
    def get(self, key: str, default: Any = None) -> Any: ...
    def items(self) -> list[tuple[str, str]]: ...


class Scope(Protocol):
    """RSGI's description of a request."""

    http_version: str
    client: str
    scheme: str
    method: str
    path: str
    query_string: str
    headers: RequestHeaders


class HttpProtocol(Protocol):
    """RSGI's methods to read a request and answer it; the answers are synchronous."""

    async def __call__(self) -> bytes: ...
    async def client_disconnect(self) -> None: ...
    def response_empty(self, status: int, headers: Headers) -> None: ...
    def response_str(self, status: int, headers: Headers, body: str) -> None: ...
    def response_bytes(self, status: int, headers: Headers, body: bytes) -> None: ...


class Outgoing(Protocol):
    """Outgoing traffic. Both return whether it was accepted, and raise nothing but cancellation."""

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int | None:
        """Return the status of the response; None if there was none."""
        ...

    async def send_mail(self, host: str, port: int, to: str, raw: bytes) -> bool:
        """Deliver a mail with an empty reverse path to an SMTP server."""
        ...

    async def close(self) -> None: ...
