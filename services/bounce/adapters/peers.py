"""Owns the listeners' limits per peer and in total. In memory, because one process owns a port."""

import ipaddress
import time
from collections import Counter
from dataclasses import dataclass

_MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits for strangers. `mails_per_minute` counts the mails a host begins, stored or not; None: unlimited."""

    max_mail_bytes: int
    max_connections: int
    max_peer_connections: int
    max_recipients: int
    mails_per_minute: int | None
    idle_seconds: float


class Peers:
    """Counts connections and mails per host; an IPv6 host is its /64, since every customer has one."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._connections: Counter[str] = Counter()
        self._mails: Counter[str] = Counter()
        self._minute = 0

    def enter(self, host: str) -> bool:
        """Whether the host may open another connection; if so, call `leave` afterwards."""
        peer = _peer(host)
        full = self._connections.total() >= self.limits.max_connections
        if full or self._connections[peer] >= self.limits.max_peer_connections:
            return False
        self._connections[peer] += 1
        return True

    def leave(self, host: str) -> None:
        peer = _peer(host)
        self._connections[peer] -= 1
        if self._connections[peer] <= 0:
            del self._connections[peer]

    def may_send(self, host: str) -> bool:
        """Whether the host may begin another mail in this minute."""
        if self.limits.mails_per_minute is None:
            return True
        minute = int(time.monotonic() / _MINUTE)
        if minute != self._minute:
            self._minute = minute
            self._mails.clear()
        peer = _peer(host)
        self._mails[peer] += 1
        return self._mails[peer] <= self.limits.mails_per_minute


def _peer(host: str) -> str:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(getattr(address, "ipv4_mapped", None) or address)
