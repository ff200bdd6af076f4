"""Owns how a provider is recognised: by the host that refused (its MX family), or by the domain of the address."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Providers:
    """Suffixes of host names and whole domains of addresses, each mapped to a provider's name."""

    hosts: Mapping[str, str]
    domains: Mapping[str, str]

    @classmethod
    def of(cls, document: Mapping[str, Mapping[str, Any]]) -> "Providers":
        """Build from {"gmail": {"hosts": ["google.com"], "domains": ["gmail.com"]}}."""
        hosts = {host: name for name, entry in document.items() for host in entry.get("hosts", ())}
        domains = {domain: name for name, entry in document.items() for domain in entry.get("domains", ())}
        return cls(hosts, domains)

    def of_host(self, host: str | None) -> str | None:
        """`gmail-smtp-in.l.google.com` → `gmail`; the longest known suffix decides."""
        if not host:
            return None
        name = host.lower().strip(" .[]<>")
        while name:
            if name in self.hosts:
                return self.hosts[name]
            name = name.partition(".")[2]
        return None

    def of_address(self, address: str | None) -> str | None:
        """Look up the address's own domain; a company domain's provider is known only by host."""
        return self.domains.get(address.rpartition("@")[2].lower().rstrip(".")) if address else None
