"""What the simulator needs from outside: an HTTP server's requests, and a way to hand over what it owes."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

Headers = Sequence[tuple[str, str]]


class RequestHeaders(Protocol):
    def get(self, key: str, default: Any = None) -> Any: ...
    def items(self) -> list[tuple[str, str]]: ...


class Scope(Protocol):
    """What RSGI says about a request."""

    http_version: str
    client: str
    scheme: str
    method: str
    path: str
    query_string: str
    headers: RequestHeaders


class HttpProtocol(Protocol):
    """What RSGI offers to read a request and answer it; the answers are synchronous."""

    async def __call__(self) -> bytes: ...
    async def client_disconnect(self) -> None: ...
    def response_empty(self, status: int, headers: Headers) -> None: ...
    def response_str(self, status: int, headers: Headers, body: str) -> None: ...
    def response_bytes(self, status: int, headers: Headers, body: bytes) -> None: ...


class Outgoing(Protocol):
    """The way out. Both return whether it was taken, and raise nothing but cancellation."""

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int | None:
        """The status of the answer; None where there was none."""
        ...

    async def send_mail(self, host: str, port: int, to: str, raw: bytes) -> bool:
        """Hand a mail with an empty reverse path to an SMTP server."""
        ...

    async def close(self) -> None: ...
