"""One POST over httpcore, and the beginning of its reply.

httpcore follows no redirects, stores no cookies, uses no proxies and reads nothing from the environment.
"""

import ssl
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

import httpcore

# replies are read up to a limit, so uncompressed
_OURS = ((b"user-agent", b"depesche"), (b"accept-encoding", b"identity"))


@dataclass(slots=True)
class Reply:
    """A reply; `body` is its beginning, up to the requested number of bytes."""

    status: int
    retry_after: str | None
    body: bytes = b""


def target(url: str) -> tuple[httpcore.URL, bytes]:
    """Return the URL in parts, so that no second parser can read another host from it, and its Host field.

    Raises ValueError."""
    parts = urlsplit(url)
    plain = url.isascii() and url.isprintable() and " " not in url
    if not plain or parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError(f"{url!r} is not a URL like https://example.com")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    where = httpcore.URL(scheme=parts.scheme, host=parts.hostname, port=parts.port, target=path)
    return where, parts.netloc.rpartition("@")[2].encode("ascii")


def fields(host: bytes, headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Return the header fields in the form httpcore takes."""
    return [(b"host", host), *_OURS, *((name.encode(), value.encode()) for name, value in headers.items())]


def trusted(ca_file: str | None) -> ssl.SSLContext:
    """Return a context that trusts the public authorities and, if given, a private one. Contexts are cached and
    shared, so do not change one. Blocks: reads files, a fifth of a second the first time. Raises OSError and
    ValueError."""
    return _read(ca_file, None if ca_file is None else Path(ca_file).stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _read(ca_file: str | None, _changed: int | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context


def reply_of(response: httpcore.Response) -> Reply:
    """Return the reply with its status and fields; its body is still unread."""
    wait = next((value.decode("latin-1") for name, value in response.headers if name.lower() == b"retry-after"), None)
    return Reply(response.status, wait)


async def read_beginning(response: httpcore.Response, reply: Reply, most: int) -> None:
    """Read the body up to `most` bytes; stop there and close the connection, even if the reply never ends."""
    async with aclosing(response.aiter_stream()) as parts:  # type: ignore[type-var]
        async for part in parts:
            reply.body += part[: most - len(reply.body)]
            if len(reply.body) >= most:
                break
