"""Log lines are facts: a constant name, registered fields, and nothing that could be an address."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from libs.telemetry.logs import _FORBIDDEN, FIELDS

ROOT = Path(__file__).parents[2]
LEVELS = {"debug", "info", "warning", "error", "critical"}
FILES = [path for room in ("libs", "services", "cli") for path in sorted((ROOT / room).rglob("*.py"))]


def lines(path: Path) -> Iterator[ast.Call]:
    """Calls of `log.<level>(…)` and of its alias `alarm(…)`."""
    source = path.read_text()
    if "log." not in source and "alarm(" not in source:
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and (
            (
                isinstance(node.func, ast.Attribute)
                and node.func.attr in LEVELS
                and ast.unparse(node.func.value) == "log"
            )
            or (isinstance(node.func, ast.Name) and node.func.id == "alarm")
        ):
            yield node


@cache
def written() -> list[tuple[str, ast.Call]]:
    """Every log line, with its location."""
    return [(f"{path.relative_to(ROOT).as_posix()}:{call.lineno}", call) for path in FILES for call in lines(path)]


def test_no_registered_field_could_carry_an_address() -> None:
    assert len(written()) > 30
    assert not FIELDS & _FORBIDDEN


def test_a_log_line_has_a_constant_name_and_registered_fields() -> None:
    for place, call in written():
        name = call.args[0] if len(call.args) == 1 else None
        assert isinstance(name, ast.Constant), place
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", str(name.value)), place
        assert {keyword.arg for keyword in call.keywords} <= FIELDS | {"service"}, place


def test_every_field_of_the_registry_is_used() -> None:
    used = {keyword.arg for _, call in written() for keyword in call.keywords}
    assert used >= FIELDS - {"cause_id"}
