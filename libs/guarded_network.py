"""Calls to users' URLs reach public addresses only, and exactly the IP that was checked.

A name that is public when it is checked may point to an internal host when it is called (DNS rebinding). So this
backend resolves and checks the name while it connects, and connects to the checked IP; TLS and the Host field keep
the name.
"""

import asyncio
import socket
from collections.abc import Iterable

import httpcore

from libs.addresses import is_public


class NotPublic(Exception):
    """The host has a private address; the text names the host."""


class NotResolved(Exception):
    """The host cannot be resolved at the moment; the text says why."""


class GuardedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to permitted IPs only, whatever the host is called. Raises NotPublic and NotResolved."""

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
        """Connect to the first of the host's IPs that accepts; `timeout` covers all of them, in seconds."""
        try:
            async with asyncio.timeout(timeout):
                *others, last = await self._permitted_ips(host, port)
                for ip in others:
                    try:
                        return await self._network.connect_tcp(ip, port, None, local_address, socket_options)
                    except httpcore.ConnectError:  # for example, a network without IPv6
                        continue
                return await self._network.connect_tcp(last, port, None, local_address, socket_options)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(f"no connection to {host}") from error

    async def _permitted_ips(self, host: str, port: int) -> list[str]:
        ips = await _resolve(host, port)
        if not self._allow_private and not all(is_public(ip) for ip in ips):
            # one private address among public ones is a mistake or an attack
            raise NotPublic(f"{host} points to a private address")
        return ips


async def _resolve(host: str, port: int) -> list[str]:
    """Return at least one IP. Raises NotResolved."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise NotResolved(f"{host} cannot be resolved: {error}") from error
    return [str(entry[4][0]) for entry in found]
