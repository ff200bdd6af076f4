"""Documents that the audit's store cannot accept wait in Postgres: bounded, in order, without blocking callers."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from opensearchpy.exceptions import ConnectionError as NoConnection

from libs.errors import Unavailable
from libs.storage.database import Database
from services.history.adapters.opensearch import OpenSearchAudit, schema
from services.history.adapters.opensearch import audit as audit_module
from services.history.adapters.postgres import SERVER_SETTINGS, PostgresSpill
from services.history.domain.documents import document_of
from tests.conformance.history_events import BACK, SENT, bounced


class Cluster:
    """Unavailable until `there` is set; refuses the documents whose ids are listed."""

    def __init__(self) -> None:
        self.there = False
        self.refuses: set[str] = set()
        self.kept: list[str] = []
        self.indices = self.cluster = self

    async def health(self, **_: Any) -> None:
        self._answer()

    async def get_index_template(self, *, name: str) -> dict[str, Any]:
        self._answer()
        return {"index_templates": [{"index_template": schema.templates("a")[name]}]}

    async def exists(self, **_: Any) -> bool:
        return False

    async def bulk(self, body: bytes, params: Any) -> dict[str, Any]:
        self._answer()
        ids = [json.loads(line)["create"]["_id"] for line in body.splitlines()[::2]]
        statuses = [400 if id_ in self.refuses else 409 if id_ in self.kept else 201 for id_ in ids]
        self.kept += [id_ for id_, status in zip(ids, statuses, strict=True) if status == 201]
        items = [{"create": {"status": status, "error": {"type": "said", "reason": "so"}}} for status in statuses]
        return {"errors": any(status > 201 for status in statuses), "items": items}

    def _answer(self) -> None:
        if not self.there:
            raise NoConnection("N/A", "refused", None)


@pytest.fixture
async def opened(database: str) -> AsyncIterator[Database]:
    made = Database(database, "history", server_settings=SERVER_SETTINGS)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def store(opened: Database, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> OpenSearchAudit:
    monkeypatch.setattr("services.history.adapters.outage._PAUSE_SECONDS", 0.0)
    return OpenSearchAudit(cluster, prefix="a", spill=PostgresSpill(opened, 1 << 20))  # type: ignore[arg-type]


async def waiting(database: Database) -> list[tuple[int, str | None]]:
    async with database.acquire() as connection:
        rows = await connection.fetch("select documents, refused from spill order by id")
    return [(row["documents"], row["refused"]) for row in rows]


async def drained(store: OpenSearchAudit) -> int:
    total = 0
    while written := await store.drain():
        total += written
    return total


async def test_unwritable_documents_wait_and_are_written_once_when_the_store_recovers(
    store: OpenSearchAudit, cluster: Cluster, opened: Database
) -> None:
    documents = [document_of(bounced()) for _ in range(2_500)]
    await store.record_documents(documents)
    await store.record_messages([BACK, SENT])
    assert await waiting(opened) == [(1_000, None), (1_000, None), (500, None), (2, None)]
    assert await drained(store) == 0
    cluster.there = True
    assert await drained(store) == 2_502
    assert await waiting(opened) == []
    assert cluster.kept[:2_500] == [str(document.id) for document in documents]
    await store.record_documents(documents)
    assert len(cluster.kept) == 2_502


async def test_new_documents_bypass_the_spill_once_the_store_is_back(store: OpenSearchAudit, cluster: Cluster) -> None:
    old, new = document_of(bounced()), document_of(bounced())
    await store.record_documents([old])
    cluster.there = True
    await store.record_documents([new])
    assert cluster.kept == [str(new.id)]
    assert await drained(store) == 1


async def test_a_refused_document_stays_with_its_reason_and_the_others_are_written(
    store: OpenSearchAudit, cluster: Cluster, opened: Database
) -> None:
    documents = [document_of(bounced()) for _ in range(5)]
    cluster.refuses = {str(documents[2].id)}
    await store.record_documents(documents)
    await store.record_messages([SENT])
    cluster.there = True
    assert await drained(store) == 1
    assert len(cluster.kept) == 5
    ((count, reason),) = await waiting(opened)
    assert (count, reason) == (5, "OpenSearch refused 1 document: said: so.")


async def test_a_full_spill_leaves_events_to_the_bus(opened: Database, cluster: Cluster) -> None:
    store = OpenSearchAudit(cluster, prefix="a", spill=PostgresSpill(opened, 1))  # type: ignore[arg-type]
    await store.record_messages([SENT])
    with pytest.raises(Unavailable, match="full"):
        await store.record_messages([BACK])
    assert await waiting(opened) == [(1, None)]


async def test_a_store_that_fails_again_releases_the_batches(
    store: OpenSearchAudit, cluster: Cluster, opened: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        await store.record_documents([document_of(bounced())])
    cluster.there = True
    bulk = cluster.bulk

    async def once(body: bytes, params: Any) -> dict[str, Any]:
        answer = await bulk(body, params)
        cluster.there = False
        return answer

    monkeypatch.setattr(cluster, "bulk", once)
    assert await store.drain() == 0
    assert await waiting(opened) == [(1, None)] * 2
    cluster.there = True
    monkeypatch.setattr(cluster, "bulk", bulk)
    assert await drained(store) == 2


async def test_two_processes_drain_without_conflict(store: OpenSearchAudit, cluster: Cluster, opened: Database) -> None:
    for _ in range(20):
        await store.record_documents([document_of(bounced())])
    cluster.there = True
    other = OpenSearchAudit(cluster, prefix="a", spill=PostgresSpill(opened, 1 << 20))  # type: ignore[arg-type]
    assert sum(await asyncio.gather(drained(store), drained(other))) == 20
    assert (len(cluster.kept), await waiting(opened)) == (20, [])


async def test_another_process_takes_over_from_a_dead_drainer(
    store: OpenSearchAudit, cluster: Cluster, opened: Database
) -> None:
    await store.record_documents([document_of(bounced())])
    spill = PostgresSpill(opened, 1 << 20)
    assert len(await spill.take(8)) == 1
    cluster.there = True
    assert await store.drain() == 0
    async with opened.acquire() as connection:
        await connection.execute("update spill set leased_until = now() - interval '1 second'")
    assert await store.drain() == 1


def test_packing_and_unpacking_a_batch_preserves_it() -> None:
    entries = [audit_module.documents.entry_of(document_of(bounced())) for _ in range(1_001)]
    packed = audit_module.documents.packed(entries)
    assert [count for count, _ in packed] == [1_000, 1]
    assert [entry for _, body in packed for entry in audit_module.documents.unpacked(body)] == entries
    assert sum(len(body) for _, body in packed) < 150 * len(entries)
