"""The supervisor starts the suite in stages, restarts what ends, and leaves nothing behind."""

import io
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from pydantic import SecretStr
from rich.console import Console

from cli.processes import CannotStart, Process, end_left_behind
from cli.suite import Suite
from cli.supervisor import Supervisor, stop_signals
from cli.up import _screen_of
from libs.suite import SuiteSettings

# prints when it starts, and at SIGTERM that it ends
PROGRAM = """
import signal, sys, time
name, there, said = sys.argv[1:]
def end(*_):
    open(said, "a").write(name + "\\n")
    sys.exit()
signal.signal(signal.SIGTERM, end)
open(there, "w").close()
time.sleep(600)
"""


class Two(Supervisor):
    """A first process, and a second that needs it."""

    last: str = PROGRAM

    def start(self) -> None:
        self.launch(self.process("first", PROGRAM))
        self.wait()
        self.launch(self.process("second", self.last))
        self.wait()

    def process(self, name: str, program: str) -> Process:
        there = self.folder / name
        command = [sys.executable, "-c", program, name, str(there), str(self.folder / "ended")]
        return Process(name, command, self.folder / f"{name}.log", {}, well=there.exists, start_seconds=120.0)


@pytest.fixture
def two(tmp_path: Path) -> Two:
    return Two(SuiteSettings(data_dir=tmp_path, dsn=SecretStr("")))


def left(folder: Path) -> list[int]:
    return [process.pid for process in psutil.Process().children() if str(folder) in " ".join(_words(process))]


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def eventually(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 120
    while not true():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_start_without_a_terminal_says_what_runs(two: Two) -> None:
    said = io.StringIO()
    with _screen_of(two, Console(file=said), [], False), two:
        pass
    assert said.getvalue() == "first is running.\n"  # of the last ones, "Depesche is up" tells


def test_the_last_that_was_started_ends_first(two: Two, tmp_path: Path) -> None:
    with two:
        assert [(process.name, process.is_well) for process in two.processes] == [("first", True), ("second", True)]
    assert (tmp_path / "ended").read_text().split() == ["second", "first"]
    assert left(tmp_path) == []


def test_what_ends_by_itself_is_started_again_and_counted(two: Two, tmp_path: Path) -> None:
    with two:
        first, second = two.processes
        before = second.pid
        (tmp_path / "second").unlink()
        second.kill()
        eventually(lambda: not second.alive)
        eventually(lambda: two.tend() or second.alive)  # type: ignore[func-returns-value]
        assert (second.pid != before, second.restarts, first.restarts) == (True, 1, 0)
        eventually(lambda: two.tend() or second.is_well)  # type: ignore[func-returns-value]


def test_what_cannot_start_is_named_with_its_log_and_takes_the_others_along(two: Two, tmp_path: Path) -> None:
    two.last = "raise SystemExit('no disk left')"
    with pytest.raises(CannotStart, match=r"second ended with code 1(.|\n)*no disk left"), two:
        pass
    assert left(tmp_path) == []


def test_who_gives_up_while_it_starts_leaves_nothing_behind(two: Two, tmp_path: Path) -> None:
    class GivenUp(Exception):
        pass

    def look() -> None:
        if len(two.processes) == 2:
            raise GivenUp

    two.look, two.last = look, "import time; time.sleep(600)"
    with pytest.raises(GivenUp), two:
        pass
    assert left(tmp_path) == []


def test_what_a_killed_supervisor_left_running_is_ended_by_the_next(
    two: Two, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert end_left_behind(tmp_path, 1) == []
    two.start()
    stubborn = two.process("stubborn", PROGRAM.replace("sys.exit()", "pass"))
    two.launch(stubborn)
    two.wait()
    ended = tmp_path / "ended"
    ended.touch()

    def all_have_been_told() -> bool:
        told = set(ended.read_text().split()) == {"first", "second", "stubborn"}
        return told and [process.alive for process in two.processes] == [False, False, True]

    clock = SimpleNamespace(monotonic=lambda: 10.0 * all_have_been_told(), sleep=time.sleep)
    with monkeypatch.context() as patched:
        patched.setattr("cli.processes.time", clock)
        assert end_left_behind(tmp_path, 5) == ["first", "second", "stubborn"]
    eventually(lambda: not any(process.alive for process in two.processes))
    assert [process.exit_code for process in two.processes] == [0, 0, -signal.SIGKILL]
    assert end_left_behind(tmp_path, 1) == []


def test_a_closed_terminal_stops_as_ctrl_c_does_unless_nobody_should_mind() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may run under nohup
    try:
        with stop_signals() as minded:
            os.kill(os.getpid(), signal.SIGHUP)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with stop_signals() as ignored:
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert (minded, ignored) == ([signal.SIGHUP], [])


WORKER = 'import time; time.sleep(0.5); print(\'{"event": "worker_started"}\', flush=True); time.sleep(600)'


class Tiny(Suite):
    """The embedded suite with programs of a line each; Postgres is elsewhere."""

    def prepare_database(self, dsn: str) -> None: ...

    def _answers(self) -> bool:
        return True

    def python(self, name: str, *arguments: str, environment: dict[str, str]) -> Process:
        made = super().python(name, *arguments, environment=environment)
        made.command = [sys.executable, "-c", WORKER]
        return made


def test_the_suite_is_up_once_its_workers_work(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = SuiteSettings(
        data_dir=tmp_path, dsn=SecretStr("postgresql://nowhere/x"), port=port, simulator=False, workers=1
    )
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "worker-1.log").write_text('{"event": "worker_started"}\n')  # an earlier run's
    with Tiny(settings) as suite:
        workers = [process for process in suite.processes if process.name != "api"]
        assert [process.name for process in workers] == ["worker-1", "bulk-1"]
        assert all("worker_started" in process.log.read_bytes()[process._log_from :].decode() for process in workers)
    assert left(tmp_path) == []
