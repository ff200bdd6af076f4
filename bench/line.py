"""Event to history, the whole suite: CPU per message by process; and how long an order waits behind a campaign.

    python -m bench.line [--events N] [--backlog N] [--probes N]

First `--events` parcels are shipped, each one push to one customer, from the HTTP API to the timeline: CPU-µs per
message of the API, the worker and Postgres, excluding the simulator and this client (goal: 200). The CPU-ns of a turn
of a fixed loop is printed too: runs at different hours compare by their ratio. Then it lays in a backlog of
`--backlog` bulk pushes; while it comes in, and again while it runs, `--probes` one-time codes are requested one by
one: the time from the 202 to the arrival at the provider (goal: p99 of 250 ms). Last line: JSON.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from shutil import rmtree
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]
from pydantic import SecretStr

from bench.postgres import ended_by_sigterm
from bench.sinks import cpu_seconds
from cli.suite import Suite
from examples.shop.demo import free_port
from libs import credentials
from libs.contracts.outcomes import Mode
from libs.suite import SuiteSettings

SHOP = Path(__file__).parents[1] / "examples" / "shop"
GOAL_MICROSECONDS = 200.0
GOAL_MS = 250.0
_WATCHERS = 1_000
_WARM_UP = 2_000  # modules, connections and plans are set up once
_PATIENCE_SECONDS = 300.0
_TURNS = 5_000_000


@dataclass
class Line:
    """A running suite and its clients."""

    suite: Suite
    api: httpx.Client
    control: httpx.Client

    def statistics(self) -> dict[str, Any]:
        found: dict[str, Any] = self.api.get("/delivery/v1/statistics").raise_for_status().json()
        return found

    def arrived(self) -> int:
        """Return the number of messages that the simulator has accepted."""
        return int(self.control.get("counters").raise_for_status().json()["total"]["accepted"])

    def cpu(self) -> dict[str, float]:
        """Return the CPU-seconds so far, by process."""
        used = {p.name: cpu_seconds(p.pid, children=False) for p in self.suite.processes if p.pid}
        postmaster = int((self.suite.folder / "postgres" / "postmaster.pid").read_text().split()[0])
        return used | {"postgres": cpu_seconds(postmaster, children=True)}

    def send(self, lines: list[bytes]) -> None:
        """Send events as NDJSON, a thousand at a time."""
        for start in range(0, len(lines), 1_000):
            body = b"\n".join(lines[start : start + 1_000])
            headers = {"content-type": "application/x-ndjson"}
            self.api.post("/orders-notification/v1/events", content=body, headers=headers).raise_for_status()


@contextmanager
def running_line() -> Any:
    """Yield a suite in its own folder, with the shop applied."""
    folder = Path(tempfile.mkdtemp(prefix="depesche-bench-"))
    folder.chmod(0o755)
    port, mail = free_port(), free_port()
    (folder / "depesche.toml").write_text(f"[bounce]\nsmtp_port = {mail}\n")
    suite = Suite(SuiteSettings(data_dir=folder, port=port, workers=1, dsn=SecretStr("")))
    try:
        with ended_by_sigterm(), suite:
            found = credentials.read(folder / credentials.FILE_NAME)
            assert found is not None
            headers = {"authorization": f"Bearer {found.keys[Mode.LIVE]}"}
            control = json.loads((folder / "simulator.json").read_text())["control_url"]
            with (
                httpx.Client(base_url=suite.url, headers=headers, timeout=60) as api,
                httpx.Client(base_url=control, timeout=30) as control_client,
            ):
                line = Line(suite, api, control_client)
                _apply(folder)
                yield line
    finally:
        rmtree(folder, ignore_errors=True)


def _apply(folder: Path) -> None:
    environment = os.environ | {"DEPESCHE_DATA_DIR": str(folder)}
    for command in (["apply", str(SHOP)], ["templates", "publish", "--all"], ["communications", "publish", "--all"]):
        subprocess.run(
            [sys.executable, "-m", "cli.main", *command], env=environment, check=True, stdout=subprocess.DEVNULL
        )


def _customers(line: Line, count: int) -> None:
    consent = [{"topic": "price-alerts", "channel": "push", "granted": True, "how": "bench", "text_version": "1"}]
    rows = [
        json.dumps({
            "key": f"customer:{n}", "first_name": f"Name{n % 500}", "locale": "en", "phones": [f"+491522{n:07d}"],
            "devices": [{"token": f"device-{n:08d}-of-the-bench", "installation": f"app-{n}"}], "consents": consent,
        }).encode()
        for n in range(count)
    ]  # fmt: skip
    headers = {"content-type": "application/x-ndjson"}
    answer = line.api.post("/tokens/v1/imports", content=b"\n".join(rows), headers=headers).raise_for_status().json()
    _until(lambda: line.api.get(f"/tokens/v1/imports/{answer['id']}").json()["state"] == "done", "the import")


def _until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not true():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what} did not end within {_PATIENCE_SECONDS:.0f} s")
        time.sleep(0.5)


def _event(type_: str, id_: str, data: dict[str, Any]) -> bytes:
    event = {
        "specversion": "1.0", "id": id_, "source": "https://bench.example", "type": type_, "subject": id_,
        "time": datetime.now(UTC).isoformat(), "data": data,
    }  # fmt: skip
    return json.dumps(event).encode()


def measure_cost(line: Line, events: int, customers: int) -> dict[str, Any]:
    """Return CPU-µs per message by process, from the first byte to the last row of history."""
    _through(line, [_parcel(f"W-{n}", n % customers) for n in range(_WARM_UP)])
    lines = [_parcel(f"P-{n}", n % customers) for n in range(events)]
    turns = [_turn()]
    before, started = line.cpu(), time.monotonic()
    _through(line, lines)
    seconds, after = time.monotonic() - started, line.cpu()
    turns.append(_turn())
    used = {name: (after[name] - before[name]) * 1e6 / events for name in after}
    ours = sum(value for name, value in used.items() if name != "simulator")
    print(f"{events:,} events to history in {seconds:.1f} s ({events / seconds:,.0f}/s); CPU-µs per message:")
    for name, value in used.items():
        print(f"  {name:<12} {value:7.1f}{'   (left out)' if name == 'simulator' else ''}")
    turn = statistics.mean(turns)
    print(f"  {'suite':<12} {ours:7.1f}   goal {GOAL_MICROSECONDS:.0f}")
    print(f"  {'fixed loop':<12} {turn:7.1f}   ns a turn; of the suite {ours / turn:.1f} times as much, in thousands")
    result = {"events": events, "per_second": events / seconds, "cpu_us": used, "suite_cpu_us": ours}
    return result | {"loop_ns": turn, "suite_by_loop": ours / turn}


def _turn() -> float:
    """Return the CPU-ns of a turn of a loop that never changes: how fast this machine currently is."""
    started = time.process_time()
    total = 0
    for n in range(_TURNS):
        total += n * n % 7
    return (time.process_time() - started) * 1e9 / _TURNS


def _through(line: Line, lines: list[bytes]) -> None:
    """Send events and wait until history has them. Polls the simulator first, which costs the suite nothing."""
    before = line.arrived()
    line.send(lines)
    _until(lambda: line.arrived() >= before + len(lines), "the events' way to the provider")
    _until(lambda: not _outbox(line), "the events' way to history")


def _parcel(id_: str, customer: int) -> bytes:
    data = {"customer": f"customer:{customer}", "carrier": "DHL", "tracking_url": "https://track.example/1"}
    return _event("parcel.shipped", id_, data)


def measure_latency(line: Line, backlog: int, probes: int, customers: int) -> dict[str, Any]:
    """Return milliseconds from the 202 of a one-time code to its arrival: while a campaign comes in, and while it
    runs."""
    whole = _total(line) + backlog // _WATCHERS * _WATCHERS
    laying = threading.Thread(target=_lay_in, args=(line, backlog, customers))
    laying.start()
    coming = _codes(line, range(probes), "while a campaign comes in")
    laying.join()
    _until(lambda: _total(line) >= whole + probes, "the backlog's way into the ledger")
    running = _codes(line, range(probes, 2 * probes), "while it runs")
    return {"probes": probes, "coming": coming, "running": running}


def _lay_in(line: Line, backlog: int, customers: int) -> None:
    watchers = [f"customer:{n}" for n in range(customers)]
    product = {"sku": "S", "name": "Lamp", "url": "https://shop.example/p/S"}
    for n in range(backlog // _WATCHERS):
        first = n * _WATCHERS
        line.send([_event("price.dropped", f"D-{n}", {
            "product": product, "price_before": "20.00", "price_now": "10.00", "percent": 50,
            "watchers": [watchers[(first + i) % customers] for i in range(_WATCHERS)],
        })])  # fmt: skip


def _codes(line: Line, numbers: range, when: str) -> dict[str, Any]:
    """Request one code after another, and measure how long each takes."""
    arrivals, stop = _Arrivals(line.control), threading.Event()
    watching = threading.Thread(target=arrivals.watch, args=(stop,))
    watching.start()
    accepted: dict[str, float] = {}
    left = [_pending(line)]
    headers = {"content-type": "application/cloudevents+json"}
    for n in numbers:
        body = _event("login.requested", f"L-{n}", {"customer": f"customer:{n}", "code": f"{n:06d}"})
        line.api.post("/orders-notification/v1/events", content=body, headers=headers).raise_for_status()
        accepted[f"+491522{n:07d}"] = time.time()
        time.sleep(0.02)
    left.append(_pending(line))
    _until(lambda: accepted.keys() <= arrivals.at.keys(), "the codes")
    stop.set()
    watching.join()
    waits = sorted((arrivals.at[to] - at) * 1000 for to, at in accepted.items())
    p50, p99 = statistics.median(waits), waits[int(len(waits) * 0.99) - 1]
    print(f"{len(waits)} one-time codes {when}, {left[0]:,} … {left[1]:,} waiting: p50 {p50:.0f} ms, p99 {p99:.0f} ms")
    return {"pending_first": left[0], "pending_last": left[1], "p50_ms": p50, "p99_ms": p99}


def _pending(line: Line) -> int:
    return int(line.statistics()["messages"]["pending"])


class _Arrivals:
    """When each code arrived: the simulator keeps only its newest messages, so it is polled while they arrive."""

    def __init__(self, control: httpx.Client) -> None:
        self._control = control
        self.at: dict[str, float] = {}

    def watch(self, stop: threading.Event) -> None:
        while not stop.wait(0.3):
            for item in self._control.get("messages", params={"channel": "sms", "limit": 1000}).json()["items"]:
                self.at.setdefault(item["to"], datetime.fromisoformat(item["at"]).timestamp())


def _total(line: Line) -> int:
    return int(line.statistics()["messages"]["total"])


def _outbox(line: Line) -> int:
    """Return the number of delivery's events that history has not consumed yet."""
    return int(line.statistics()["outbox"])


def main() -> None:
    """Run both measurements."""
    parser = argparse.ArgumentParser(prog="python -m bench.line", description=__doc__)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--backlog", type=int, default=100_000)
    parser.add_argument("--probes", type=int, default=300, help="0: measure the cost alone")
    options = parser.parse_args()
    customers = 10_000
    with running_line() as line:
        _customers(line, customers)
        cost = measure_cost(line, options.events, customers)
        latency = measure_latency(line, options.backlog, options.probes, customers) if options.probes else None
    result = {"bench": "line", **cost, "goal_cpu_us": GOAL_MICROSECONDS, "latency": latency, "goal_p99_ms": GOAL_MS}
    print(json.dumps(result | {"cores": psutil.cpu_count()}))


if __name__ == "__main__":
    main()
