"""Whom a webhook may reach: public addresses only, and the very one that was looked at.

A name that is public when it is checked may point inside when it is called (DNS rebinding), so the client is
bound to the IP that was checked, for as long as it is kept.
"""

import asyncio
import ipaddress
import re
import socket
import time
from collections import OrderedDict
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from pyreqwest.client import Client, ClientBuilder

from libs.addresses import is_public
from libs.contracts.reasons import Reason
from services.delivery.adapters.http_calls import client_builder, trusting
from services.delivery.domain.outbound import WebhookAccount
from services.delivery.domain.outcomes import Deferred, Rejected

_PLAIN_URL = re.compile(r"[!#-;=?A-Z\[\]_a-z~]+")  # RFC 3986, without @ (no user in front of the host)
_KEPT_SECONDS = 60.0
_KEPT_CLIENTS = 256


@dataclass(frozen=True, slots=True)
class _Kept:
    client: Client
    until: float


class Targets:
    """Clients by target, for one sender."""

    def __init__(self, account: WebhookAccount) -> None:
        self._account = account
        self._kept: OrderedDict[tuple[str, int], _Kept] = OrderedDict()

    async def client_for(self, url: str) -> Client | Rejected | Deferred:
        """A client bound to a permitted IP of the URL's host, or why there is none."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port or (80 if parts.scheme == "http" else 443)
        except ValueError as error:
            return Rejected(Reason.ADDRESS_INVALID, f"this is no URL that can be called: {error}", retire=True)
        if (refusal := self._refusal(url, parts, host)) is not None:
            return refusal
        kept = self._kept.get((host, port))
        if kept is not None and kept.until > time.monotonic():
            self._kept.move_to_end((host, port))
            return kept.client
        pinned = await self._permitted_ip(host, port)
        if not isinstance(pinned, str):
            return pinned
        client = await asyncio.to_thread(self._build, host, port, pinned)
        self._kept[(host, port)] = _Kept(client, time.monotonic() + _KEPT_SECONDS)
        if len(self._kept) > _KEPT_CLIENTS:
            self._kept.popitem(last=False)  # dropped, not closed: a call may be using it
        return client

    async def close(self) -> None:
        while self._kept:
            await self._kept.popitem()[1].client.close()

    def _refusal(self, url: str, parts: SplitResult, host: str) -> Rejected | None:
        if not _PLAIN_URL.fullmatch(url):
            # where two parsers could read two hosts in it, we would look at one and call the other
            return Rejected(Reason.ADDRESS_INVALID, "the URL holds signs that must be percent-encoded", retire=True)
        if not host or parts.scheme not in ("https", "http"):
            return Rejected(Reason.ADDRESS_INVALID, "a webhook's URL starts with https:// and a host", retire=True)
        if parts.scheme == "http" and not self._account.allow_private:
            return Rejected(Reason.ADDRESS_INVALID, "webhooks go out over https only", retire=True)
        return None

    async def _permitted_ip(self, host: str, port: int) -> str | Rejected | Deferred:
        ips = await _resolve(host, port)
        if isinstance(ips, Deferred) or self._account.allow_private:
            return ips if isinstance(ips, Deferred) else ips[0]
        inner = [ip for ip in ips if not is_public(ip)]
        if inner:
            # one private address among public ones is either a mistake or an attack
            return Rejected(Reason.ADDRESS_INVALID, f"{host} points to a private address")
        return ips[0]

    def _build(self, host: str, port: int, ip: str) -> Client:
        """Blocks: reads certificates."""
        builder: ClientBuilder = trusting(client_builder(self._account.timeout_seconds), self._account.ca_file)
        if not _is_ip(host):
            builder = builder.resolve(host, ip, port)
        return builder.build()


async def _resolve(host: str, port: int) -> list[str] | Deferred:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return Deferred(Reason.PROVIDER_UNAVAILABLE, f"{host} cannot be resolved: {error}")
    return [str(entry[4][0]) for entry in found]


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
