"""Opens a connection that accepts calls: TCP, TLS with ALPN `h2`, and the server's settings.

No call goes out before the server has announced its limits: the first hundred would run into unknown ones. An `http`
URL uses HTTP/2 with prior knowledge (RFC 9113 §3.3). There are no proxies and no redirects.
"""

import asyncio
import ssl
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from services.delivery.adapters.http2.connection import Connection
from services.delivery.adapters.http2.keeping import Keeper, Limits

_PROTOCOL = "h2"


class Unopened(Exception):
    """The connection could not be opened. `our_fault`: our configuration is wrong, retrying will not help."""

    def __init__(self, text: str, *, our_fault: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.our_fault = our_fault


@dataclass(slots=True)
class Origin:
    """Scheme, host and port of a URL; and whom to trust there: the public authorities, and those of `ca_file`."""

    url: str
    ca_file: str | None = None
    scheme: str = field(init=False)
    host: str = field(init=False)
    port: int = field(init=False)
    authority: str = field(init=False)
    _context: ssl.SSLContext | None = None
    _making: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        """Raises ValueError if it is not the URL of a server."""
        parts = urlsplit(self.url)
        if parts.scheme not in ("https", "http") or not parts.hostname:
            raise ValueError(f"{self.url!r} is not a URL like https://example.com")
        self.scheme, self.host = parts.scheme, parts.hostname
        self.port = parts.port or (443 if parts.scheme == "https" else 80)
        self.authority = parts.netloc.rpartition("@")[2]

    async def tls(self) -> ssl.SSLContext | None:
        """Return the TLS context, created once, off the loop, because it reads files. Raises OSError if it cannot."""
        if self.scheme == "http":
            return None
        async with self._making:
            if self._context is None:
                self._context = await asyncio.to_thread(_context, self.ca_file)
        return self._context


def _context(ca_file: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    context.set_alpn_protocols([_PROTOCOL])
    return context


async def open_connection(keeper: Keeper[Connection], origin: Origin, limits: Limits) -> None:
    """Open a connection and report it through `has_opened`. Raises Unopened."""
    try:
        context = await origin.tls()
    except (OSError, ValueError) as error:  # ssl's errors are OSErrors too
        raise Unopened(f"the certificates in ca_file cannot be read: {error}", our_fault=True) from error
    connection: Connection | None = None
    try:
        async with asyncio.timeout(limits.connect_seconds):
            connection = await _connect(keeper, origin, limits, context)
            await connection.opened
    except TimeoutError as error:
        raise Unopened(f"no connection to {origin.authority} in {limits.connect_seconds:g} s") from error
    except ssl.SSLCertVerificationError as error:
        raise Unopened(f"the certificate of {origin.authority} is not valid: {error}") from error
    except OSError as error:
        no_protocol = isinstance(error, ssl.SSLError) and "NO_APPLICATION_PROTOCOL" in (error.reason or "")
        raise Unopened(f"no connection to {origin.authority}: {error}", our_fault=no_protocol) from error
    except ValueError as error:  # an invalid host name fails in the resolver's encoding
        raise Unopened(f"{origin.host} is not a valid host name: {error}", our_fault=True) from error
    finally:
        if connection is not None and (connection.why_ended is not None or not connection.opened.done()):
            connection.abort()
            await connection.closed
    if connection.why_ended is not None:
        raise Unopened(f"no connection to {origin.authority}: {connection.why_ended}")


async def _connect(
    keeper: Keeper[Connection], origin: Origin, limits: Limits, context: ssl.SSLContext | None
) -> Connection:
    transport, connection = await asyncio.get_running_loop().create_connection(
        lambda: Connection(keeper, limits),
        origin.host,
        origin.port,
        ssl=context,
        server_hostname=origin.host if context else None,
    )
    if context is not None:
        encrypted = transport.get_extra_info("ssl_object")
        spoken = encrypted.selected_alpn_protocol() if encrypted is not None else None
        if spoken != _PROTOCOL:
            connection.abort()
            await connection.closed
            raise Unopened(f"{origin.authority} does not speak HTTP/2 (it chose {spoken or 'nothing'})", our_fault=True)
    return connection
