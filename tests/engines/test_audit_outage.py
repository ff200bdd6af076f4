"""OpenSearch dies under load: nothing is lost, nobody is blocked, and the timeline is unaffected."""

import asyncio
import resource
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from opensearchpy import AsyncOpenSearch

from cli.engines.opensearch import OpenSearch
from libs.contracts.envelope import Envelope
from libs.contracts.outcomes import Status
from libs.ids import uuid7
from libs.service import Service
from libs.settings import load
from services.history.app import create_service
from services.history.handlers import record_messages
from services.history.loops import spill
from services.history.settings import HistorySettings
from tests.conformance.history_events import moved, recorded
from tests.engines.conftest import running

OUTAGE_SECONDS = 60.0
BATCH = 200
BATCHES_A_SECOND = 2
PREFIX = "outage"


@pytest.fixture
def own(tmp_path: Path) -> Iterator[OpenSearch]:
    """A separate node, because the test kills it."""
    with running(OpenSearch(tmp_path)) as engine:
        yield engine


@pytest.fixture
async def history(own: OpenSearch, runtime: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    monkeypatch.setenv("DEPESCHE_HISTORY_OPENSEARCH_URL", own.url)
    monkeypatch.setenv("DEPESCHE_HISTORY_OPENSEARCH_PREFIX", PREFIX)
    service = create_service(runtime, load(HistorySettings))
    async with service.running():
        yield service


def chunk() -> Envelope:
    cause = uuid7()
    moves = [moved(Status.SENDING, Status.SENT, cause=cause, recipient=f"customer:{n}") for n in range(BATCH)]
    return recorded(*moves, cause=cause, request=uuid4())


class Load:
    """Send batches at a steady pace, as the relay does, and record the slowest."""

    def __init__(self, history: Service) -> None:
        self.history = history
        self.batches = 0
        self.slowest = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            began = time.monotonic()
            await record_messages(self.history.deps, [chunk()])
            took = time.monotonic() - began
            self.batches, self.slowest = self.batches + 1, max(self.slowest, took)
            await asyncio.sleep(max(0.0, 1 / BATCHES_A_SECOND - took))


@pytest.mark.timeout(600)
async def test_a_killed_cluster_loses_nothing_and_blocks_nobody(history: Service, own: OpenSearch) -> None:
    stop = asyncio.Event()
    load = Load(history)
    tasks = [asyncio.create_task(load.run(stop)), asyncio.create_task(spill(history.deps, stop))]
    await asyncio.sleep(3)
    own.kill()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    before = load.batches
    until, enough = time.monotonic() + OUTAGE_SECONDS, OUTAGE_SECONDS * BATCHES_A_SECOND * 0.7
    while time.monotonic() < until or load.batches - before < enough:  # noqa: ASYNC110
        await asyncio.sleep(0.5)
    during = load.batches - before
    assert await count(history, "select count(*) from transition") >= (load.batches - 1) * BATCH
    assert await count(history, "select sum(documents) from spill") >= (during - 2) * BATCH
    assert await count(history, "select sum(bytes) / sum(documents) from spill") < 200
    await asyncio.to_thread(own.start)
    await asyncio.sleep(3)
    stop.set()
    await asyncio.gather(*tasks)
    async with asyncio.timeout(300):
        while await count(history, "select count(*) from spill"):  # noqa: ASYNC110 - a table sets no event
            await asyncio.sleep(0 if await history.deps.drains[0].drain() else 0.5)
    assert load.slowest < OUTAGE_SECONDS / 2  # it waits for its own time-out, not for the cluster
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 200 << 10  # KiB
    sent = load.batches * BATCH
    assert await count(history, "select count(*) from transition") == sent
    async with AsyncOpenSearch([own.url], timeout=20) as client:
        await client.indices.refresh(index=f"{PREFIX}-2*")
        assert (await client.count(index=f"{PREFIX}-2*"))["count"] == sent


async def count(history: Service, statement: str) -> int:
    assert history.database is not None
    async with history.database.acquire() as connection:
        with suppress(TypeError):
            return int(await connection.fetchval(statement))
    return 0
