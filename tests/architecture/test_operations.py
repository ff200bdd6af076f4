"""The operators' page documents every metric and every retention period, and names nothing else."""

import ast
import importlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from libs.settings import ServiceSettings

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "operations.md"
ALERTS = ROOT / "k8s" / "monitoring" / "alerts.yaml"
KINDS = {"Counter", "Gauge", "Histogram", "Metric"}  # Metric: a Counter beside collections.Counter


@cache
def declared() -> dict[str, ast.Call]:
    """Metrics by the name that a dashboard queries."""
    found: dict[str, ast.Call] = {}
    for room in ("libs", "services"):
        for path in (ROOT / room).rglob("*.py"):
            source = path.read_text()
            if "depesche_" not in source:
                continue
            for node in ast.walk(ast.parse(source)):
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


def test_the_operators_page_documents_every_retention_period() -> None:
    kept = {
        f"{one.SECTION}.{name}": str(field.default)
        for one in settings()
        for name, field in one.model_fields.items()
        if name.endswith("_days") and re.search(r"\bke(pt|eps)\b", field.description or "")
    }
    listed = dict(re.findall(r"^\| `(\w+\.\w+_days)` \| (\d+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    assert len(listed) > 5
    assert listed == kept


def settings() -> list[type[ServiceSettings]]:
    """Of every service that has any."""
    for path in (ROOT / "services").glob("*/settings.py"):
        importlib.import_module(f"services.{path.parent.name}.settings")
    return [one for one in ServiceSettings.__subclasses__() if one.__module__.startswith("services.")]


def test_gauges_declare_how_processes_are_aggregated() -> None:
    # otherwise every process would be a series of its own, under a label `pid`
    silent = [
        name
        for name, call in declared().items()
        if ast.unparse(call.func) == "Gauge" and "multiprocess_mode" not in {keyword.arg for keyword in call.keywords}
    ]
    assert silent == []


def test_labels_are_few_and_identify_nobody() -> None:
    allowed = {
        "service", "route", "status", "loop", "lane", "what", "tenant", "mode", "sender", "reason", "channel", "type",
        "subscriber", "verdict", "source", "outcome", "category", "origin", "provider", "statement", "error",
    }  # fmt: skip
    used = set()
    for call in declared().values():
        labels = call.args[2] if len(call.args) > 2 else None
        used |= set(ast.literal_eval(labels)) if isinstance(labels, ast.List) else set()
    assert used <= allowed
    assert used


def alerts() -> list[dict[str, Any]]:
    document = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))
    return [rule for group in document["spec"]["groups"] for rule in group["rules"]]


def selectors(node: Any) -> Iterator[Any]:
    """The series that an expression queries."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for name in ("expr", "lhs", "rhs", "vector_selector", "selector"):
        if (inner := getattr(node, name, None)) is not None and not isinstance(inner, str):
            yield from selectors(inner)
    for argument in getattr(node, "args", None) or ():
        yield from selectors(argument)


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_each_alarm_uses_existing_metrics_and_labels_and_says_what_to_do(rule: dict[str, Any]) -> None:
    known = declared()
    read = list(selectors(promql_parser.parse(rule["expr"])))
    assert read
    for series in read:
        name = series.name.removesuffix("_bucket")
        assert name in known
        labels = known[name].args[2:3]
        given = set(ast.literal_eval(labels[0])) if labels and isinstance(labels[0], ast.List) else set()
        assert {matcher.name for matcher in series.matchers.matchers} <= given | {"le"}
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"].endswith(".")
    assert rule["annotations"]["description"]


_STEP = re.compile(r"increase\(\s*(?P<name>depesche_\w+)(?P<labels>{[^}]*})?\[(?P<window>\w+)\]\)\)? > 0(?!\.)")


def test_an_alarm_about_a_single_event_sees_a_counters_first_one() -> None:
    """A labelled counter appears with the value 1, so that it never increases to it."""
    alone = [rule for rule in alerts() if "for" not in rule]
    steps = [(rule["expr"], step) for rule in alone for step in _STEP.finditer(rule["expr"])]
    labelled = [(expr, step) for expr, step in steps if len(declared()[step["name"]].args) > 2]
    assert len(labelled) >= 7
    for expr, step in labelled:
        series = f"{step['name']}{step['labels'] or ''}"
        assert f"({series} unless {series} offset {step['window']}) > 0" in expr


def test_every_alarm_on_the_page_is_a_rule() -> None:
    rows = re.findall(r"^\| `(depesche_\w+)[^|]*\|[^|]*\|([^|]*)\|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    wanted = {name for name, alarm in rows if alarm.strip() != "–"}
    assert len(wanted) > 15
    read = {s.name.removesuffix("_bucket") for rule in alerts() for s in selectors(promql_parser.parse(rule["expr"]))}
    assert wanted - read == set()


def test_alarm_names_are_unique() -> None:
    names = [rule["alert"] for rule in alerts()]
    assert len(names) == len(set(names))
