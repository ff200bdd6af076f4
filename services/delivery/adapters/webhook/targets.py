"""Whom a webhook may reach: public addresses only, and the very one that was looked at.

A name that is public when it is checked may point inside when it is called (DNS rebinding). So names are resolved
and checked where connections are made, and the connection goes to the IP that was checked; TLS and the Host field
keep the name.
"""

import asyncio
import re
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

import httpcore

from libs.addresses import is_public
from libs.contracts.reasons import Reason
from services.delivery.adapters.http_calls import Unreachable
from services.delivery.domain.outcomes import Deferred, Rejected

_PLAIN_URL = re.compile(r"[!#-;=?A-Z\[\]_a-z~]+")  # RFC 3986, without @ (no user in front of the host)


def refusal(url: str, *, allow_private: bool) -> Rejected | None:
    """Why this URL is not called, as far as it can be seen in the URL itself."""
    if not _PLAIN_URL.fullmatch(url):
        # where two parsers could read two hosts in it, we would look at one and its owner mean the other
        return Rejected(Reason.ADDRESS_INVALID, "the URL holds signs that must be percent-encoded", retire=True)
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return Rejected(Reason.ADDRESS_INVALID, f"this is no URL that can be called: {error}", retire=True)
    if not host or parts.scheme not in ("https", "http"):
        return Rejected(Reason.ADDRESS_INVALID, "a webhook's URL starts with https:// and a host", retire=True)
    if parts.scheme == "http" and not allow_private:
        return Rejected(Reason.ADDRESS_INVALID, "webhooks go out over https only", retire=True)
    return None


class GuardedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to permitted IPs only, whatever the host is called. Raises Unreachable for others."""

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """To the first of the host's IPs that takes the connection; `timeout` is for all of it, in seconds."""
        try:
            async with asyncio.timeout(timeout):
                *others, last = await self._permitted_ips(host, port)
                for ip in others:
                    try:
                        return await self._network.connect_tcp(ip, port, None, local_address, socket_options)
                    except httpcore.ConnectError:  # such as a network without IPv6
                        continue
                return await self._network.connect_tcp(last, port, None, local_address, socket_options)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(f"no connection to {host}") from error

    async def _permitted_ips(self, host: str, port: int) -> list[str]:
        ips = await _resolve(host, port)
        if not self._allow_private and not all(is_public(ip) for ip in ips):
            # one private address among public ones is either a mistake or an attack
            raise Unreachable(Rejected(Reason.ADDRESS_INVALID, f"{host} points to a private address"))
        return ips


async def _resolve(host: str, port: int) -> list[str]:
    """At least one IP. Raises Unreachable."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unreachable(Deferred(Reason.PROVIDER_UNAVAILABLE, f"{host} cannot be resolved: {error}")) from error
    return [str(entry[4][0]) for entry in found]
