"""The listening socket of the mail server."""

import asyncio
import socket
from dataclasses import dataclass, field

from services.simulator.adapters.smtp.policy import Policy
from services.simulator.adapters.smtp.session import Session
from services.simulator.domain.exchange import Exchange


@dataclass
class MailServer:
    """Listens on one port; `port` is the real one after `start`."""

    exchange: Exchange
    policy: Policy
    host: str
    port: int
    _sessions: set[Session] = field(default_factory=set)

    async def start(self) -> None:
        """Raises OSError if the port is taken."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Session(self.exchange, self.policy, self._sessions),
            self.host,
            self.port,
            family=family,
            backlog=4096,
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Accept no new sessions; cut the open ones, as a server that goes down does."""
        self._server.close()
        for session in list(self._sessions):
            session.transport.abort()
        await self._server.wait_closed()
