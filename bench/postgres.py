"""A Postgres for the duration of a measurement."""

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
        """Return the CPU-seconds of the server and all of its processes so far."""
        return cpu_seconds(self.server, children=True)


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Leave `with` blocks in order on SIGTERM, as `timeout` sends it: the servers that they started end too."""
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def fresh_postgres() -> Iterator[Fresh]:
    """Yield the embedded server in its own folder, with its default durability."""
    folder = Path(tempfile.mkdtemp(prefix="depesche-bench-"))
    folder.chmod(0o755)  # as root the server runs as another user, who needs access
    with ended_by_sigterm():
        server = embedded.start(folder)
        try:
            pid = int((folder / "postgres" / "postmaster.pid").read_text().split("\n", 1)[0])
            yield Fresh(server.dsn, folder, pid)
        finally:
            server.stop()
            shutil.rmtree(folder, ignore_errors=True)
