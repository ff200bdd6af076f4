"""The house keeps its shape: small files, short functions, no catch-alls, nothing left to do."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = [path for room in ("libs", "services", "cli", "bench", "examples") for path in (ROOT / room).rglob("*.py")]
TESTS = list((ROOT / "tests").rglob("*.py"))

MOST_LINES = 300
MOST_FUNCTION_LINES = 40
MOST_PARAMETERS = 5

# The two renderers of errors and what must outlive a bug; each says why beside it.
CATCHES_ALL = {
    "libs/messaging/delivering.py": "the bus's renderer",
    "libs/messaging/topics.py": "the bus's renderer, for topics of others",
    "libs/service.py": "keeps loops alive",
    "services/delivery/adapters/fcm/chunk.py": "hands on what `settle` raised; a push that has no JSON costs no other",
    "services/delivery/adapters/smtp/dialogue.py": "hands what a callback raised to whoever waits for it",
}
# FastAPI and typer declare one parameter per path part, query field and option.
WIDE = ("services/*/api.py", "services/*/api/*.py", "cli/*.py", "cli/*/*.py", "bench/*.py", "examples/*/*.py")


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", CODE + TESTS, ids=named)
def test_no_file_is_too_long_to_read(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MOST_LINES


@pytest.mark.parametrize("path", CODE, ids=named)
def test_no_function_is_too_long_to_see(path: Path) -> None:
    long = [f"{f.name}:{f.lineno}" for f in functions(path) if f.end_lineno - f.lineno + 1 > MOST_FUNCTION_LINES]  # type: ignore[operator]
    assert long == []


@pytest.mark.parametrize("path", [p for p in CODE if not any(p.match(w) for w in WIDE)], ids=named)
def test_no_function_takes_more_than_five_parameters(path: Path) -> None:
    wide = []
    for function in functions(path):
        given = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        if len([a for a in given if a.arg not in ("self", "cls")]) > MOST_PARAMETERS:
            wide.append(f"{function.name}:{function.lineno}")
    assert wide == []


@pytest.mark.parametrize("path", CODE, ids=named)
def test_nobody_swallows_every_error(path: Path) -> None:
    caught = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in ("Exception", "BaseException"))
        and not any(isinstance(inner, ast.Raise) and inner.exc is None for inner in ast.walk(node))
    ]
    assert caught == [] or named(path) in CATCHES_ALL


@pytest.mark.parametrize("path", CODE, ids=named)
def test_every_module_says_what_it_owns(path: Path) -> None:
    source = path.read_text()
    assert not source.strip() or ast.get_docstring(ast.parse(source))


@pytest.mark.parametrize("path", CODE + [p for p in TESTS if p != Path(__file__)], ids=named)
def test_nothing_is_left_to_do_and_nothing_is_patched(path: Path) -> None:
    marks = r"\b(TODO|FIXME|XXX|HACK)\b|NotImplementedError|mock\.patch|pytest\.mark\.(skip|xfail)\b"
    assert re.findall(marks, path.read_text()) == []


def test_every_test_asserts_something() -> None:
    silent = []
    for path in TESTS:
        for function in functions(path):
            if function.name.startswith("test") and path.name.startswith("test_") and not _asserts(function):
                silent.append(f"{named(path)}:{function.lineno} {function.name}")
    assert silent == []


def _asserts(function: ast.AST) -> bool:
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func).rpartition(".")[2]
            if name in ("raises", "warns", "fail", "eventually") or name.startswith(
                ("assert", "check", "expect", "verify")
            ):
                return True
    return False
