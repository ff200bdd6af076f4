"""Which targets a webhook may reach, as outcomes of a message; libs.guarded_network checks the addresses."""

import re
from typing import Any
from urllib.parse import urlsplit

import httpcore

from libs import guarded_network
from libs.contracts.reasons import Reason
from services.delivery.adapters.http_calls import Unreachable
from services.delivery.domain.outcomes import Deferred, Rejected

_PLAIN_URL = re.compile(r"[!#-;=?A-Z\[\]_a-z~]+")  # RFC 3986, without @ (no user before the host)


def refusal(url: str, *, allow_private: bool) -> Rejected | None:
    """Return why this URL is not called, as far as the URL itself shows."""
    if not _PLAIN_URL.fullmatch(url):
        # if two parsers could read different hosts in it, we would check one and call the other
        return Rejected(Reason.ADDRESS_INVALID, "the URL contains characters that must be percent-encoded", retire=True)
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return Rejected(Reason.ADDRESS_INVALID, f"this URL cannot be called: {error}", retire=True)
    if not host or parts.scheme not in ("https", "http"):
        return Rejected(Reason.ADDRESS_INVALID, "a webhook's URL must start with https:// and a host", retire=True)
    if parts.scheme == "http" and not allow_private:
        return Rejected(Reason.ADDRESS_INVALID, "webhooks go out over https only", retire=True)
    return None


class GuardedNetwork(guarded_network.GuardedNetwork):
    """Connects to permitted IPs only. Raises Unreachable for others."""

    async def connect_tcp(self, host: str, port: int, *more: Any, **named: Any) -> httpcore.AsyncNetworkStream:
        """Connect to the first of the host's IPs that accepts."""
        try:
            return await super().connect_tcp(host, port, *more, **named)
        except guarded_network.NotPublic as error:
            raise Unreachable(Rejected(Reason.ADDRESS_INVALID, str(error))) from error
        except guarded_network.NotResolved as error:
            raise Unreachable(Deferred(Reason.PROVIDER_UNAVAILABLE, str(error))) from error
