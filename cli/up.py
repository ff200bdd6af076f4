"""The `depesche up` command: starts the suite of a folder, shows its activity, drains at Ctrl-C.

Embedded without options (`cli/suite.py`), like production with `--engines` (`cli/topology.py`); both are shown and
stopped the same way.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import httpx
import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from libs import credentials
from libs.contracts.outcomes import Mode

if TYPE_CHECKING:
    from cli.processes import Process
    from cli.supervisor import Supervisor
    from libs.auth import InternalTokens
    from libs.suite import SuiteSettings

_TICK_SECONDS = 0.5
_SHARE = 20  # of the time: one part for queries of figures


class Bus(StrEnum):
    """The brokers of the topology with engines."""

    KAFKA = "kafka"
    REDIS = "redis"


class _GivenUp(Exception):
    """Ctrl-C during the start."""


def up(
    data_dir: Annotated[Path | None, typer.Option(help="Folder for all data of the suite.")] = None,
    port: Annotated[int | None, typer.Option(help="TCP port of the HTTP API.", min=1, max=65535)] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes; 0: all in one process.", min=0)] = None,
    dsn: Annotated[str | None, typer.Option(help="Database as postgresql://…, instead of the embedded server.")] = None,
    simulator: Annotated[bool | None, typer.Option(help="Start the simulator of all providers.")] = None,
    engines: Annotated[
        bool,
        typer.Option("--engines", help="Like production: a process and a Dapr sidecar per program, real engines."),
    ] = False,
    bus: Annotated[Bus, typer.Option(help="The broker, with --engines.")] = Bus.KAFKA,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object per line instead of the live table.")
    ] = False,
) -> None:
    """Start the whole suite on this machine and watch it; Ctrl-C drains and stops it.

    Example: depesche up --port 8800 --workers 2"""
    # imported here: every other command starts in half the time without the services' libraries
    from pydantic import SecretStr

    from cli.supervisor import only_one, stop_signals
    from libs.suite import checked_dsn, load_suite

    given = {"data_dir": data_dir, "port": port, "workers": workers, "simulator": simulator}
    given["dsn"] = SecretStr(checked_dsn(dsn, "--dsn")) if dsn is not None else None  # type: ignore[assignment]
    settings = load_suite().model_copy(update={name: value for name, value in given.items() if value is not None})
    console = Console(stderr=as_json)
    with only_one(settings.data_dir), stop_signals() as stopped:
        _begin(console, settings)
        suite = _chosen(settings, bus if engines else None)
        try:
            with _screen_of(suite, console, stopped, as_json) as look, suite:
                _greet(console, suite)
                _watch(suite, stopped, look, _TICK_SECONDS if not as_json else 4 * _TICK_SECONDS)
                console.print("Stopping: workers are finishing their work …")
        except _GivenUp:
            console.print("Stopped during the start.")
            return
        console.print("Stopped. Nothing is lost; `depesche up` continues where it ended.")


def _begin(console: Console, settings: "SuiteSettings") -> None:
    from cli.processes import end_left_behind

    console.print(f"Starting in {settings.data_dir.resolve()} …")
    if left := end_left_behind(settings.data_dir / "logs", settings.drain_seconds):
        console.print(f"Stopped processes left by an earlier `depesche up` that was killed: {', '.join(left)}.")


def _chosen(settings: "SuiteSettings", bus: Bus | None) -> "Supervisor":
    if bus is None:
        from cli.suite import Suite

        return Suite(settings)
    from cli.topology import Topology

    return Topology(settings, bus.value)


def _greet(console: Console, suite: "Supervisor") -> None:
    from libs.suite import read_simulator

    console.print(
        f"[bold]Depesche is up[/] at {suite.url}  ·  API page {suite.url}/docs  ·  "
        f"keys in {suite.folder / 'credentials.toml'}",
        soft_wrap=True,
    )
    if (simulator := read_simulator(suite.folder)) is not None:
        console.print(
            f"The simulator acts as all providers  ·  see what arrives: {simulator.control_url}", soft_wrap=True
        )
    for note in suite.notes:
        console.print(f"[yellow]{note}[/]", soft_wrap=True)
    if credentials.find(os.environ, Path.cwd(), Path.home()) != suite.folder / credentials.FILE_NAME:
        console.print(f"Other terminals find the suite after: export DEPESCHE_DATA_DIR={suite.folder}", soft_wrap=True)


@contextmanager
def _screen_of(
    suite: "Supervisor", console: Console, stopped: Sequence[int], as_json: bool
) -> Iterator[Callable[[], None]]:
    """Yield what draws one picture, or writes one line. During the start, it gives up when somebody wants to stop."""
    live = None if as_json or not console.is_terminal else Live(console=console, refresh_per_second=4)
    figures = _Figures(suite)
    running: set[str] = set()

    def look() -> None:
        if live:
            live.update(_screen(suite.processes, figures.read()))
        elif as_json:
            sys.stdout.write(json.dumps(_line(suite.processes, figures.read())) + "\n")
            sys.stdout.flush()

    def starting() -> None:
        if stopped:
            raise _GivenUp
        if live:
            live.update(_screen(suite.processes, {}))
        # where no table can be shown, as in the log of a container, a start of half a minute must not be silent
        for process in () if live else suite.processes:
            if process.is_well and process.name not in running:
                running.add(process.name)
                console.print(f"{process.name} is running.")

    suite.look = starting
    if live:
        live.start()
    try:
        yield look
    finally:
        if live:
            live.stop()


def _watch(suite: "Supervisor", stopped: Sequence[int], look: Callable[[], None], seconds: float) -> None:
    while not stopped:
        suite.tend()
        look()
        _wait(stopped, seconds)


def _wait(stopped: Sequence[int], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not stopped and time.monotonic() < until:
        time.sleep(0.05)


class _Figures:
    """Delivery's figures, read over HTTP. Sums over a day's millions cost it a second, so they are queried for at most
    a twentieth of the time."""

    def __init__(self, suite: "Supervisor") -> None:
        self._suite = suite
        self._said: dict[str, Any] = {}
        self._again_at = 0.0
        self._client = httpx.Client(base_url=suite.url, timeout=2.0, verify=False)  # plain HTTP

    @cached_property
    def _tokens(self) -> "InternalTokens":
        """Created on first use: the suite writes its secret during the start."""
        from libs.auth import InternalTokens
        from libs.keyring import keyring_of

        return InternalTokens(keyring_of(self._suite.folder).key("internal"))

    def read(self) -> dict[str, Any]:
        began = time.monotonic()
        if began >= self._again_at:
            self._said = self._asked()
            self._again_at = began + _SHARE * (time.monotonic() - began)
        return self._said

    def _asked(self) -> dict[str, Any]:
        token = self._tokens.make("up", 1, Mode.LIVE)
        try:
            answer = self._client.get("/delivery/v1/statistics", headers={"authorization": f"Internal {token}"})
            answer.raise_for_status()
        except httpx.HTTPError as error:
            return {"unreachable": type(error).__name__}
        figures: dict[str, Any] = answer.json()
        return figures


def _line(processes: "Sequence[Process]", figures: dict[str, Any]) -> dict[str, Any]:
    states = [
        {"name": p.name, "pid": p.pid, "port": p.port, "alive": p.alive, "restarts": p.restarts, "log": str(p.log)}
        for p in processes
    ]
    return {"processes": states, "delivery": figures}


def _screen(processes: "Sequence[Process]", figures: dict[str, Any]) -> Group:
    """Show a row per program; it includes the sidecar."""
    besides = [process.beside for process in processes if process.beside]
    table = Table(title="Processes", title_justify="left", expand=False)
    headings = ("process", "pid", "port", *(("sidecar",) if besides else ()), "state", "restarts", "log")
    for heading in headings:
        table.add_column(heading, justify="right" if heading in ("pid", "port", "sidecar", "restarts") else "left")
    for process in processes:
        if not any(process is sidecar for sidecar in besides):
            table.add_row(*_row(process, with_sidecar=bool(besides)))
    return Group(table, _messages(figures)) if figures else Group(table)


def _row(process: "Process", *, with_sidecar: bool) -> Iterator[str]:
    sidecar = process.beside
    yield process.name
    yield str(process.pid or "")
    yield str(process.port or "")
    if with_sidecar:
        yield str(sidecar.port) if sidecar else ""
    states = [_state(process), *([f"sidecar {_state(sidecar)}"] if sidecar and not sidecar.is_well else [])]
    yield ", ".join(states)
    yield str(process.restarts + (sidecar.restarts if sidecar else 0))
    yield process.log.name


def _state(process: "Process") -> str:
    if not process.alive:
        return f"[red]ended ({process.exit_code})[/]" if process.pid else "[dim]waiting[/]"
    return "[green]running[/]" if process.is_well else "[yellow]starting[/]"


def _messages(figures: dict[str, Any]) -> Table:
    table = Table(title="Messages (tenant 1, live)", title_justify="left", show_header=False)
    table.add_column(style="dim")
    table.add_column(justify="right")
    for name, value in figures.items():
        if isinstance(value, dict):
            value = "  ".join(f"{key} {count}" for key, count in value.items())
        if isinstance(value, int | float | str):
            table.add_row(name.replace("_", " "), str(value))
    return table
