"""A scripted suite and a shell that calls it: for tests of commands that need no services."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.scripted_suite import KEY, ScriptedSuite
from tests.shell import Shell, serving


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[ScriptedSuite, str]]:
    suite = ScriptedSuite()
    with serving(suite) as url:
        yield suite, url


@pytest.fixture
def suite(served: tuple[ScriptedSuite, str]) -> ScriptedSuite:
    served[0].forget()
    return served[0]


@pytest.fixture
def shell(
    suite: ScriptedSuite, served: tuple[ScriptedSuite, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Shell:
    monkeypatch.chdir(tmp_path)
    return Shell({"DEPESCHE_URL": served[1], **KEY})
