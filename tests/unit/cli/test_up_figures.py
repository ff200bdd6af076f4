"""The numbers that `up` shows cost the suite little, even when there is much to add up."""

import time
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from cli.up import _Figures


def test_slow_sums_are_queried_less_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    now = 1_000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)

    def answer(request: httpx.Request) -> httpx.Response:
        nonlocal now
        asked.append(request)
        now += 0.5
        return httpx.Response(200, json={"requests": len(asked)})

    figures = _Figures(SimpleNamespace(url="http://suite", folder=tmp_path))  # type: ignore[arg-type]
    figures._client = httpx.Client(base_url="http://suite", transport=httpx.MockTransport(answer))
    assert [figures.read() for _ in range(3)] == [{"requests": 1}] * 3
    now = 1_009.9
    assert figures.read() == {"requests": 1}
    now = 1_010.0  # twenty times as long as the sums took
    assert figures.read() == {"requests": 2}
