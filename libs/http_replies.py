"""One POST over httpcore, and as much of its reply as there is room for.

httpcore knows no redirects, cookies or proxies, and reads nothing from the environment.
"""

import ssl
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

import httpcore

_OURS = ((b"user-agent", b"depesche"), (b"accept-encoding", b"identity"))  # a reply is read to a limit: as it comes


@dataclass(slots=True)
class Reply:
    """`body` is its beginning, as many bytes as were asked for."""

    status: int
    retry_after: str | None
    body: bytes = b""


def target(url: str) -> tuple[httpcore.URL, bytes]:
    """The URL in parts, so that nobody parses it again and reads another host, and its Host field.

    Raises ValueError.
    """
    parts = urlsplit(url)
    plain = url.isascii() and url.isprintable() and " " not in url
    if not plain or parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError(f"{url!r} is no URL like https://example.com")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    where = httpcore.URL(scheme=parts.scheme, host=parts.hostname, port=parts.port, target=path)
    return where, parts.netloc.rpartition("@")[2].encode("ascii")


def fields(host: bytes, headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Header fields as httpcore takes them."""
    return [(b"host", host), *_OURS, *((name.encode(), value.encode()) for name, value in headers.items())]


def trusted(ca_file: str | None) -> ssl.SSLContext:
    """The public authorities, and a private one beside them; whoever asks for the same is given the same, so do not
    change it. Blocks: reads files, which the first time takes a fifth of a second. Raises OSError and ValueError."""
    return _read(ca_file, None if ca_file is None else Path(ca_file).stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _read(ca_file: str | None, _changed: int | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context


def reply_of(response: httpcore.Response) -> Reply:
    """Its status and fields; the body is still to be read."""
    wait = next((value.decode("latin-1") for name, value in response.headers if name.lower() == b"retry-after"), None)
    return Reply(response.status, wait)


async def read_beginning(response: httpcore.Response, reply: Reply, most: int) -> None:
    """As much as there is room for: a reply without end is left there, and its connection closed."""
    async with aclosing(response.aiter_stream()) as parts:  # type: ignore[type-var]
        async for part in parts:
            reply.body += part[: most - len(reply.body)]
            if len(reply.body) >= most:
                break
