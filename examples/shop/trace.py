"""The way of one send through all programs, as Jaeger tells it: a tree of spans, with the time from its start."""

import time
from typing import Any

import httpx
from rich.tree import Tree

_PATIENCE_SECONDS = 60.0  # each process exports its spans every few seconds
LAST = "history message.recorded"  # history has heard of the send


def trace_of(jaeger_url: str, trace_id: str) -> Tree:
    """The whole trace, each span below its parent in the order of their starts. Waits until `LAST` is among its
    spans and no parent is missing. Raises SystemExit when that takes too long."""
    until = time.monotonic() + _PATIENCE_SECONDS
    with httpx.Client(base_url=jaeger_url, timeout=20, trust_env=False) as jaeger:
        while time.monotonic() < until:
            answer = jaeger.get(f"/api/traces/{trace_id}")  # 404 until its first span has come
            if answer.is_success and _whole(told := answer.json()["data"][0]):
                return _drawn(told)
            time.sleep(0.5)
    raise SystemExit(f"Jaeger has no whole trace {trace_id} after {_PATIENCE_SECONDS:.0f} s.")


def _whole(told: dict[str, Any]) -> bool:
    known = {span["spanID"] for span in told["spans"]} | {None}
    names = {span["operationName"] for span in told["spans"]}
    return LAST in names and all(_parent(span) in known for span in told["spans"])


def _drawn(told: dict[str, Any]) -> Tree:
    spans = sorted(told["spans"], key=lambda span: span["startTime"])
    start = spans[0]["startTime"]
    programs = {name: process["serviceName"] for name, process in told["processes"].items()}
    tree = Tree(f"trace {told['traceID']}: {len(spans)} spans of {len(set(programs.values()))} programs")
    branches: dict[str | None, Tree] = {None: tree}
    # a clock of another process may put a child before its parent: who waits is drawn in a later round
    while spans:
        placed = [span for span in spans if _parent(span) in branches]
        for span in placed:
            at, took = (span["startTime"] - start) / 1000, span["duration"] / 1000  # from µs
            words = f"{span['operationName']}  [dim]{programs[span['processID']]}, at {at:.0f} ms, {took:.1f} ms[/]"
            branches[span["spanID"]] = branches[_parent(span)].add(words)
        spans = [span for span in spans if span not in placed]
    return tree


def _parent(span: dict[str, Any]) -> str | None:
    return next((one["spanID"] for one in span["references"] if one["refType"] == "CHILD_OF"), None)
