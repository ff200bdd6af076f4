"""A program that we start: its log, whether it lives, how it is waited for and how it ends."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from libs.errors import Permanent

_LOG_LINES = 15


class CannotStart(Permanent):
    """The suite or a program of it cannot be started; the detail says what to do."""

    slug = "cannot-start"
    title = "Cannot start"


@dataclass
class Process:
    """One process of the suite, its log, and how often it had to be started again."""

    name: str
    command: list[str]
    log: Path
    environment: dict[str, str]
    restarts: int = 0
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
        with self.log.open("ab") as log:
            self._handle = subprocess.Popen(
                self.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self.environment,
                start_new_session=True,
            )  # fmt: skip
        self.started_at = time.monotonic()

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> None:
        """Returns when `ready` says so. Raises CannotStart, with the end of the log, when the process ends or after
        `seconds`."""
        deadline = time.monotonic() + seconds
        while True:
            if not self.alive:  # asked first: on its port somebody else may answer
                raise CannotStart(f"{self.name} ended with code {self.exit_code}; {self._end_of_log()}")
            if ready():
                return
            if time.monotonic() > deadline:
                raise CannotStart(f"{self.name} was not ready after {seconds:g} seconds; {self._end_of_log()}")
            time.sleep(0.05)

    def _end_of_log(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
        return "\n".join([f"the end of {self.log}:", *lines])

    def stop(self, seconds: float) -> None:
        """SIGTERM, then SIGKILL after `seconds`."""
        if self._handle is None or self._handle.poll() is not None:
            return
        self._handle.terminate()
        try:
            self._handle.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """SIGKILL to it and to what it started, as a machine that fails would."""
        if self._handle is None or self._handle.poll() is not None:
            return
        os.killpg(self._handle.pid, signal.SIGKILL)  # it leads its session, so its group has its id
        self._handle.wait()
