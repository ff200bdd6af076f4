"""The numbers that `up` shows cost the suite little, even when there is much to add up."""

import time
from pathlib import Path
from types import SimpleNamespace

import httpx

from cli.up import _Figures


def test_slow_sums_are_queried_less_often(tmp_path: Path) -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        time.sleep(0.02)
        return httpx.Response(200, json={"requests": len(asked)})

    figures = _Figures(SimpleNamespace(url="http://suite", folder=tmp_path))  # type: ignore[arg-type]
    figures._client = httpx.Client(base_url="http://suite", transport=httpx.MockTransport(answer))
    assert [figures.read() for _ in range(3)] == [{"requests": 1}] * 3
    figures._again_at = time.monotonic()
    assert figures.read() == {"requests": 2}
