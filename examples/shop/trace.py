"""The way of one send through all programs, as Jaeger has it: a tree of spans, with the time from its start."""

import time
from typing import Any

import httpx
from rich.tree import Tree

_PATIENCE_SECONDS = 60.0  # each process exports its spans every few seconds
LAST = "history message.recorded"  # history has received the event about the send


def trace_of(jaeger_url: str, trace_id: str) -> Tree:
    """Return the trace, each span below its parent, sorted by start. Waits until `LAST` is among its spans and no
    parent is missing; after a timeout it draws the spans received, and says what is missing. Raises SystemExit if there
    are none."""
    until, told, missing = time.monotonic() + _PATIENCE_SECONDS, None, ""
    with httpx.Client(base_url=jaeger_url, timeout=20, trust_env=False) as jaeger:
        while time.monotonic() < until:
            answer = jaeger.get(f"/api/traces/{trace_id}")  # 404 until its first span arrives
            if answer.is_success:
                told = answer.json()["data"][0]
                if not (missing := _missing(told)):
                    break
            time.sleep(0.5)
    if told is None:
        raise SystemExit(f"Jaeger has nothing of trace {trace_id} after {_PATIENCE_SECONDS:.0f} s.")
    return drawn(told, missing)


def _missing(told: dict[str, Any]) -> str:
    """Say what a trace lacks; empty if it is complete."""
    known = {span["spanID"] for span in told["spans"]} | {None}
    lost = [LAST] if all(span["operationName"] != LAST for span in told["spans"]) else []
    lost += sorted(f"the parent of {span['operationName']}" for span in told["spans"] if _parent(span) not in known)
    return ", ".join(lost)


def drawn(told: dict[str, Any], missing: str = "") -> Tree:
    """Draw a trace from Jaeger's API. A span whose parent is missing is put at the root."""
    spans = sorted(told["spans"], key=lambda span: span["startTime"])
    known, start = {span["spanID"] for span in spans}, spans[0]["startTime"]
    programs = {name: process["serviceName"] for name, process in told["processes"].items()}
    label = f"trace {told['traceID']}: {len(spans)} spans of {len(set(programs.values()))} programs"
    tree = Tree(f"{label}; not there yet: {missing}" if missing else label)
    branches: dict[str | None, Tree] = {None: tree}
    # another process's clock may put a child before its parent: it is then drawn in a later round
    while spans:
        placed = [span for span in spans if _parent(span) in branches or _parent(span) not in known]
        for span in placed:
            at, took = (span["startTime"] - start) / 1000, span["duration"] / 1000  # from µs
            words = f"{span['operationName']}  [dim]{programs[span['processID']]}, at {at:.0f} ms, {took:.1f} ms[/]"
            branches[span["spanID"]] = branches.get(_parent(span), tree).add(words)
        spans = [span for span in spans if span not in placed]
    return tree


def _parent(span: dict[str, Any]) -> str | None:
    return next((one["spanID"] for one in span["references"] if one["refType"] == "CHILD_OF"), None)
