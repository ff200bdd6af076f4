"""A store beside Postgres that is away is told of, and keeps nobody out."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli import doctor_stores
from libs.settings import load
from services.history.app import create_service
from services.history.settings import HistorySettings


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Addresses of both stores where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("DEPESCHE_HISTORY_OPENSEARCH_URL", f"http://{place}")
        monkeypatch.setenv("DEPESCHE_HISTORY_MONGO_URL", f"mongodb://{place}/x?serverSelectionTimeoutMS=200")
        monkeypatch.setenv("DEPESCHE_DATA_DIR", str(tmp_path))
        yield


@pytest.mark.usefixtures("nobody")
async def test_readiness_names_what_is_away_and_lets_requests_in(runtime: Any) -> None:
    service = create_service(runtime, load(HistorySettings))
    async with service.running():
        transport = httpx.ASGITransport(service.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://history") as client:
            answer = await client.get("/health/ready")
    assert (answer.status_code, answer.json()) == (
        200, {"status": "ok", "service": "history", "mongodb": "away", "opensearch": "away"}
    )  # fmt: skip


@pytest.mark.usefixtures("nobody")
def test_the_doctor_names_what_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_stores, "_SECONDS", 2.0)
    findings = asyncio.run(doctor_stores.stores())
    assert [(one.check, one.state) for one in findings] == [("mongodb", "warning"), ("opensearch", "warning")]
    assert all("Nothing is lost" in one.advice for one in findings)


def test_the_doctor_has_nothing_to_say_of_stores_that_are_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DEPESCHE_DATA_DIR", str(tmp_path))
    assert asyncio.run(doctor_stores.stores()) == []
