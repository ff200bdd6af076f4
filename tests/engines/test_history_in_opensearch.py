"""The audit on OpenSearch: what every store promises, and what its indices do besides."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from opensearchpy import AsyncOpenSearch

from cli.engines.opensearch import OpenSearch
from libs.contracts.orders_notification import Decision
from libs.contracts.outcomes import Mode
from libs.contracts.tokens import RecipientErased
from libs.errors import Invalid
from libs.ids import time_of
from libs.settings import load
from services.history.adapters.opensearch import OpenSearchAudit
from services.history.app import create_service
from services.history.domain.documents import document_of
from services.history.domain.search import Group
from services.history.handlers import forget_recipients, record_documents
from services.history.ports import RecordPage
from services.history.settings import HistorySettings
from tests.conformance.audit_promises import AuditSearchPromises
from tests.conformance.history_events import KIM, NOON, bounced, decided, heard
from tests.conformance.history_promises import AuditPromises, search

REQUESTED = Decision(communication="c", outcome="requested", recipient=KIM, detail="for Kim")


class Refreshed(OpenSearchAudit):
    """Finds at once what was written: tests do not wait for the refresh of every second."""

    async def _search(self, *asked: Any) -> list[dict[str, Any]]:
        await self._refresh()
        return await super()._search(*asked)

    async def search(self, *asked: Any) -> RecordPage:
        await self._refresh()
        return await super().search(*asked)

    async def counts(self, *asked: Any) -> list[Group]:
        await self._refresh()
        return await super().counts(*asked)

    async def _refresh(self) -> None:
        await self._client.indices.refresh(index=self._months, params={"ignore_unavailable": "true"})


@pytest.fixture
def prefix() -> str:
    return f"audit-{uuid4().hex[:8]}"


@pytest.fixture
async def client(opensearch: OpenSearch) -> AsyncIterator[AsyncOpenSearch]:
    async with AsyncOpenSearch([opensearch.url], timeout=20) as made:
        yield made


@pytest.fixture
async def audit(client: AsyncOpenSearch, prefix: str) -> AsyncIterator[OpenSearchAudit]:
    yield Refreshed(client, prefix=prefix)
    await client.indices.delete(index=f"{prefix}-*")
    for name in (prefix, f"{prefix}-erased"):
        await client.indices.delete_index_template(name=name, params={"ignore": 404})


class TestOpenSearchAudit(AuditPromises, AuditSearchPromises):
    """The audit in documents."""


async def test_an_event_lies_in_the_month_of_its_time(audit: OpenSearchAudit, client: Any, prefix: str) -> None:
    bounce = document_of(bounced())
    await audit.record_decisions([decided(REQUESTED)])
    await audit.record_documents([bounce])
    there = await client.indices.get(index=f"{prefix}-*")
    assert set(there) == {f"{prefix}-2027.03", f"{prefix}-{time_of(bounce.id):%Y.%m}"}
    assert all(index["mappings"]["dynamic"] == "strict" for index in there.values())


async def test_no_address_is_kept(audit: OpenSearchAudit, client: Any, prefix: str) -> None:
    await audit.record_documents([document_of(bounced())])
    await client.indices.refresh(index=f"{prefix}-*")
    (hit,) = (await client.search(index=f"{prefix}-*"))["hits"]["hits"]
    assert isinstance(hit["_source"]["address_key"], int)
    assert "address_hash" not in str(hit)


async def test_an_erasure_between_look_and_write_is_made_good(audit: OpenSearchAudit, client: Any, prefix: str) -> None:
    class Racing(Refreshed):
        raced = False

        async def _send(self, actions: Any) -> None:
            if not self.raced:
                self.raced = True
                await audit.forget([(1, Mode.LIVE, KIM, NOON + timedelta(hours=1))])
            await super()._send(actions)

    await Racing(client, prefix=prefix).record_decisions([decided(REQUESTED)])
    assert await audit.decisions(search(recipient=KIM)) == []
    (kept,) = await audit.decisions(search(event_id="e-1"))
    assert (kept.recipient, kept.detail) == (None, None)


async def test_the_latest_erasure_stands_whichever_comes_last(audit: OpenSearchAudit) -> None:
    for hours in (1, -1):
        await audit.forget([(1, Mode.LIVE, KIM, NOON + timedelta(hours=hours))])
    await audit.record_decisions([decided(REQUESTED)])
    assert await audit.decisions(search(recipient=KIM)) == []


async def test_an_erasure_reaches_more_than_a_page(audit: OpenSearchAudit) -> None:
    await audit.record_documents([document_of(bounced()) for _ in range(1_203)])
    await audit.forget([(1, Mode.LIVE, KIM, NOON + timedelta(hours=1))])
    assert await audit.documents(search(recipient=KIM)) == []


async def test_a_document_of_another_shape_is_refused_by_itself(audit: OpenSearchAudit) -> None:
    await audit.record_documents([document_of(bounced())])
    with pytest.raises(Invalid, match="refuses"):
        await audit._send([({"create": {"_index": f"{audit._prefix}-2027.03", "_id": "x"}}, {"surprise": 1})])


async def test_months_past_the_retention_are_dropped(audit: OpenSearchAudit, client: Any, prefix: str) -> None:
    await audit.record_decisions([decided(REQUESTED)])
    assert await audit.keep(NOON + timedelta(days=60), 3, 30) == []
    assert await audit.keep(NOON + timedelta(days=61), 3, 30) == [f"{prefix}-2027.03"]
    assert await audit.decisions(search(recipient=KIM)) == []


async def test_a_setting_moves_the_audit_and_handlers_do_not_know(
    opensearch: OpenSearch, audit: OpenSearchAudit, prefix: str, runtime: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEPESCHE_HISTORY_OPENSEARCH_URL", opensearch.url)
    monkeypatch.setenv("DEPESCHE_HISTORY_OPENSEARCH_PREFIX", prefix)
    service = create_service(runtime, load(HistorySettings))
    async with service.running():
        await record_documents(service.deps, [bounced()])
        assert len(await audit.documents(search(recipient=KIM))) == 1
        await forget_recipients(service.deps, [heard(RecipientErased(recipient=KIM, at=NOON + timedelta(hours=1)))])
        assert await audit.documents(search(recipient=KIM)) == []
