"""The `depesche up` command: starts the suite of a folder, shows what it does, drains at Ctrl-C."""

import json
import os
import sys
import time
from collections.abc import Sequence
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
    from cli.supervisor import Suite

_TICK_SECONDS = 0.5


def up(
    data_dir: Annotated[Path | None, typer.Option(help="Folder of everything that the suite keeps.")] = None,
    port: Annotated[int | None, typer.Option(help="TCP port of the HTTP API.", min=1, max=65535)] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes; 0: all in one process.", min=0)] = None,
    dsn: Annotated[str | None, typer.Option(help="postgresql://… instead of the embedded server.")] = None,
    simulator: Annotated[bool | None, typer.Option(help="Start the simulator of all providers.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line instead of the live table.")] = False,
) -> None:
    """Start the whole suite on this machine and watch it; Ctrl-C drains and stops it.

    Example: depesche up --port 8800 --workers 2
    """
    # imported here: every other command starts in half the time without the services' libraries
    from pydantic import SecretStr

    from cli.supervisor import Suite, only_one, stop_signals
    from libs.suite import load_suite

    given = {"data_dir": data_dir, "port": port, "workers": workers, "simulator": simulator}
    given["dsn"] = SecretStr(dsn) if dsn is not None else None  # type: ignore[assignment]
    settings = load_suite().model_copy(update={name: value for name, value in given.items() if value is not None})
    console = Console(stderr=as_json)
    with only_one(settings.data_dir), stop_signals() as stopped:
        console.print(f"Starting in {settings.data_dir.resolve()} …")
        with Suite(settings) as suite:
            _greet(console, suite)
            _watch(console, suite, stopped, as_json)
            console.print("Stopping: workers finish what they have begun …")
        console.print("Stopped. Nothing is lost; `depesche up` goes on where it ended.")


def _greet(console: Console, suite: "Suite") -> None:
    from libs.suite import read_simulator

    console.print(
        f"[bold]Depesche is up[/] at {suite.url}  ·  API page {suite.url}/docs  ·  "
        f"keys in {suite.folder / 'credentials.toml'}",
        soft_wrap=True,
    )
    if (simulator := read_simulator(suite.folder)) is not None:
        console.print(
            f"The simulator plays the providers  ·  what arrives there: {simulator.control_url}", soft_wrap=True
        )
    if credentials.find(os.environ, Path.cwd(), Path.home()) != suite.folder / credentials.FILE_NAME:
        console.print(f"Other terminals find it after: export DEPESCHE_DATA_DIR={suite.folder}", soft_wrap=True)


def _watch(console: Console, suite: "Suite", stopped: Sequence[int], as_json: bool) -> None:
    figures = _Figures(suite)
    live = None if as_json or not console.is_terminal else Live(console=console, refresh_per_second=4)
    if live:
        live.start()
    try:
        while not stopped:
            suite.tend()
            if live:
                live.update(_screen(suite.processes, figures.read()))
            elif as_json:
                sys.stdout.write(json.dumps(_line(suite.processes, figures.read())) + "\n")
                sys.stdout.flush()
            _wait(stopped, _TICK_SECONDS if live else 4 * _TICK_SECONDS)
    finally:
        if live:
            live.stop()


def _wait(stopped: Sequence[int], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not stopped and time.monotonic() < until:
        time.sleep(0.05)


class _Figures:
    """What delivery says of itself, over HTTP like anybody else."""

    def __init__(self, suite: "Suite") -> None:
        from libs.auth import InternalTokens
        from libs.keyring import keyring_of

        self._tokens = InternalTokens(keyring_of(suite.folder).key("internal"))
        self._client = httpx.Client(base_url=suite.url, timeout=2.0)

    def read(self) -> dict[str, Any]:
        token = self._tokens.make("up", 1, Mode.LIVE)
        try:
            answer = self._client.get("/delivery/v1/statistics", headers={"authorization": f"Internal {token}"})
            answer.raise_for_status()
        except httpx.HTTPError as error:
            return {"unreachable": type(error).__name__}
        figures: dict[str, Any] = answer.json()
        return figures


def _line(processes: "Sequence[Process]", figures: dict[str, Any]) -> dict[str, Any]:
    states = [{"name": p.name, "pid": p.pid, "alive": p.alive, "restarts": p.restarts} for p in processes]
    return {"processes": states, "delivery": figures}


def _screen(processes: "Sequence[Process]", figures: dict[str, Any]) -> Group:
    table = Table(title="Processes", title_justify="left", expand=False)
    for heading in ("process", "pid", "state", "restarts"):
        table.add_column(heading)
    for process in processes:
        state = "[green]running[/]" if process.alive else f"[red]ended ({process.exit_code})[/]"
        table.add_row(process.name, str(process.pid), state, str(process.restarts))
    return Group(table, _messages(figures))


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
