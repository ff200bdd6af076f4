"""Reconciles the day: what the shop expected, what the ledger says, and what the providers saw."""

import sys
from dataclasses import asdict, dataclass, field
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from cli.supervisor import Supervisor
from examples.shop.day import Day
from libs import credentials
from libs.contracts.outcomes import Mode
from libs.suite import read_simulator

STATUSES = ("sent", "failed", "skipped", "suppressed", "unknown", "pending")


@dataclass(frozen=True, slots=True)
class Sums:
    """The ledger's counters, and whether anything is still moving."""

    messages: dict[str, int]
    communications: dict[str, dict[str, int]]
    settled: bool

    @property
    def final(self) -> int:
        return self.messages["total"] - self.messages["pending"]


@dataclass
class Report:
    """The day in numbers; `problems` is empty on a good one."""

    events: dict[str, int]
    messages: dict[str, int]
    provider: dict[str, int]
    seconds: float
    communications: dict[str, dict[str, int]]
    expected: dict[str, int]
    repeats: list[dict[str, Any]]
    problems: list[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """Return the content of demo-report.json."""
        return asdict(self)

    def check(self) -> None:
        """Check every sum that must hold."""
        e, m, p = self.events, self.messages, self.provider
        self._same("events", e["received"], e["accepted"] + e["duplicate"] + e["rejected"])
        self._same("messages", m["expected"], sum(m[status] for status in STATUSES))
        for name, count in self.expected.items():
            self._same(f"messages of {name}", count, self.communications.get(name, {}).get("total", 0))
        self._same("pending messages", 0, m["pending"])
        self._same("repeats explained", p["repeated"], p["repeated_explained"])
        if p["distinct"] < m["sent"]:
            self.problems.append(f"{m['sent']:,} messages are recorded as sent, but only {p['distinct']:,} arrived.")

    def _same(self, what: str, wanted: int, found: int) -> None:
        if wanted != found:
            self.problems.append(f"{what}: expected {wanted:,}, found {found:,}.")

    def show(self, console: Console) -> None:
        """Print the tables for people."""
        table = Table(title="Messages by communication", title_justify="left")
        for heading in ("communication", "expected", *STATUSES):
            table.add_column(heading, justify="left" if heading == "communication" else "right")
        for name, wanted in sorted(self.expected.items()):
            row = self.communications.get(name, {})
            table.add_row(name, f"{wanted:,}", *(f"{row.get(status, 0):,}" for status in STATUSES))
        table.add_section()
        sums = (f"{self.messages[status]:,}" for status in STATUSES)
        table.add_row("sum", f"{self.messages['expected']:,}", *sums, style="bold")
        console.print(table)
        self._show_providers(console)

    def _show_providers(self, console: Console) -> None:
        e, p = self.events, self.provider
        console.print(
            f"Events: {e['received']:,} received = {e['accepted']:,} accepted + {e['duplicate']:,} duplicates"
            f" + {e['rejected']:,} refused"
        )
        console.print(
            f"Providers: {p['calls']:,} calls, {p['accepted']:,} accepted, {p['distinct']:,} distinct messages; "
            f"ledger: {self.messages['sent']:,} sent"
        )
        console.print(f"Repeats that a provider accepted: {p['repeated']:,}, explained {p['repeated_explained']:,}")
        for repeat in self.repeats[:5]:
            console.print(f"  {repeat['message']} ({repeat['channel']}) {repeat['times']} times: {repeat['because']}")
        if len(self.repeats) > 5:
            console.print(f"  … and {len(self.repeats) - 5:,} more in demo-report.json")
        rate = self.messages["sent"] / self.seconds
        console.print(f"{self.seconds:.0f} s in total, {rate:,.0f} messages per second over the whole day")


class Reckoning:
    """Queries the suite and the simulator over HTTP, like any other client."""

    def __init__(self, suite: Supervisor, day: Day) -> None:
        found = credentials.read(suite.folder / credentials.FILE_NAME)
        endpoints = read_simulator(suite.folder)
        assert found is not None
        assert endpoints is not None
        self._day = day
        headers = {"authorization": f"Bearer {found.keys[Mode.LIVE]}"}
        self._api = httpx.Client(base_url=suite.url, headers=headers, timeout=30)
        self._control = httpx.Client(base_url=endpoints.control_url, timeout=30)

    def sums(self) -> Sums:
        """Return the ledger's current counters."""
        found = self._get("/delivery/v1/statistics")
        still = found["messages"]["pending"] or found["outbox"] or sum(found["backlog"].values())
        owed = self._control.get("counters").json()["owed"]
        enough = found["messages"]["total"] >= sum(self._day.expected.values())
        return Sums(found["messages"], found["communications"], settled=enough and not still and not owed)

    def send_traced(self, event: bytes) -> str:
        """Send one event; return the id of its trace."""
        kind = {"content-type": "application/cloudevents+json"}
        answer = self._api.post("/orders-notification/v1/events", content=event, headers=kind).raise_for_status()
        return str(self._get(f"/orders-notification/v1/events/{answer.json()['id']}")["trace_id"])

    def break_mail_server(self, seconds: float) -> None:
        """Make the mail server answer 451 to everybody for a while."""
        order = {"channel": "smtp", "fault": "451", "seconds": seconds}
        self._control.post("faults", json=order).raise_for_status()

    def report(self, seconds: float, events: dict[str, int]) -> Report:
        """Return the whole report, checked."""
        sums, counters = self.sums(), self._control.get("counters").json()
        repeats = [self._explained(repeat) for repeat in self._control.get("repeats").json()["items"]]
        total = counters["total"]
        provider = {name: int(total[name]) for name in ("calls", "accepted", "distinct", "repeated")}
        provider["repeated_explained"] = sum(repeat["explained"] for repeat in repeats)
        expected = sum(self._day.expected.values())
        report = Report(
            events=events,
            messages={"expected": expected, **{status: sums.messages[status] for status in STATUSES}},
            provider=provider,
            seconds=round(seconds, 1),
            communications=sums.communications,
            expected=dict(self._day.expected),
            repeats=repeats,
        )
        report.check()
        return report

    def _explained(self, repeat: dict[str, Any]) -> dict[str, Any]:
        """A repeat is explained by an attempt with an unknown outcome: a timeout, or a killed worker."""
        message = self._get(f"/delivery/v1/messages/{repeat['message']}")
        unknown = [attempt for attempt in message["attempts"] if attempt["status"] == "unknown"]
        times = len(repeat["accepted"])
        reasons = sorted({str(attempt["reason"]) for attempt in unknown})
        return {
            "channel": repeat["channel"],
            "message": repeat["message"],
            "times": times,
            "explained": min(times - 1, len(unknown)),
            "because": f"unknown after {', '.join(reasons)}, then sent again" if unknown else "unexplained",
        }

    def _get(self, path: str, **query: Any) -> Any:
        return self._api.get(path, params=query).raise_for_status().json()


if __name__ == "__main__":
    sys.exit("This is a part of `make demo`.")
