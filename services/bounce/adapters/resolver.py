"""Checks in the DNS whether a domain accepts mail (RFC 5321 §5.1: MX, else an address; RFC 7505: the null MX)."""

import asyncio
from collections.abc import Sequence

import dns.asyncresolver
import dns.exception
import dns.nameserver
import dns.rdata
import dns.resolver

from services.bounce.domain.domains import Answer


class DnsDomains:
    """Queries the given servers (`9.9.9.9`, or `127.0.0.1:5353`), else the system's. One domain's queries take at most
    `timeout_seconds`."""

    def __init__(self, servers: Sequence[str], timeout_seconds: float) -> None:
        self._servers = servers
        self._timeout = timeout_seconds
        self._resolver: dns.asyncresolver.Resolver | None = None

    async def ask(self, domain: str) -> Answer:
        """Never raises: a missing answer is an answer too."""
        try:
            async with asyncio.timeout(self._timeout):
                return await self._asked(domain)
        except dns.resolver.NXDOMAIN:
            return Answer(False, "the domain does not exist")
        except (dns.exception.DNSException, OSError, ValueError) as error:  # TimeoutError is an OSError
            return Answer(None, f"no answer: {type(error).__name__}")

    async def _asked(self, domain: str) -> Answer:
        hosts = [str(getattr(record, "exchange", "")) for record in await self._records(domain, "MX")]
        if hosts == ["."]:
            return Answer(False, "the domain declares that it accepts no mail (null MX)")
        if hosts:
            return Answer(True, "the domain has a mail server")
        for kind in ("A", "AAAA"):
            if await self._records(domain, kind):
                return Answer(True, "the domain has an address")
        return Answer(False, "the domain has neither a mail server nor an address")

    async def _records(self, domain: str, kind: str) -> list[dns.rdata.Rdata]:
        answer = await self._made().resolve(
            domain, kind, lifetime=self._timeout, search=False, raise_on_no_answer=False
        )
        return list(answer.rrset or ())

    def _made(self) -> dns.asyncresolver.Resolver:
        # created for the first query: a container without resolv.conf can run everything else
        if self._resolver is None:
            self._resolver = dns.asyncresolver.Resolver(configure=not self._servers)
            if self._servers:
                self._resolver.nameservers = [_server(text) for text in self._servers]
        return self._resolver


def _server(text: str) -> dns.nameserver.Nameserver:
    host, colon, port = text.rpartition(":")
    if colon and port.isdigit() and ("." in host or host.startswith("[")):
        return dns.nameserver.Do53Nameserver(host.strip("[]"), int(port))
    return dns.nameserver.Do53Nameserver(text.strip("[]"))
