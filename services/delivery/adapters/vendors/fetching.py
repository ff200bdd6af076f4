"""Fetches a small document from a vendor over https: public addresses only, no redirects, a time and a size limit."""

import asyncio
import ssl
from contextlib import aclosing
from urllib.parse import urlsplit

import httpcore

from libs.errors import Unavailable
from libs.http_connections import FAILURES
from services.delivery.adapters.http_calls import Unreachable
from services.delivery.adapters.webhook.targets import GuardedNetwork

_SECONDS = 5.0
_MOST_BYTES = 64 * 1024


class Fetching:
    """One GET at a time, each on its own connection: it is called a few times a day. `ca_file` and `allow_private` are
    for vendors played by tests."""

    def __init__(self, *, ca_file: str | None = None, allow_private: bool = False, seconds: float = _SECONDS) -> None:
        self._ca_file = ca_file
        self._network = GuardedNetwork(allow_private=allow_private)
        self._seconds = seconds
        self._tls: ssl.SSLContext | None = None

    async def __call__(self, url: str) -> bytes:
        """Return the body of a 200. Raises Unavailable for anything else."""
        try:
            async with asyncio.timeout(self._seconds):
                return await self._get(url)
        except (*FAILURES, Unreachable) as error:
            host = urlsplit(url).hostname
            raise Unavailable(
                f"{host} cannot be reached ({type(error).__name__}); try again.", retry_after=5
            ) from error

    async def _get(self, url: str) -> bytes:
        if self._tls is None:
            self._tls = await asyncio.to_thread(self._context)
        async with (
            httpcore.AsyncConnectionPool(self._tls, max_connections=1, network_backend=self._network) as pool,
            pool.stream(
                "GET", url, headers=[(b"host", urlsplit(url).netloc.encode()), (b"user-agent", b"depesche")]
            ) as response,
        ):
            if response.status != 200:
                raise OSError(f"HTTP {response.status}")
            body = b""
            async with aclosing(response.aiter_stream()) as parts:  # type: ignore[type-var]
                async for part in parts:
                    body += part
                    if len(body) > _MOST_BYTES:
                        raise OSError("the document is too large")
            return body

    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self._ca_file)
