"""Processes of one data folder, started in stages, kept running, stopped in reverse order.

The processes are listed in `cli/suite.py` (embedded: a handful of processes) and `cli/topology.py` (production on one
machine: a process per program, each beside its sidecar, and the engines).
"""

import asyncio
import fcntl
import json
import os
import signal
import socket
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from pydantic import SecretStr

from cli.processes import CannotStart, Process
from libs.keyring import keyring_of
from libs.storage import embedded
from libs.storage.migrations import migrate
from libs.suite import SuiteSettings

_RESTART_SECONDS = (0.2, 1.0, 5.0, 15.0)
_STEADY_SECONDS = 60.0
_LOOK_SECONDS = 0.1


class Supervisor(ABC):
    """Use it as a context manager: leaving stops everything. `look` is called periodically during the start, and may
    raise to give up."""

    def __init__(self, settings: SuiteSettings) -> None:
        self.settings = settings
        self.folder = settings.data_dir.resolve()
        self.look: Callable[[], None] = lambda: None
        self.server: embedded.EmbeddedServer | None = None
        self.notes: list[str] = []  # what does not work although everything has started
        self._stages: list[tuple[Process, ...]] = []
        self._stopping = False

    @property
    def url(self) -> str:
        """The suite's URL."""
        return f"http://{self.settings.host}:{self.settings.port}"

    @property
    def processes(self) -> list[Process]:
        """All processes, in the order in which they were started."""
        return [process for stage in self._stages for process in stage]

    @abstractmethod
    def start(self) -> None:
        """Start everything, in order. Raises CannotStart."""

    def launch(self, *processes: Process) -> None:
        """Start a stage without waiting. It is stopped before the stages that were launched earlier."""
        self._stages.append(processes)
        for process in processes:
            process.start()

    def wait(self) -> None:
        """Wait until everything that was launched is healthy. Raises CannotStart."""
        while not all([process.check() for process in self.processes]):
            self.look()
            time.sleep(_LOOK_SECONDS)

    def tend(self) -> None:
        """Restart what ended by itself, with a growing pause if it keeps ending."""
        if self._stopping:
            return
        for process in self.processes:
            if process.alive:
                process.is_well = process.is_well or process.well()
                if process.restarts and time.monotonic() - process.started_at > _STEADY_SECONDS:
                    process.restarts = 0
                continue
            pause = _RESTART_SECONDS[min(process.restarts, len(_RESTART_SECONDS) - 1)]
            if time.monotonic() - process.started_at >= pause:
                self.ended(process)
                process.restarts += 1
                process.start()

    def ended(self, process: Process) -> None:  # noqa: B027 - most have nothing to do then
        """Called when a process has ended by itself and is about to be restarted."""

    def stop(self) -> None:
        """Stop the last stage first; the processes of a stage stop together. The server stops last."""
        self._stopping = True
        for stage in reversed(self._stages):
            for process in stage:
                process.terminate()
            for process in stage:
                process.stop()
        self._stages.clear()
        if self.server is not None:
            self.server.stop()
            self.server = None
        (self.folder / "suite.json").unlink(missing_ok=True)

    def _bounces_astray(self) -> list[str]:
        """Return a sentence if another program has the port of bounce mails, for which our workers would wait."""
        from libs.settings import load
        from libs.suite import settings_file
        from services.bounce.settings import BounceSettings

        bounce = load(BounceSettings, settings_file(self.folder))
        problem = _problem_of(bounce.smtp_host, bounce.smtp_port) if bounce.smtp_port else None
        if problem is None:
            return []
        return [
            f"Bounce mails do not arrive: port {bounce.smtp_port} on {bounce.smtp_host} cannot be used ({problem}). "
            "Stop the program that listens there, or choose another port with DEPESCHE_BOUNCE_SMTP_PORT."
        ]

    def __enter__(self) -> Self:
        self.notes += self._bounces_astray()
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def python(self, name: str, *arguments: str, environment: dict[str, str]) -> Process:
        """Return a process of ours, `python -m …`, not started yet."""
        (self.folder / "logs").mkdir(exist_ok=True)
        log = self.folder / "logs" / f"{name}.log"
        command = [sys.executable, "-m", *arguments]
        return Process(name, command, log, environment, stop_seconds=self.settings.drain_seconds)

    def prepare_database(self, dsn: str) -> None:
        """Run migrations; create the first tenant and keys."""
        from services.__main__ import migration_folders, runtime_of
        from services.access.app import ensure_first

        asyncio.run(migrate(self.settings.migrating_dsn or dsn, migration_folders()))
        settings = self.settings.model_copy(update={"dsn": SecretStr(dsn), "data_dir": self.folder})
        asyncio.run(ensure_first(runtime_of(settings, keyring_of(self.folder)), url=self.url))

    def simulator(self, environment: dict[str, str]) -> Process:
        """Return the simulator's process. It is healthy once it has written its URLs, which the services read."""
        told = self.folder / "simulator.json"
        told.unlink(missing_ok=True)
        process = self.python("simulator", "services.simulator", "--data", str(self.folder), environment=environment)
        process.well = told.is_file
        return process

    def announce(self) -> None:
        """Write the suite's URL, for others on this machine."""
        (self.folder / "suite.json").write_text(json.dumps({"url": self.url, "pid": os.getpid()}))


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold the folder's lock. Raises CannotStart naming the process that has it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "up.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise CannotStart(
                f"The suite of {folder} is already running (process {lock.read().strip() or 'unknown'}). "
                "Use it, stop it with Ctrl-C there, or choose another folder with --data-dir."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Yield a list that Ctrl-C, SIGTERM and SIGHUP append to, instead of interrupting us."""
    seen: list[int] = []
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, lambda given, _: seen.append(given)) for number in numbers}
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def check_port(host: str, port: int) -> None:
    """Raise CannotStart if the port is not free."""
    if (problem := _problem_of(host, port)) is not None:
        raise CannotStart(
            f"Port {port} on {host} cannot be used: {problem}. "
            "Choose another with --port (or DEPESCHE_PORT), or stop the program that listens there."
        )


def _problem_of(host: str, port: int) -> str | None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.strerror or str(error)
    return None
