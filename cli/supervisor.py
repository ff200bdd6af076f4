"""`depesche up`: the embedded suite as a handful of processes that look after one another.

    supervisor (this) ─ embedded Postgres, migrations, first tenant and key
      ├─ simulator   providers on real sockets, unless real ones are configured
      ├─ api         every service's HTTP API on one port
      ├─ worker × n  relays, the sender of the transactional lane, and the other loops
      └─ bulk × n    the sender of the bulk lane

    with --workers 0: supervisor ─ suite, all of these and the simulator in one process

A process that ends by itself is started again. Ctrl-C or SIGTERM stops workers first, so that they finish
their chunks and flush, then the API, the simulator and the server.
"""

import asyncio
import fcntl
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import SecretStr

from cli.processes import CannotStart, Process
from libs.keyring import keyring_of
from libs.storage import embedded
from libs.storage.migrations import migrate
from libs.suite import SuiteSettings
from libs.telemetry.metrics import FOLDER_VARIABLE, forget_process, make_folder

_START_SECONDS = 30.0
_RESTART_SECONDS = (0.2, 1.0, 5.0, 15.0)
_STEADY_SECONDS = 60.0


class Suite:
    """The processes of one data folder. Use it as a context manager: leaving stops all of it."""

    def __init__(self, settings: SuiteSettings) -> None:
        self.settings = settings
        self.folder = settings.data_dir.resolve()
        self.processes: list[Process] = []
        self.server: embedded.EmbeddedServer | None = None
        self._stopping = False

    @property
    def url(self) -> str:
        return f"http://{self.settings.host}:{self.settings.port}"

    def start(self) -> None:
        """Everything, in order. Raises CannotStart."""
        _check_port(self.settings.host, self.settings.port)
        (self.folder / "logs").mkdir(exist_ok=True)
        dsn = self.settings.dsn.get_secret_value()
        if not dsn:
            self.server = embedded.start(self.folder)
            dsn = self.server.dsn
        self._prepare(dsn)
        environment = os.environ | {
            "DEPESCHE_DATA_DIR": str(self.folder),
            "DEPESCHE_DSN": dsn,
            "DEPESCHE_HOST": self.settings.host,
            "DEPESCHE_PORT": str(self.settings.port),
            "DEPESCHE_SIMULATOR": str(self.settings.simulator).lower(),
            FOLDER_VARIABLE: str(make_folder(self.folder)),
        }
        workers = self.settings.workers
        if self.settings.simulator and workers:
            self._launch("simulator", ["services.simulator", "--data", str(self.folder)], environment)
            self.processes[-1].wait_until((self.folder / "simulator.json").is_file, _START_SECONDS)
        self._launch("api" if workers else "suite", ["services", "api" if workers else "all"], environment)
        self.processes[-1].wait_until(self._answers, _START_SECONDS)
        for number in range(1, workers + 1):
            self._launch(f"worker-{number}", ["services", "worker"], environment)
            self._launch(f"bulk-{number}", ["services", "bulk"], environment)
        (self.folder / "suite.json").write_text(json.dumps({"url": self.url, "pid": os.getpid()}))

    def _prepare(self, dsn: str) -> None:
        from services.__main__ import migration_folders, runtime_of
        from services.access.app import ensure_first

        (self.folder / "simulator.json").unlink(missing_ok=True)
        asyncio.run(migrate(dsn, migration_folders()))
        settings = self.settings.model_copy(update={"dsn": SecretStr(dsn), "data_dir": self.folder})
        asyncio.run(ensure_first(runtime_of(settings, keyring_of(self.folder)), url=self.url))

    def _launch(self, name: str, arguments: list[str], environment: dict[str, str]) -> None:
        log = self.folder / "logs" / f"{name}.log"
        process = Process(name, [sys.executable, "-m", *arguments], log, environment)
        process.start()
        self.processes.append(process)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(0.5)
            return probe.connect_ex((self.settings.host, self.settings.port)) == 0

    def tend(self) -> None:
        """Starts again what ended by itself, with a growing pause where it keeps ending."""
        if self._stopping:
            return
        for process in self.processes:
            if process.alive:
                if process.restarts and time.monotonic() - process.started_at > _STEADY_SECONDS:
                    process.restarts = 0
                continue
            pause = _RESTART_SECONDS[min(process.restarts, len(_RESTART_SECONDS) - 1)]
            if time.monotonic() - process.started_at >= pause:
                if process.pid is not None:
                    forget_process(self.folder / "metrics", process.pid)
                process.restarts += 1
                process.start()

    def stop(self) -> None:
        """Workers first (they drain), then the API, the simulator, the server."""
        self._stopping = True
        for process in reversed(self.processes):
            process.stop(self.settings.drain_seconds)
        self.processes.clear()
        if self.server is not None:
            self.server.stop()
            self.server = None
        (self.folder / "suite.json").unlink(missing_ok=True)

    def __enter__(self) -> "Suite":
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Holds the folder's lock; raises CannotStart naming who has it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "up.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise CannotStart(
                f"The suite of {folder} is running already (process {lock.read().strip() or 'unknown'}). "
                "Use it, stop it with Ctrl-C there, or name another folder with --data-dir."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """A list that Ctrl-C and SIGTERM append to, instead of ending us in the middle."""
    seen: list[int] = []
    before = {
        number: signal.signal(number, lambda given, _: seen.append(given)) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _check_port(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise CannotStart(
                f"Port {port} on {host} cannot be used: {error.strerror}. "
                "Choose another with --port (or DEPESCHE_PORT), or stop what listens there."
            ) from error
