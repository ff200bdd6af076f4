"""Production's topology on this machine, run by `depesche up --engines --json`, and helpers to query it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import asyncpg
import httpx
import psutil
import pytest

from cli.engines.engine import free_port
from examples.shop.demo import SHORT_TIMES
from libs import credentials
from libs.contracts.outcomes import Mode
from libs.suite import read_simulator
from tests.conftest import ROOT
from tests.flows.whole_suite import Suite
from tests.waiting import eventually

_UP_SECONDS = 300.0


@dataclass
class Town:
    """The running command, its folder, and its reports on its processes."""

    folder: Path
    url: str
    command: subprocess.Popen[bytes]
    said: Path

    def processes(self) -> dict[str, dict[str, Any]]:
        """Processes by name, from the newest line."""
        lines = [line for line in self.said.read_text().split("\n")[:-1] if line.startswith('{"processes"')]
        found = json.loads(lines[-1])["processes"] if lines else []
        return {process["name"]: process for process in found}

    def kill(self, name: str) -> int:
        """Send SIGKILL; return the process's id."""
        pid: int = self.processes()[name]["pid"]
        os.kill(pid, signal.SIGKILL)
        return pid

    def crash_postgres(self) -> None:
        """Send SIGKILL to a process of the server: it drops all connections, recovers from its log and restarts."""
        postmaster = int((self.folder / "postgres" / "postmaster.pid").read_text().split()[0])
        os.kill(psutil.Process(postmaster).children()[0].pid, signal.SIGKILL)

    @asynccontextmanager
    async def away(self, names: Sequence[str], seconds: float) -> AsyncIterator[None]:
        """Kill them, and again after each restart, until the context is left and for so long at least."""
        commands = [psutil.Process(self.processes()[name]["pid"]).cmdline() for name in names]
        until = time.monotonic() + seconds
        left = asyncio.Event()

        async def kept_away() -> None:
            while time.monotonic() < until or not left.is_set():
                for child in psutil.Process(self.command.pid).children():
                    with suppress(psutil.Error):
                        if child.cmdline() in commands:
                            child.kill()
                await asyncio.sleep(0.1)

        keeping = asyncio.create_task(kept_away())
        try:
            yield
        finally:
            left.set()
            await keeping

    async def ask(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Query the suite's Postgres, which may still recover from a crash."""
        connection = await eventually(self._connected)
        try:
            return [tuple(row) for row in await connection.fetch(statement, *values)]
        finally:
            await connection.close()

    async def _connected(self) -> Any:
        dsn = psutil.Process(self.processes()["delivery"]["pid"]).environ()["DEPESCHE_DSN"]
        try:
            return await asyncpg.connect(dsn)
        except (OSError, asyncpg.PostgresError):
            return None

    def left(self) -> list[str]:
        """Its processes that are still running."""
        return [words for process in psutil.process_iter() if str(self.folder) in (words := _words(process))]

    @asynccontextmanager
    async def suite(self) -> AsyncIterator[Suite]:
        """A client of everything behind the ingress."""
        found = credentials.read(self.folder / credentials.FILE_NAME)
        assert found is not None
        assert found.url == self.url
        headers = {"authorization": f"Bearer {found.keys[Mode.LIVE]}"}
        async with httpx.AsyncClient(base_url=self.url, headers=headers, timeout=30, trust_env=False) as client:
            yield Suite({}, client, cast(Any, None), asyncio.Event())

    def simulator(self, path: str) -> Any:
        """What the providers received."""
        endpoints = read_simulator(self.folder)
        assert endpoints is not None
        return httpx.get(f"{endpoints.control_url}/{path}", timeout=30, trust_env=False).raise_for_status().json()

    def stop(self) -> int:
        """Send Ctrl-C; return the exit code."""
        self.command.send_signal(signal.SIGINT)
        return self.command.wait(120)


def _words(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()) if process.status() != psutil.STATUS_ZOMBIE else ""
    except psutil.Error:
        return ""


@contextmanager
def town_of(folder: Path, bus: str) -> Iterator[Town]:
    """Start it, and stop it at the end if the test has not. Skips if an engine is not built."""
    (folder / "depesche.toml").write_text(SHORT_TIMES.format(mail=free_port()))
    port, said = free_port(), folder / "said.jsonl"
    words = ["up", "--engines", "--bus", bus, "--json", "--data-dir", str(folder), "--port", str(port)]
    with said.open("wb") as out, (folder / "errors.txt").open("wb") as errors:
        command = subprocess.Popen([sys.executable, "-m", "cli.main", *words], cwd=ROOT, stdout=out, stderr=errors)
    town = Town(folder, f"http://127.0.0.1:{port}", command, said)
    until = time.monotonic() + _UP_SECONDS
    try:
        while not town.processes():
            if command.poll() is not None:
                _explain(said.read_text())
            assert time.monotonic() < until, (folder / "errors.txt").read_text()
            time.sleep(0.2)
        yield town
    finally:
        if command.poll() is None:
            town.stop()


def _explain(said: str) -> None:
    problem = json.loads(said)
    missing = problem["error"] in ("The engine is not built", "A tool is missing")
    if missing and os.environ.get("DEPESCHE_ENGINES_REQUIRED") != "1":
        pytest.skip(problem["hint"])
    pytest.fail(f"{problem['error']}: {problem['hint']}")
