"""The commands as texts name them, and their flags."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from cli.main import app

NAMED = re.compile(r"`depesche ([a-z][a-z-]*(?: [a-z][a-z-]*)*)")
ROOT = get_command(app)
TEXTS = [
    path
    for folder in ("cli", "services", "libs", "docs", "examples")
    for path in (*Path(folder).rglob("*.py"), *Path(folder).rglob("*.md"))
]


def test_every_command_that_a_text_names_exists() -> None:
    named = [(path, words) for path in TEXTS for words in NAMED.findall(path.read_text(encoding="utf-8"))]
    assert len(named) > 100
    assert [f"{path}: depesche {words}" for path, words in named if not exists(words.split())] == []


def test_a_flag_that_is_off_by_default_has_no_opposite() -> None:
    flags = [(path, option) for path, command in commands() for option in command.params if option.default is False]
    assert len(flags) > 100
    assert [f"{path} {option.name}" for path, option in flags if option.secondary_opts] == []


def commands() -> Iterator[tuple[str, Any]]:
    """Yield every command and group with its words."""
    waiting: list[tuple[str, Any]] = [("depesche", ROOT)]
    while waiting:
        path, command = waiting.pop()
        yield path, command
        waiting += [(f"{path} {name}", below) for name, below in getattr(command, "commands", {}).items()]


def exists(words: list[str]) -> bool:
    """Whether the words lead to a command, which may have arguments, or to a group of commands."""
    at: Any = ROOT
    for word in words:
        below = getattr(at, "commands", None)
        if below is None:
            return True
        if word not in below:
            return False
        at = below[word]
    return True
