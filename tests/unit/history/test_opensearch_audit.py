"""The audit in OpenSearch without a cluster: backpressure, outages, refusals."""

import json
import socket
from collections.abc import Sequence
from typing import Any

import pytest
from opensearchpy import AsyncOpenSearch
from opensearchpy.exceptions import TransportError

from libs.errors import Invalid, Unavailable
from services.history.adapters.opensearch import OpenSearchAudit, bulk, schema
from services.history.domain.documents import document_of
from tests.conformance.history_events import bounced


class _Cluster:
    """Answers each bulk with the script's next statuses, repeating the last ones."""

    def __init__(self, *script: Sequence[int] | TransportError) -> None:
        self.script = list(script)
        self.bulks: list[list[str]] = []
        self.indices = self

    async def get_index_template(self, *, name: str) -> dict[str, Any]:
        return {"index_templates": [{"index_template": schema.templates("a")[name]}]}

    async def exists(self, **_: Any) -> bool:
        return False

    async def bulk(self, body: bytes, params: Any) -> dict[str, Any]:
        self.bulks.append([json.loads(line)["create"]["_id"] for line in body.splitlines()[::2]])
        answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(answer, TransportError):
            raise answer
        if len(answer) > len(self.bulks[-1]):
            answer = [max(answer)] * len(self.bulks[-1])  # a repeated request gets the same answer
        items = [{"create": {"status": status, "error": {"type": "said"}}} for status in answer]
        return {"errors": any(status > 201 for status in answer), "items": items}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "_FIRST_WAIT_SECONDS", 0.001)


DOCUMENTS = [document_of(bounced()) for _ in range(3)]
IDS = [str(document.id) for document in DOCUMENTS]


async def record(cluster: _Cluster) -> None:
    await OpenSearchAudit(cluster, prefix="a").record_documents(DOCUMENTS)  # type: ignore[arg-type]


@pytest.mark.parametrize(("count", "sizes"), [(1, [1]), (1_000, [1_000]), (1_001, [1_000, 1])])
async def test_a_batch_is_cut_into_bulks_and_loses_nothing(count: int, sizes: list[int]) -> None:
    cluster, documents = _Cluster([201]), [document_of(bounced()) for _ in range(count)]
    await OpenSearchAudit(cluster, prefix="a").record_documents(documents)  # type: ignore[arg-type]
    assert [len(ids) for ids in cluster.bulks] == sizes
    assert sorted(id_ for ids in cluster.bulks for id_ in ids) == sorted(str(document.id) for document in documents)


async def test_only_items_rejected_as_busy_are_resent() -> None:
    cluster = _Cluster([201, 429, 409], [429], [201])
    await record(cluster)
    assert cluster.bulks == [IDS, IDS[1:2], IDS[1:2]]


async def test_a_busy_node_is_retried() -> None:
    cluster = _Cluster(TransportError(429, "busy", {}), [201, 201, 201])
    await record(cluster)
    assert cluster.bulks == [IDS, IDS]


async def test_a_node_that_stays_busy_is_left_to_the_bus() -> None:
    cluster = _Cluster([429, 429, 429])
    with pytest.raises(Unavailable, match="busy"):
        await record(cluster)
    assert len(cluster.bulks) == 5


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ([201, 503, 201], Unavailable),
        ([201, 403, 201], Unavailable),
        (TransportError(503, "red", {}), Unavailable),
        (TransportError(401, "who", {}), Unavailable),
        ([201, 400, 201], Invalid),
    ],
)
async def test_cluster_errors_are_retried_and_an_invalid_document_is_not(answer: Any, expected: Any) -> None:
    with pytest.raises(expected):
        await record(_Cluster(answer))


async def test_without_a_cluster_callers_wait_for_one_timeout_at_most() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        client = AsyncOpenSearch([f"http://127.0.0.1:{nobody.getsockname()[1]}"], timeout=0.3, max_retries=0)
        store = OpenSearchAudit(client, prefix="a")
        refused = []
        for _ in range(100):
            with pytest.raises(Unavailable) as raised:
                await store.record_documents(DOCUMENTS)
            refused.append(raised.value.detail)
        assert refused.count("OpenSearch did not answer a moment ago.") > 50  # all, unless the machine stops
        await store.aclose()
