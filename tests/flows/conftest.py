"""A scripted suite and a shell that calls it: for tests of commands that need no services. And a world of delivery."""

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.flows.delivery_world import World, now, opened
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


@pytest.fixture
def clock() -> Callable[[], datetime]:
    """Real time; a test that moves it has a fixture of its own."""
    return now


@pytest.fixture
async def world(database: str, clock: Callable[[], datetime]) -> AsyncIterator[World]:
    ledger = await opened(database)
    yield World(ledger, clock)
    await ledger.close()
