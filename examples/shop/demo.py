"""`make demo`: a shop's day through the whole suite, with everything going wrong that can.

    files applied → 10,000 recipients imported → 20,000 events streamed, 5 % of them twice, some malformed
    providers answer 429, 503, dead tokens, bounces, and timeouts after accepting
    half-way the worker is killed (SIGKILL), later stopped (SIGTERM) while the mail server answers 451

The suite is the embedded one; with --engines it is the production topology on this machine, over Kafka or Redis, and
the trace of one more order is shown as Jaeger has it.
Writes demo-report.json. Exits 1 if a sum is off, something is pending, or a repeat is unexplained.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from shutil import rmtree
from socket import socket

from pydantic import SecretStr
from rich.console import Console

from cli.processes import Process
from cli.suite import Suite
from cli.supervisor import Supervisor
from cli.topology import Bus, Topology
from examples.shop.day import Day, Shop, line, make_day
from examples.shop.people import Customer, customers, write
from examples.shop.reckoning import Reckoning, Sums
from examples.shop.trace import trace_of
from libs.suite import SuiteSettings

HERE = Path(__file__).parent
CUSTOMERS = 10_000
EVENTS = 20_000
_SETTLE_SECONDS = 150.0
# a laptop's day is three minutes long: only timeouts and leases are shortened to match
SHORT_TIMES = """
[delivery]
lease_seconds = 20.0
retry_base_seconds = 0.5
retry_cap_seconds = 4.0
[bounce]
smtp_port = {mail}
"""

console = Console()


class Demo:
    """The day: its folder, its suite, and the commands that the shop's people would type."""

    def __init__(self, folder: Path, bus: Bus | None, events: int) -> None:
        self.folder = folder
        self.people: list[Customer] = customers(CUSTOMERS)
        self.day: Day = make_day(self.people, events)
        (folder / "depesche.toml").write_text(SHORT_TIMES.format(mail=free_port()))
        settings = SuiteSettings(data_dir=folder, port=free_port(), workers=1, dsn=SecretStr(""), drain_seconds=20.0)
        self.suite: Supervisor = Topology(settings, bus) if bus else Suite(settings)

    def depesche(self, *arguments: str | Path, captured: bool = False) -> str:
        """Run a CLI command as typed; refusals are part of the day, failures are not."""
        console.print(f"[dim]$ depesche {' '.join(str(a) for a in arguments)}[/]")
        environment = os.environ | {"DEPESCHE_DATA_DIR": str(self.folder)}
        command = [sys.executable, "-m", "cli.main", *map(str, arguments)]
        done = subprocess.run(command, env=environment, check=False, stdout=subprocess.PIPE if captured else None)
        if done.returncode not in (0, 1):
            raise SystemExit(f"`depesche {arguments[0]}` ended with {done.returncode}")
        return (done.stdout or b"").decode()

    def prepare(self) -> None:
        """Apply the shop's files and import its customers."""
        self.depesche("apply", HERE)
        self.depesche("templates", "publish", "--all")
        self.depesche("communications", "publish", "--all")
        write(self.people, self.folder / "customers.ndjson")
        self.depesche("recipients", "import", self.folder / "customers.ndjson")

    def stream(self) -> dict[str, int]:
        """Stream the day's events while faults happen; return how many were accepted."""
        path = self.folder / "day.ndjson"
        self.day.write(path)
        harm = threading.Thread(target=self._do_harm, daemon=True)
        harm.start()
        told = json.loads(self.depesche("events", "send", path, "--json", captured=True))
        first = told["refused"][0]
        console.print(
            f"{told['received']:,} events sent: {told['accepted']:,} accepted, {told['duplicate']:,} duplicates, "
            f"{told['rejected']} refused; for instance line {first['line']}: {first['detail']}"
        )
        harm.join()
        return {name: told[name] for name in ("received", "accepted", "duplicate", "rejected")}

    def _do_harm(self) -> None:
        total = sum(self.day.expected.values())
        reckoning = Reckoning(self.suite, self.day)
        _until(lambda: reckoning.sums().final > 0.4 * total)
        worker = self._worker()
        console.print(f"[red]The worker {worker.pid} is killed with SIGKILL.[/]")
        os.kill(worker.pid or 0, signal.SIGKILL)
        _until(lambda: reckoning.sums().final > 0.7 * total)
        reckoning.break_mail_server(seconds=2)
        console.print("[red]The mail server answers 451 for two seconds, and the worker is stopped with SIGTERM.[/]")
        os.kill(self._worker().pid or 0, signal.SIGTERM)

    def _worker(self) -> Process:
        return next(p for p in self.suite.processes if p.name in ("worker-1", "delivery-worker"))

    def settle(self) -> Sums:
        """Wait until nothing is pending and bounces have come back."""
        reckoning = Reckoning(self.suite, self.day)
        with console.status("Waiting until every message is final …"):
            _until(lambda: reckoning.sums().settled, _SETTLE_SECONDS)
        return reckoning.sums()

    def send_traced(self, jaeger_url: str) -> None:
        """Send one more order after the day, and show its way through every program, and why it was sent. FerretDB,
        which stands in for MongoDB, keeps writing the day for some minutes, so history's part may be missing."""
        one = Shop(self.people, seed=3).order_placed()
        event = line(replace(one, subject="B-1"), "one-more", datetime.now(UTC))
        trace_id = Reckoning(self.suite, self.day).send_traced(event)
        with console.status("Waiting until all programs have reported one more order …"):
            tree = trace_of(jaeger_url, trace_id)
        console.print(tree)
        self.depesche("why", "--order", "B-1")


def _until(true: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.5)


def free_port() -> int:
    """Return a TCP port that nobody listens on right now."""
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def main() -> int:
    """Run the whole day; return the exit code."""
    options = _options()
    started = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="depesche-demo-"))
    demo = Demo(folder, options.bus if options.engines else None, options.events)
    stop = threading.Event()
    try:
        with demo.suite:
            tending = threading.Thread(target=_tend, args=(demo.suite, stop), daemon=True)
            tending.start()
            console.print(f"{len(demo.suite.processes)} processes are up after {time.monotonic() - started:.0f} s.")
            demo.prepare()
            events = demo.stream()
            demo.settle()
            report = Reckoning(demo.suite, demo.day).report(time.monotonic() - started, events)
            Path("demo-report.json").write_text(json.dumps(report.document(), indent=1) + "\n")
            report.show(console)
            for question in demo.day.questions.values():
                demo.depesche("why", *question)
            if isinstance(demo.suite, Topology):
                demo.send_traced(demo.suite.engines.traces.query_url)
            stop.set()
            tending.join()
    finally:
        stop.set()
        rmtree(folder, ignore_errors=True)
    for problem in report.problems:
        console.print(f"[bold red]{problem}[/]")
    console.print("[bold green]Every sum is right.[/]" if not report.problems else "[bold red]See demo-report.json.[/]")
    return 1 if report.problems else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.shop.demo", description="A shop's day, with faults.")
    parser.add_argument("--engines", action="store_true", help="as in production: sidecars, real engines")
    parser.add_argument("--bus", choices=("kafka", "redis"), default="kafka", help="the broker, with --engines")
    parser.add_argument("--events", type=int, default=EVENTS, help=f"distinct events; default {EVENTS:,}")
    return parser.parse_args()


def _tend(suite: Supervisor, stop: threading.Event) -> None:
    while not stop.wait(0.1):
        suite.tend()


if __name__ == "__main__":
    sys.exit(main())
