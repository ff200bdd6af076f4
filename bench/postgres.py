"""A Postgres for the time of a measurement."""

import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.sinks import cpu_seconds
from libs.storage import embedded


@dataclass(frozen=True)
class Fresh:
    """An empty database, its folder, and the process of its server."""

    dsn: str
    folder: Path
    server: int

    def cpu(self) -> float:
        """CPU-seconds of the server and all of its processes so far."""
        return cpu_seconds(self.server, children=True)


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """SIGTERM, as `timeout` sends it, leaves `with` blocks in order: the servers that they started end too."""
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def fresh_postgres() -> Iterator[Fresh]:
    """The embedded server in a folder of its own, with its default durability."""
    folder = Path(tempfile.mkdtemp(prefix="depesche-bench-"))
    folder.chmod(0o755)  # as root the server runs as another user, who must be able to enter
    with ended_by_sigterm():
        server = embedded.start(folder)
        try:
            pid = int((folder / "postgres" / "postmaster.pid").read_text().split("\n", 1)[0])
            yield Fresh(server.dsn, folder, pid)
        finally:
            server.stop()
            shutil.rmtree(folder, ignore_errors=True)
