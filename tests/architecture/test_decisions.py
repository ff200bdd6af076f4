"""Decisions are found by number: each has one index entry and a heading, and every reference leads to one."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "adr"
FILES = {path.name[:4]: path for path in sorted(FOLDER.glob("[0-9]*.md"))}
_LISTED = re.compile(r"^- \[(\d{4})\]\((\S+)\) (.+)$", re.MULTILINE)
_STATUS = re.compile(r"^Status:.*?\n\n", re.MULTILINE | re.DOTALL)
_LINKED = re.compile(r"\[(\d{4})\]")
_NAMED = re.compile(r"\badr/(\d{4})|\bADR (\d{4})")


def test_the_index_lists_each_decision_once_with_its_heading() -> None:
    listed = _LISTED.findall((FOLDER / "README.md").read_text(encoding="utf-8"))
    headings = {number: path.read_text(encoding="utf-8").partition("\n")[0] for number, path in FILES.items()}
    assert len(listed) == len(FILES) > 50
    assert {number: f"# {number} {title}" for number, _, title in listed} == headings
    assert {number: name for number, name, _ in listed} == {number: path.name for number, path in FILES.items()}


def test_a_decision_that_changes_another_is_named_there() -> None:
    texts = {number: path.read_text(encoding="utf-8") for number, path in FILES.items()}
    statuses = {number: found[0] for number, text in texts.items() if (found := _STATUS.search(text))}
    changes = {(number, other) for number, status in statuses.items() for other in _LINKED.findall(status)}
    assert len(changes) > 5
    assert {(number, other) for number, other in changes if number not in texts[other]} == set()


def test_every_referenced_decision_exists() -> None:
    rooms = ("libs", "services", "cli", "bench", "tests", "docs", "dapr", "k8s", "opensearch", "tools")
    paths = [
        path for room in rooms for path in (ROOT / room).rglob("*") if path.suffix in (".py", ".md", ".sql", ".yaml")
    ]
    named = {
        (number, str(path.relative_to(ROOT)))
        for path in [ROOT / "README.md", *paths]
        for pair in _NAMED.findall(path.read_text(encoding="utf-8"))
        if (number := max(pair)) not in FILES
    }
    assert len(paths) > 500
    assert named == set()
