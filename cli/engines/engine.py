"""What every engine has: a folder, ports on loopback, a process with a log, and a health check.

<folder>/<name>/       its data
<folder>/logs/<name>.log
"""

import http.client
import os
import random
import socket
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Self

from cli.engines.cache import built
from cli.engines.recipes import Recipe
from cli.processes import Process

LOOPBACK = "127.0.0.1"
# below the range that Linux and macOS use for outgoing connections
_PORTS = range(20_000, 32_000)
_given_out: set[int] = set()  # possibly without a listener so far


class Engine(ABC):
    """One real program. Start it, use it, stop it; or use it as a context manager. It can be started again after a
    stop or kill, on the same ports and with its data."""

    recipe: ClassVar[Recipe]
    start_seconds: ClassVar[float] = 30.0
    stop_seconds: ClassVar[float] = 10.0

    def __init__(self, folder: Path, *, port: int | None = None, name: str = "") -> None:
        self.name = name or self.recipe.name
        self.port = port or free_port()
        self.folder = folder.resolve() / self.name
        self.process: Process | None = None
        self._log = folder.resolve() / "logs" / f"{self.name}.log"

    @abstractmethod
    def command(self, program: Path) -> list[str]:
        """Return the command line; `program` is the folder of the built engine. Writes the program's configuration."""

    @abstractmethod
    def healthy(self) -> bool:
        """Query the program itself; return False, never an error, while it does not answer."""

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def prepare(self) -> Process:
        """Return its process, not started yet. Raises NotBuilt."""
        program = built(self.recipe)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._log.parent.mkdir(exist_ok=True)
        self.process = Process(
            self.name, self.command(program), self._log, self.environment(), well=self.healthy,
            start_seconds=self.start_seconds, stop_seconds=self.stop_seconds, port=self.port,
        )  # fmt: skip
        return self.process

    def launch(self) -> Process:
        """Start it without waiting. Raises NotBuilt."""
        process = self.prepare()
        process.start()
        return process

    def wait(self) -> None:
        """Wait until it is healthy; stop it on a timeout. Raises CannotStart with the end of its log."""
        assert self.process is not None, f"{self.name} was not launched"
        try:
            self.process.wait()
        except BaseException:
            self.stop()
            raise

    def start(self) -> Self:
        """Start it and wait until it is healthy."""
        self.launch()
        self.wait()
        return self

    def stop(self) -> None:
        """Send SIGTERM, and SIGKILL if it has not ended after `stop_seconds`."""
        if self.process is not None:
            self.process.stop()

    def kill(self) -> None:
        """Send SIGKILL, like a failing machine."""
        if self.process is not None:
            self.process.kill()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def free_port() -> int:
    """Return a loopback port without a listener, a different one at each call. Drawn at random, because others on this
    machine look for ports too."""
    for port in random.sample([port for port in _PORTS if port not in _given_out], 100):
        with socket.socket() as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            _given_out.add(port)
            return port
    raise OSError(f"None of 100 ports between {_PORTS[0]} and {_PORTS[-1]} is free.")


def status_of(port: int, path: str) -> int | None:
    """Return the status of `GET path` on loopback; None without a response within a second."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=1.0)  # never through a proxy
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def answer_of(port: int, question: bytes, length: int) -> bytes:
    """Return the first `length` bytes of a raw protocol's response; fewer without a response within a second."""
    answer = b""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1.0) as connection:
            connection.sendall(question)
            while len(answer) < length and (received := connection.recv(length - len(answer))):
                answer += received
    except OSError:
        return b""
    return answer
