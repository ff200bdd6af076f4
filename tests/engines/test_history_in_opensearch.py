"""The audit on OpenSearch: the shared promises, then what its indices add."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import msgspec
import pytest
import yaml
from opensearchpy import AsyncOpenSearch

from cli.engines.opensearch import OpenSearch
from libs.contracts.orders_notification import Decision
from libs.contracts.outcomes import Mode
from libs.contracts.tokens import RecipientErased
from libs.errors import Invalid
from libs.ids import time_of
from libs.settings import load
from services.history.adapters.opensearch import OpenSearchAudit, schema
from services.history.app import create_service
from services.history.domain.documents import document_of
from services.history.domain.search import Group
from services.history.handlers import forget_recipients, record_documents
from services.history.ports import RecordPage
from services.history.settings import HistorySettings
from tests.conformance.audit_promises import AuditSearchPromises, asked, tell_all
from tests.conformance.history_events import BACK, KIM, NOON, SENT, bounced, decided, heard
from tests.conformance.history_promises import AuditPromises, search
from tools.opensearch.__main__ import FOLDER

REQUESTED = Decision(communication="c", outcome="requested", recipient=KIM, detail="for Kim")


class Refreshed(OpenSearchAudit):
    """Refreshes before every search: tests do not wait for the periodic refresh."""

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
    """The document-based audit."""


async def test_an_event_is_stored_in_the_month_of_its_time(audit: OpenSearchAudit, client: Any, prefix: str) -> None:
    bounce = document_of(bounced())
    await audit.record_decisions([decided(REQUESTED)])
    await audit.record_documents([bounce])
    there = await client.indices.get(index=f"{prefix}-*")
    assert set(there) == {f"{prefix}-2027.03", f"{prefix}-{time_of(bounce.id):%Y.%m}"}
    assert all(index["mappings"]["dynamic"] == "strict" for index in there.values())


async def test_no_address_is_stored(audit: OpenSearchAudit, client: Any, prefix: str) -> None:
    await audit.record_documents([document_of(bounced())])
    await client.indices.refresh(index=f"{prefix}-*")
    (hit,) = (await client.search(index=f"{prefix}-*"))["hits"]["hits"]
    assert isinstance(hit["_source"]["address_key"], int)
    assert "address_hash" not in str(hit)


async def test_an_erasure_between_read_and_write_is_honoured(audit: OpenSearchAudit, client: Any, prefix: str) -> None:
    class Racing(Refreshed):
        raced = False

        async def _send(self, actions: Any, **more: Any) -> None:
            if not self.raced:
                self.raced = True
                await audit.forget([(1, Mode.LIVE, KIM, NOON + timedelta(hours=1))])
            await super()._send(actions, **more)

    await Racing(client, prefix=prefix).record_decisions([decided(REQUESTED)])
    assert await audit.decisions(search(recipient=KIM)) == []
    (kept,) = await audit.decisions(search(event_id="e-1"))
    assert (kept.recipient, kept.detail) == (None, None)


async def test_the_latest_erasure_holds_in_any_order_of_arrival(audit: OpenSearchAudit) -> None:
    for hours in (1, -1):
        await audit.forget([(1, Mode.LIVE, KIM, NOON + timedelta(hours=hours))])
    await audit.record_decisions([decided(REQUESTED)])
    assert await audit.decisions(search(recipient=KIM)) == []


async def test_an_erasure_covers_more_than_a_page(audit: OpenSearchAudit) -> None:
    await audit.record_documents([document_of(bounced()) for _ in range(1_203)])
    await audit.forget([(1, Mode.LIVE, KIM, NOON + timedelta(hours=1))])
    assert await audit.documents(search(recipient=KIM)) == []


async def test_a_document_outside_the_mapping_is_refused(audit: OpenSearchAudit) -> None:
    await audit.record_documents([document_of(bounced())])
    with pytest.raises(Invalid, match="refused 1 document: "):
        await audit._send([({"create": {"_index": f"{audit._prefix}-2027.03", "_id": "x"}}, {"surprise": 1})])


async def test_months_past_the_retention_are_dropped(audit: OpenSearchAudit, client: Any, prefix: str) -> None:
    await audit.record_decisions([decided(REQUESTED)])
    assert await audit.keep(NOON + timedelta(days=60), 3, 30) == []
    assert await audit.keep(NOON + timedelta(days=61), 3, 30) == [f"{prefix}-2027.03"]
    assert await audit.decisions(search(recipient=KIM)) == []


async def test_a_setting_switches_the_audit_to_opensearch(
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


async def _many(audit: OpenSearchAudit, count: int) -> None:
    await audit.record_documents([document_of(bounced()) for _ in range(count)])


async def test_a_cursor_expires_with_its_point_in_time(audit: OpenSearchAudit, client: Any) -> None:
    await _many(audit, 6)
    page = await audit.search(asked(), 2)
    assert page.after is not None
    await client.delete_pit(body={"pit_id": [page.after[0]]})  # as after five minutes
    with pytest.raises(Invalid, match="five minutes"):
        await audit.search(asked(), 2, page.after)


async def test_a_point_in_time_is_open_only_between_pages(audit: OpenSearchAudit, client: Any) -> None:
    await _many(audit, 6)

    async def open_moments() -> int:
        return len((await client.get_all_pits())["pits"])

    before = await open_moments()
    assert (await audit.search(asked(), 10)).after is None
    assert await open_moments() == before
    page = await audit.search(asked(), 4)
    assert await open_moments() == before + 1
    assert (await audit.search(asked(), 4, page.after)).after is None
    assert await open_moments() == before


async def test_existing_months_get_new_fields(audit: OpenSearchAudit, client: Any, prefix: str) -> None:
    old = {name: field for name, field in schema.MAPPING["properties"].items() if name not in ("status", "began_us")}
    month = f"{prefix}-2027.03"
    await client.indices.create(index=month, body={"mappings": {"dynamic": "strict", "properties": old}})
    await audit.record_messages([SENT])
    assert len((await audit.search(asked(status="sent"), 10)).records) == 1


async def test_a_changed_template_is_reported_and_restored(audit: OpenSearchAudit, client: Any, prefix: str) -> None:
    assert prefix in str(await audit.check())
    await audit.record_messages([SENT])
    assert await audit.check() is None
    changed = {"index_patterns": [f"{prefix}-2*"], "template": {"mappings": {"dynamic": True}}}
    await client.indices.put_index_template(name=prefix, body=changed)
    assert prefix in str(await audit.check())
    await Refreshed(client, prefix=prefix).record_messages([BACK])
    assert await audit.check() is None


async def test_administrators_may_install_the_files_themselves(
    audit: OpenSearchAudit, client: Any, prefix: str
) -> None:
    for path in sorted(FOLDER.glob("index-template.*.json")):
        body = path.read_text().replace("depesche-audit", prefix)
        name = path.name.removeprefix("index-template.").removesuffix(".json").replace("depesche-audit", prefix)
        await client.indices.put_index_template(name=name, body=body)
    assert await audit.check() is None


@pytest.mark.parametrize("role", ["depesche_support", "depesche_analyst"])
async def test_roles_permit_what_they_declare(audit: OpenSearchAudit, client: Any, prefix: str, role: str) -> None:
    await audit.record_messages([SENT, msgspec.structs.replace(SENT, tenant=3)])
    await audit.record_documents([replace(document_of(bounced()), tenant=2, mode=Mode.TEST)])
    await client.indices.refresh(index=f"{prefix}-2*")
    (index,) = yaml.safe_load((FOLDER / "roles.yml").read_text())[role]["index_permissions"]
    query = json.loads(index["dls"].replace("${attr.internal.depesche_tenants}", "1, 2"))
    hits = (await client.search(index=f"{prefix}-2*", body={"query": query}))["hits"]["hits"]
    assert [(hit["_source"]["tenant"], hit["_source"]["mode"]) for hit in hits] == [(1, "live")]


async def test_every_chart_can_be_drawn(audit: OpenSearchAudit, client: Any, prefix: str) -> None:
    await tell_all(audit)
    await client.indices.refresh(index=f"{prefix}-2*")
    for line in (FOLDER / "dashboards.ndjson").read_text().splitlines():
        made = json.loads(line)
        if made["type"] != "visualization":
            continue
        for aggregation in json.loads(made["attributes"]["visState"])["aggs"]:
            if aggregation["type"] == "count":
                continue
            kept = {name: value for name, value in aggregation["params"].items() if name in ("field", "size")}
            more = {"fixed_interval": "1h"} if aggregation["type"] == "date_histogram" else {}
            body = {"size": 0, "aggs": {"drawn": {aggregation["type"]: kept | more}}}
            answer = await client.search(index=f"{prefix}-2*", body=body)
            assert answer["_shards"]["failed"] == 0, (made["attributes"]["title"], kept)
            assert {"value", "buckets"} & answer["aggregations"]["drawn"].keys()
