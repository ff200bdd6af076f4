"""The receiving ends of the measurements: the simulator as a separate process, and its cost.

`python -m bench.sinks` measures it with the barest clients, so that later figures can be read as ratios: nobody sends
faster through this sink than they do.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.request import urlopen

import psutil  # type: ignore[import-untyped]
import uvloop

from libs.service import SimulatorEndpoints
from services.simulator.app import read_endpoints

_START_SECONDS = 30


@dataclass(frozen=True)
class Measured:
    """One way to send: its rate, and CPU-µs per message of each process involved."""

    name: str
    messages: int
    seconds: float
    per_second: float
    worker_us: float
    sink_us: float
    postgres_us: float = 0.0
    accepted: int = 0
    rss_mb: tuple[float, float] = (0.0, 0.0)  # of the worker: the maximum in the first quarter, and overall

    @property
    def own_us(self) -> float:
        """The cost of sending, without the sink."""
        return self.worker_us + self.postgres_us

    def row(self) -> str:
        return (
            f"{self.name:<34}{self.messages:>9,}{self.per_second:>11,.0f}"
            f"{self.worker_us:>10.1f}{self.postgres_us:>10.1f}{self.sink_us:>10.1f}{self.own_us:>10.1f}"
        )

    def document(self) -> dict[str, Any]:
        return {name: round(v, 2) if isinstance(v, float) else v for name, v in asdict(self).items()} | {
            "own_us": round(self.own_us, 2)
        }


HEADER = (
    f"{'':<34}{'messages':>9}{'a second':>11}{'worker':>10}{'Postgres':>10}{'sink':>10}{'own':>10}   CPU-µs a message"
)


@dataclass(frozen=True)
class Sink:
    """A running simulator."""

    endpoints: SimulatorEndpoints
    process: asyncio.subprocess.Process

    def cpu(self) -> float:
        return cpu_seconds(self.process.pid)

    def accepted(self, channel: str) -> int:
        """Return the number of messages accepted on a channel."""
        with urlopen(f"{self.endpoints.control_url}/counters", timeout=30) as answer:
            return int(json.load(answer)["channels"][channel]["accepted"])

    def figures(self, channel: str) -> dict[str, Any]:
        with urlopen(f"{self.endpoints.control_url}/counters", timeout=30) as answer:
            figures: dict[str, Any] = json.load(answer)["channels"][channel]
            return figures


def cpu_seconds(pid: int, *, children: bool = False) -> float:
    """Return user and system time of a process; optionally with all its descendants, including ended ones."""
    process = psutil.Process(pid)
    times = process.cpu_times()
    total = float(times.user + times.system)
    if children:
        total += float(times.children_user + times.children_system)
        for child in process.children(recursive=True):
            try:
                below = child.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += float(below.user + below.system)
    return total


@asynccontextmanager
async def sink(**settings: str) -> AsyncIterator[Sink]:
    """Run the simulator as a process for the duration of a block; `settings` are its own, by name."""
    with tempfile.TemporaryDirectory(prefix="depesche-bench-") as folder:
        async with _started(Path(folder), settings) as started:
            yield started


@asynccontextmanager
async def _started(folder: Path, settings: Mapping[str, str]) -> AsyncIterator[Sink]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "services.simulator", "--data", str(folder)),
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {f"DEPESCHE_SIMULATOR_{name.upper()}": value for name, value in settings.items()},
    )
    try:
        assert process.stdout is not None
        await asyncio.wait_for(process.stdout.readline(), _START_SECONDS)
        endpoints = read_endpoints(folder)
        if endpoints is None:
            raise SystemExit("the simulator did not start")
        _run_elsewhere(process.pid)
        yield Sink(endpoints, process)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def _run_elsewhere(pid: int) -> None:
    """The sink stands in for another machine: it runs beside the sender, but must not preempt it with each packet that
    wakes it, which otherwise happens for seven in ten mails."""
    if sys.platform == "linux":
        for thread in os.listdir(f"/proc/{pid}/task"):
            os.sched_setscheduler(int(thread), os.SCHED_BATCH, os.sched_param(0))


async def measure(
    name: str, channel: str, target: Sink, messages: int, send: Callable[[], Awaitable[None]]
) -> Measured:
    """Send once, and read the clocks of this process and the sink's before and after."""
    before = target.accepted(channel)
    worker, received, started = cpu_seconds(os.getpid()), target.cpu(), perf_counter()
    await send()
    seconds = perf_counter() - started
    worker, received = cpu_seconds(os.getpid()) - worker, target.cpu() - received
    return Measured(
        name,
        messages,
        seconds,
        messages / seconds,
        worker / messages * 1e6,
        received / messages * 1e6,
        accepted=target.accepted(channel) - before,
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.sinks", description=__doc__)
    parser.add_argument("--messages", type=int, default=30_000, help="messages per client (default 30,000)")
    parser.add_argument("--in-flight", type=int, default=200, help="pushes in flight (default 200)")
    options = parser.parse_args()
    uvloop.run(_run(options.messages, options.in_flight))


async def _run(messages: int, in_flight: int) -> None:
    from bench.sinks_clients import bare_mails, bare_pushes, mail_texts, push_bodies

    async with sink() as target:
        bodies, mails = push_bodies(messages), mail_texts(messages)
        rows = [
            await measure(
                "bare pyreqwest, HTTP/2",
                "push",
                target,
                messages,
                lambda: bare_pushes(target.endpoints, bodies, in_flight),
            ),
            await measure(
                "bare SMTP dialogue, pipelined",
                "email",
                target,
                messages,
                lambda: bare_mails(target.endpoints, mails),
            ),
        ]
        protocols = target.figures("push")["protocols"]
    print(HEADER)
    for row in rows:
        print(row.row())
    print(json.dumps({"bench": "sinks", "rows": [row.document() for row in rows], "protocols": protocols}))


if __name__ == "__main__":
    main()
