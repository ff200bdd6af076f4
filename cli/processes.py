"""A program that we start: its log, its state, waiting for it, and stopping it."""

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path

from libs.errors import Permanent

_LOG_LINES = 15
_HELD = ".pid"  # beside the log


class CannotStart(Permanent):
    """The suite or one of its programs cannot be started; the detail says what to do."""

    slug = "cannot-start"
    title = "Cannot start"


@dataclass
class Process:
    """One process, its log, its health check, and how often it was restarted."""

    name: str
    command: list[str]
    log: Path
    environment: dict[str, str]
    _: KW_ONLY
    well: Callable[[], bool] = lambda: True  # False, never an error, while it does not answer
    start_seconds: float = 30.0
    stop_seconds: float = 30.0
    port: int | None = None
    beside: "Process | None" = None  # its sidecar
    restarts: int = 0
    is_well: bool = False  # whether it has been healthy since its start
    started_at: float = 0.0
    _log_from: int = 0  # where the log of this start begins
    _handle: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def pid(self) -> int | None:
        return self._handle.pid if self._handle else None

    @property
    def alive(self) -> bool:
        return self._handle is not None and self._handle.poll() is None

    @property
    def exit_code(self) -> int | None:
        return self._handle.poll() if self._handle else None

    def start(self) -> None:
        # a session of its own: Ctrl-C reaches only the supervisor, which stops the others in order
        with self.log.open("ab") as log, self.log.with_suffix(_HELD).open("w") as held:
            self._log_from = log.tell()
            fcntl.flock(held, fcntl.LOCK_SH)  # until the program and everything it started have ended
            self._handle = subprocess.Popen(
                self.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self.environment,
                start_new_session=True, pass_fds=[held.fileno()],
            )  # fmt: skip
            held.write(str(self._handle.pid))
        self.started_at = time.monotonic()
        self.is_well = False

    def check(self) -> bool:
        """Whether it has become healthy. Raises CannotStart, with the end of its log, if it has ended or was not
        healthy after `start_seconds`."""
        if not self.alive:  # checked first: another process may answer on its port
            raise CannotStart(f"{self.name} ended with code {self.exit_code}; {self._end_of_log()}")
        self.is_well = self.is_well or self.well()
        if not self.is_well and time.monotonic() > self.started_at + self.start_seconds:
            raise CannotStart(f"{self.name} was not ready after {self.start_seconds:g} seconds; {self._end_of_log()}")
        return self.is_well

    def has_logged(self, event: str) -> bool:
        """Whether it has logged this since its start: health of a program without a port."""
        with self.log.open("rb") as log:
            log.seek(self._log_from)
            return event.encode() in log.read()

    def wait(self) -> None:
        """Wait until it is healthy. Raises CannotStart."""
        while not self.check():
            time.sleep(0.05)

    def _end_of_log(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
        return "\n".join([f"the end of {self.log}:", *lines])

    def terminate(self) -> None:
        """Send SIGTERM without waiting."""
        if self._handle is not None and self._handle.poll() is None:
            self._handle.terminate()

    def stop(self) -> None:
        """Send SIGTERM, then SIGKILL after `stop_seconds`."""
        self.terminate()
        if self._handle is None:
            return
        try:
            self._handle.wait(self.stop_seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Send SIGKILL to it and everything it started, like a failing machine."""
        if self._handle is None or self._handle.poll() is not None:
            return
        os.killpg(self._handle.pid, signal.SIGKILL)  # it leads its session, so its group has its id
        self._handle.wait()


def end_left_behind(logs: Path, seconds: float) -> list[str]:
    """Stop what a killed supervisor has left running with its logs in this folder; return the names.

    SIGTERM to all, SIGKILL to those that have not ended after `seconds`. A pid reused by another process is never
    mistaken for ours: ours holds its file's lock."""
    left = [path for path in sorted(logs.glob(f"*{_HELD}")) if _is_held(path)]
    _signal(left, signal.SIGTERM)
    until = time.monotonic() + seconds
    while (alive := [path for path in left if _is_held(path)]) and time.monotonic() < until:
        time.sleep(0.05)
    _signal(alive, signal.SIGKILL)
    return [path.stem for path in left]


def _signal(held: list[Path], number: signal.Signals) -> None:
    for path in held:
        with suppress(ProcessLookupError, ValueError):  # ended just now; or killed before its number was written
            os.killpg(int(path.read_text()), number)


def _is_held(path: Path) -> bool:
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
