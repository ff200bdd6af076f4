"""The trace drawn by the demo, complete and incomplete."""

from typing import Any

from rich.console import Console

from examples.shop.trace import drawn


def _span(name: str, parent: str | None, start: int) -> dict[str, Any]:
    references = [{"refType": "CHILD_OF", "spanID": parent}] if parent else []
    return {
        "spanID": name, "operationName": name, "processID": "p1", "references": references,
        "startTime": start, "duration": 1_000,
    }  # fmt: skip


def _lines(spans: list[dict[str, Any]], missing: str = "") -> list[str]:
    told = {"traceID": "abc", "spans": spans, "processes": {"p1": {"serviceName": "delivery"}}}
    console = Console(width=200, no_color=True)
    with console.capture() as shown:
        console.print(drawn(told, missing))
    return shown.get().splitlines()


def test_a_child_is_drawn_below_its_parent_despite_clock_skew() -> None:
    head, first, second = _lines([_span("child", "root", 5_000), _span("root", None, 6_000)])
    assert head == "trace abc: 2 spans of 1 programs"
    assert "root" in first
    assert "child" in second
    assert second.index("child") > first.index("root")


def test_a_span_with_a_missing_parent_is_drawn_at_the_root() -> None:
    head, *rest = _lines([_span("root", None, 0), _span("orphan", "lost", 2_000)], "the parent of orphan")
    assert head.endswith("; not there yet: the parent of orphan")
    assert [any(name in line for line in rest) for name in ("root", "orphan")] == [True, True]
