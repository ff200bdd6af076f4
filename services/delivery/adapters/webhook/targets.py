"""Whom a webhook may reach, as outcomes of a message; libs.guarded_network looks at the addresses."""

import re
from typing import Any
from urllib.parse import urlsplit

import httpcore

from libs import guarded_network
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


class GuardedNetwork(guarded_network.GuardedNetwork):
    """Connects to permitted IPs only. Raises Unreachable for others."""

    async def connect_tcp(self, host: str, port: int, *more: Any, **named: Any) -> httpcore.AsyncNetworkStream:
        """To the first of the host's IPs that takes the connection."""
        try:
            return await super().connect_tcp(host, port, *more, **named)
        except guarded_network.NotPublic as error:
            raise Unreachable(Rejected(Reason.ADDRESS_INVALID, str(error))) from error
        except guarded_network.NotResolved as error:
            raise Unreachable(Deferred(Reason.PROVIDER_UNAVAILABLE, str(error))) from error
