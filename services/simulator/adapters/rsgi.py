"""Granian's RSGI interface: its types, an embedded server with its own port, and two ways not to answer."""

import asyncio
import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.server.embed import Server

from services.simulator.ports import HttpProtocol, Scope

JSON_HEADERS: list[tuple[str, str]] = [("content-type", "application/json; charset=UTF-8")]


class Application(Protocol):
    async def __rsgi__(self, scope: Scope, protocol: HttpProtocol) -> None: ...


@dataclass
class HttpServer:
    """A listening port on this process's event loop; TLS and HTTP/2 if it has a certificate."""

    application: Application
    host: str
    port: int
    certificate: Path | None = None

    async def start(self) -> None:
        """Listen; afterwards `port` is the real one. Raises OSError if it is taken."""
        self.port = _checked_port(self.host, self.port)
        self._server = Server(
            self.application,
            address=self.host,
            port=self.port,
            interface=Interfaces.RSGI,
            http=HTTPModes.auto,
            websockets=False,
            log_enabled=False,
            backlog=4096,
            ssl_cert=self.certificate,
            ssl_key=self.certificate,
            ssl_protocol_min=SSLProtocols.tls12,
        )
        self._task = asyncio.create_task(self._server.serve(), name=f"simulator http {self.port}")
        while not await asyncio.to_thread(_listens, self.host, self.port):
            if self._task.done():
                await self._task
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        self._server.stop()  # type: ignore[no-untyped-call]
        await self._task


def _checked_port(host: str, port: int) -> int:
    """Return the port, or a free one for 0. Binds and releases it, since granian neither reports the port that the
    system assigned nor refuses a taken one (it binds with SO_REUSEPORT)."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        return int(probe.getsockname()[1])


def free(host: str, port: int) -> bool:
    """Whether nobody listens on a port."""
    try:
        _checked_port(host, port)
    except OSError:
        return False
    return True


def _listens(host: str, port: int) -> bool:
    with suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False


async def hang(protocol: HttpProtocol, stopping: asyncio.Event, seconds: float) -> None:
    """Leave a call open until the caller gives up, we stop, or `seconds` have passed; then close it without a reply."""
    ends = {asyncio.ensure_future(protocol.client_disconnect()), asyncio.ensure_future(stopping.wait())}
    _, pending = await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    protocol.response_empty(504, [])


def cut(client: str) -> None:
    """Cut the connection of `client` (address:port) with all that is in flight on it. Granian does not expose the
    sockets, but they are this process's descriptors: shutting down a duplicate shuts down the connection."""
    host, _, port = client.rpartition(":")
    peer = (host.strip("[]"), int(port))
    folder = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"
    for name in os.listdir(folder):
        if connection := _duplicate(int(name)):
            with connection, suppress(OSError):  # not connected: a listening one, or closed meanwhile
                if connection.getpeername()[:2] == peer:
                    connection.shutdown(socket.SHUT_RDWR)
                    return


def _duplicate(descriptor: int) -> socket.socket | None:
    """Duplicate a socket of this process, to be closed by the caller; None for any other kind of descriptor."""
    with suppress(OSError):  # closed since it was listed
        duplicate = os.dup(descriptor)
        try:
            return socket.socket(fileno=duplicate)
        except OSError:  # not a socket
            os.close(duplicate)
    return None
