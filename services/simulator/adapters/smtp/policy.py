"""What the mail server offers and requires."""

import ssl
from dataclasses import dataclass

from services.simulator.domain.exchange import Exchange
from services.simulator.domain.faults import Fault


@dataclass(frozen=True, slots=True)
class Policy:
    """Extensions and credentials; with an empty user name no login is needed."""

    mail_bytes: int = 26_214_400
    pipelining: bool = True
    chunking: bool = True
    utf8: bool = True
    tls: ssl.SSLContext | None = None
    username: str = ""
    password: str = ""

    def extensions(self, secure: bool) -> list[str]:
        """Return the lines of the reply to EHLO."""
        lines = [f"SIZE {self.mail_bytes}", "8BITMIME", "ENHANCEDSTATUSCODES"]
        if self.pipelining:
            lines.append("PIPELINING")
        if self.chunking:
            lines.append("CHUNKING")
        if self.utf8:
            lines.append("SMTPUTF8")
        if self.tls is not None and not secure:
            lines.append("STARTTLS")
        return [*lines, "AUTH PLAIN LOGIN"]

    def closed(self, exchange: Exchange) -> bool:
        """Whether a script takes the whole server down: it then greets with 421."""
        return any(s.channel == "email" and s.fault is Fault.UNAVAILABLE for s in exchange.faults.scripts) and (
            exchange.faults.of_channel("email") is Fault.UNAVAILABLE
        )
