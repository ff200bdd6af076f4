"""docs/life-of-a-notification.md is true: its Python runs against the whole suite, and its code map names
real files.
"""

import ast
import re
from collections.abc import Iterator
from inspect import CO_COROUTINE
from pathlib import Path
from types import CodeType
from typing import Any

import httpx
import pytest

from tests.flows.whole_suite import open_shop, whole_suite

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "life-of-a-notification.md"
_FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PLACE = re.compile(r"`([\w/]+\.py):([\w.]+)`")


def blocks() -> Iterator[CodeType]:
    """Yield the page's Python, each block compiled with its own line numbers, so that a failure points
    into the page."""
    text = PAGE.read_text(encoding="utf-8")
    for found in _FENCE.finditer(text):
        lines_above = text.count("\n", 0, found.start(1))
        yield compile("\n" * lines_above + found[1], str(PAGE), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


async def test_the_page_tells_what_happens(database: str, tmp_path: Path) -> None:
    async with whole_suite(database, tmp_path) as suite:
        await open_shop(suite)
        names: dict[str, Any] = {"suite": suite, "httpx": httpx}
        for block in blocks():
            acted = eval(block, names)
            if block.co_flags & CO_COROUTINE:
                await acted
        assert names["suppression"]["active"], "the page was acted to its end"


def places() -> list[tuple[str, str]]:
    text = PAGE.read_text(encoding="utf-8")
    return sorted(set(_PLACE.findall(text[text.index("## Code map") :])))


@pytest.mark.parametrize(("path", "name"), places())
def test_the_code_map_names_what_is_there(path: str, name: str) -> None:
    assert name in set(_defined(ast.parse((ROOT / path).read_text(encoding="utf-8")), ""))


def _defined(node: ast.AST, prefix: str) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield prefix + child.name
            if isinstance(child, ast.ClassDef):
                yield from _defined(child, f"{prefix}{child.name}.")


def test_every_stage_of_the_line_has_its_place_in_the_map() -> None:
    text = PAGE.read_text(encoding="utf-8")
    stages = [name.lower() for name in re.findall(r"^### \d+\. (?:The )?(.+)$", text, re.MULTILINE)]
    mapped = set(re.findall(r"^\| ([^|]+?) \|", text[text.index("## Code map") :], re.MULTILINE))
    assert len(stages) == 16
    assert set(stages) <= mapped
