"""Log lines are facts: a constant name, fields of one registry, nothing that could be an address."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from libs.telemetry.logs import _FORBIDDEN, FIELDS

ROOT = Path(__file__).parents[2]
LEVELS = {"debug", "info", "warning", "error", "critical"}
FILES = [path for room in ("libs", "services", "cli") for path in sorted((ROOT / room).rglob("*.py"))]


def lines(path: Path) -> Iterator[ast.Call]:
    """Calls of `log.<level>(…)` and of its alias `alarm(…)`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and (
            (
                isinstance(node.func, ast.Attribute)
                and node.func.attr in LEVELS
                and ast.unparse(node.func.value) == "log"
            )
            or (isinstance(node.func, ast.Name) and node.func.id == "alarm")
        ):
            yield node


WRITTEN = [(path.relative_to(ROOT).as_posix(), call) for path in FILES for call in lines(path)]


def test_a_registry_without_a_field_that_could_carry_an_address() -> None:
    assert len(WRITTEN) > 30
    assert not FIELDS & _FORBIDDEN


@pytest.mark.parametrize(("path", "call"), WRITTEN, ids=[f"{path}:{call.lineno}" for path, call in WRITTEN])
def test_a_log_line_is_a_fact_with_known_fields(path: str, call: ast.Call) -> None:
    name = call.args[0] if len(call.args) == 1 else None
    assert isinstance(name, ast.Constant), path
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", str(name.value)), path
    assert {keyword.arg for keyword in call.keywords} <= FIELDS | {"service"}, path


def test_every_field_of_the_registry_is_used() -> None:
    used = {keyword.arg for _, call in WRITTEN for keyword in call.keywords}
    assert used >= FIELDS - {"cause_id"}
