"""These tests wait for short timeouts, and their servers run in the same process: their clock is `tests.steady`."""

import asyncio
import inspect
import time
from collections.abc import Callable, Mapping

import pytest

from tests import steady


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"steady": steady.SteadyLoop}


@pytest.fixture(autouse=True)
def _steady_time(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an asynchronous test calls sees the loop's clock. Without a loop it would stand still."""
    if inspect.iscoroutinefunction(request.function):
        monkeypatch.setattr(time, "monotonic", steady.monotonic)
