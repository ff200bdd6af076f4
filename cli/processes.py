"""A program that we start: its log, whether it lives, how it is waited for and how it ends."""

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
    """The suite or a program of it cannot be started; the detail says what to do."""

    slug = "cannot-start"
    title = "Cannot start"


@dataclass
class Process:
    """One process, its log, how it is asked whether it is well, and how often it had to be started again."""

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
    is_well: bool = False  # it was, since it was started
    started_at: float = 0.0
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
        # a session of its own: Ctrl-C reaches the supervisor alone, which stops the others in order
        with self.log.open("ab") as log, self.log.with_suffix(_HELD).open("w") as held:
            fcntl.flock(held, fcntl.LOCK_SH)  # until the program and all that it started have ended
            self._handle = subprocess.Popen(
                self.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self.environment,
                start_new_session=True, pass_fds=[held.fileno()],
            )  # fmt: skip
            held.write(str(self._handle.pid))
        self.started_at = time.monotonic()
        self.is_well = False

    def check(self) -> bool:
        """Whether it has become well. Raises CannotStart, with the end of its log, when it has ended, or was not well
        after `start_seconds`."""
        if not self.alive:  # asked first: on its port somebody else may answer
            raise CannotStart(f"{self.name} ended with code {self.exit_code}; {self._end_of_log()}")
        self.is_well = self.is_well or self.well()
        if not self.is_well and time.monotonic() > self.started_at + self.start_seconds:
            raise CannotStart(f"{self.name} was not ready after {self.start_seconds:g} seconds; {self._end_of_log()}")
        return self.is_well

    def wait(self) -> None:
        """Returns when it is well. Raises CannotStart."""
        while not self.check():
            time.sleep(0.05)

    def _end_of_log(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
        return "\n".join([f"the end of {self.log}:", *lines])

    def terminate(self) -> None:
        """SIGTERM, and does not wait."""
        if self._handle is not None and self._handle.poll() is None:
            self._handle.terminate()

    def stop(self) -> None:
        """SIGTERM, then SIGKILL after `stop_seconds`."""
        self.terminate()
        if self._handle is None:
            return
        try:
            self._handle.wait(self.stop_seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """SIGKILL to it and to what it started, as a machine that fails would."""
        if self._handle is None or self._handle.poll() is not None:
            return
        os.killpg(self._handle.pid, signal.SIGKILL)  # it leads its session, so its group has its id
        self._handle.wait()


def end_left_behind(logs: Path, seconds: float) -> list[str]:
    """Ends what a supervisor that was killed has left running with its logs in this folder; gives the names.

    SIGTERM to all, SIGKILL to what has not ended after `seconds`. A number that has gone to another process since then
    is never taken for ours: ours holds its file's lock.
    """
    left = [path for path in sorted(logs.glob(f"*{_HELD}")) if _is_held(path)]
    _signal(left, signal.SIGTERM)
    until = time.monotonic() + seconds
    while (alive := [path for path in left if _is_held(path)]) and time.monotonic() < until:
        time.sleep(0.05)
    _signal(alive, signal.SIGKILL)
    return [path.stem for path in left]


def _signal(held: list[Path], number: signal.Signals) -> None:
    for path in held:
        with suppress(ProcessLookupError, ValueError):  # ended this moment; killed before its number was written
            os.killpg(int(path.read_text()), number)


def _is_held(path: Path) -> bool:
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
