"""Every metric is on the operators' page with what it means, and the page names no other."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "operations.md"
KINDS = {"Counter", "Gauge", "Histogram", "Metric"}  # Metric: a Counter beside collections.Counter


def declared() -> dict[str, ast.Call]:
    """Metrics by the name that a dashboard sees."""
    found: dict[str, ast.Call] = {}
    for room in ("libs", "services"):
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KINDS:
                    name = (
                        ast.literal_eval(node.args[0]) if node.args and isinstance(node.args[0], ast.Constant) else ""
                    )
                    if str(name).startswith("depesche_"):
                        found[f"{name}_total" if node.func.id in ("Counter", "Metric") else str(name)] = node
    return found


def test_the_operators_page_lists_every_metric_and_no_other() -> None:
    listed = set(re.findall(r"^\| `(depesche_\w+)", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    assert len(listed) > 20
    assert listed == set(declared())


def test_gauges_say_how_processes_are_added_up() -> None:
    # without it every process would be a series of its own, under a label `pid`
    silent = [
        name
        for name, call in declared().items()
        if ast.unparse(call.func) == "Gauge" and "multiprocess_mode" not in {keyword.arg for keyword in call.keywords}
    ]
    assert silent == []


def test_labels_are_few_and_name_nobody() -> None:
    allowed = {
        "service", "route", "status", "loop", "lane", "what", "tenant", "mode", "sender", "reason", "channel", "type",
        "subscriber", "verdict", "source", "outcome", "category", "origin",
    }  # fmt: skip
    used = set()
    for call in declared().values():
        labels = call.args[2] if len(call.args) > 2 else None
        used |= set(ast.literal_eval(labels)) if isinstance(labels, ast.List) else set()
    assert used <= allowed
    assert used
