"""An unavailable store beside Postgres is reported, and keeps no service from being ready."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli import doctor_stores
from libs.service_client import Transport
from libs.settings import load
from services.history.app import create_service
from services.history.handlers import record_messages
from services.history.settings import HistorySettings
from tests.conformance.history_events import KIM, MESSAGE, SENT
from tests.flows.histories import access


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Set the addresses of both stores to closed ports."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("DEPESCHE_HISTORY_OPENSEARCH_URL", f"http://{place}")
        monkeypatch.setenv("DEPESCHE_HISTORY_MONGO_URL", f"mongodb://{place}/x?serverSelectionTimeoutMS=200")
        monkeypatch.setenv("DEPESCHE_DATA_DIR", str(tmp_path))
        monkeypatch.setattr("libs.probes._READY_SECONDS", 60.0)  # for Postgres, on a slow machine
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
async def test_searches_say_that_they_come_too_early_and_records_wait(
    runtime: Any, transports: dict[str, Transport], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DEPESCHE_HISTORY_MONGO_URL")
    transports["access"] = access()
    service = create_service(runtime, load(HistorySettings))
    async with service.running():
        await record_messages(service.deps, [SENT])
        headers = {"authorization": "Bearer support"}
        transport = httpx.ASGITransport(service.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://history", headers=headers) as client:
            searched = await client.get("/v1/audit")
            known = await client.get("/v1/timeline", params={"recipient": KIM})
        assert service.database is not None
        async with service.database.acquire() as connection:
            spilled = await connection.fetchval("select sum(documents) from spill")
    assert (searched.status_code, "retry-after" in searched.headers) == (503, True)
    assert (known.status_code, known.json()["complete"], spilled) == (200, False, 1)
    assert [entry["message"] for entry in known.json()["items"]] == [MESSAGE]


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
