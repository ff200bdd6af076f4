"""The code keeps its shape: small files, short functions, no catch-alls, no unfinished work."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = [path for room in ("libs", "services", "cli", "bench", "examples") for path in (ROOT / room).rglob("*.py")]
TESTS = list((ROOT / "tests").rglob("*.py"))

MOST_LINES = 300
MOST_FUNCTION_LINES = 40
MOST_PARAMETERS = 5

# The two renderers of errors, and code that must survive a bug; each says why beside it.
CATCHES_ALL = {
    "libs/messaging/delivering.py": "the bus's renderer",
    "libs/messaging/topics.py": "the bus's renderer, for topics of others",
    "libs/service.py": "keeps loops alive",
    "services/bounce/handlers/mails.py": "a mail that cannot be stored keeps no other out",
    "services/delivery/adapters/fcm/chunk.py": "hands on what `settle` raised; a push that has no JSON costs no other",
    "services/delivery/loops/sender.py": "a provider that raises costs no other sender its answers",
    "services/delivery/adapters/smtp/dialogue.py": "hands what a callback raised to whoever waits for it",
}
# FastAPI and typer declare one parameter per path part, query field and option.
WIDE = ("services/*/api.py", "services/*/api/*.py", "cli/*.py", "cli/*/*.py", "bench/*.py", "examples/*/*.py")


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.fixture(scope="module", autouse=True)
def _forget_trees() -> Iterator[None]:
    """Millions of nodes would slow every later garbage collection."""
    yield
    tree.cache_clear()
    functions.cache_clear()


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def test_no_file_is_too_long() -> None:
    lengths = {named(path): len(path.read_text().splitlines()) for path in CODE + TESTS}
    assert len(lengths) > 500
    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}


def test_no_function_is_too_long() -> None:
    lengths = {f"{named(path)}:{f.lineno} {f.name}": (f.end_lineno or 0) - f.lineno + 1 for path, f in ours()}
    assert {name: length for name, length in lengths.items() if length > MOST_FUNCTION_LINES} == {}


def test_no_function_takes_more_than_five_parameters() -> None:
    wide = []
    for path, function in ours():
        given = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        many = len([a for a in given if a.arg not in ("self", "cls")]) > MOST_PARAMETERS
        if many and not any(path.match(pattern) for pattern in WIDE):
            wide.append(f"{named(path)}:{function.lineno} {function.name}")
    assert wide == []


def ours() -> Iterator[tuple[Path, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Every function of the code, with its file."""
    return ((path, function) for path in CODE for function in functions(path))


def test_no_handler_swallows_every_error() -> None:
    caught = [
        f"{named(path)}:{node.lineno}"
        for path in CODE
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in ("Exception", "BaseException"))
        and not any(isinstance(inner, ast.Raise) and inner.exc is None for inner in ast.walk(node))
    ]
    assert {place.partition(":")[0] for place in caught} == CATCHES_ALL.keys(), caught


def test_every_module_says_what_it_owns() -> None:
    silent = [named(path) for path in CODE if path.read_text().strip() and not ast.get_docstring(tree(path))]
    assert silent == []


def test_no_unfinished_work_and_no_patches() -> None:
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|NotImplementedError|mock\.patch|pytest\.mark\.(skip|xfail)\b")
    left = [named(path) for path in CODE + TESTS if path != Path(__file__) and marks.search(path.read_text())]
    assert left == []


def test_every_test_asserts_something() -> None:
    silent = []
    for path in TESTS:
        if not path.name.startswith("test_"):
            continue
        for function in functions(path):
            if function.name.startswith("test") and not _asserts(function):
                silent.append(f"{named(path)}:{function.lineno} {function.name}")
    assert silent == []


def _asserts(function: ast.AST) -> bool:
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))  # what is called, without its module
            if name in ("raises", "warns", "fail", "eventually") or name.startswith(
                ("assert", "check", "expect", "verify")
            ):
                return True
    return False
