"""Each engine starts from `make engines`' folder, listens on loopback only, identifies itself, and stops."""

import socket
from pathlib import Path
from uuid import uuid4

import httpx
import psutil
import pymongo
import pytest
from opensearchpy import AsyncOpenSearch, ConflictError
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from cli.engines.daprd import Daprd, Sidecar
from cli.engines.engine import Engine
from cli.engines.ferretdb import FerretDB
from cli.engines.jaeger import Jaeger
from cli.engines.kafka import Kafka
from cli.engines.opensearch import OpenSearch
from cli.engines.pgbouncer import PgBouncer
from cli.engines.recipes import RECIPES
from cli.engines.redis import Redis
from tests.engines.conftest import running
from tests.waiting import eventually


@pytest.fixture(params=[recipe.name for recipe in RECIPES])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    """One of each, not started."""
    match request.param:
        case "redis":
            return Redis(tmp_path)
        case "pgbouncer":
            return PgBouncer(tmp_path, postgres=request.getfixturevalue("postgres").dsn, users={})
        case "kafka":
            return Kafka(tmp_path)
        case "opensearch":
            return OpenSearch(tmp_path)
        case "jaeger":
            return Jaeger(tmp_path)
        case "ferretdb":
            return FerretDB(tmp_path, postgres=request.getfixturevalue("documents_dsn"))
        case _:
            (tmp_path / "resources").mkdir()
            return Daprd(tmp_path, Sidecar(app_id="alone", resources=[tmp_path / "resources"]))


def test_an_engine_listens_on_loopback_only_and_leaves_nothing_behind(engine: Engine) -> None:
    with running(engine):
        assert engine.process is not None
        process = psutil.Process(engine.process.pid)
        listening = [c.laddr for c in process.net_connections() if c.status == psutil.CONN_LISTEN or not c.raddr]
        assert engine.port in {address.port for address in listening}
        assert {address.ip.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}
        assert process.children() == []
    assert not psutil.pid_exists(process.pid)
    assert engine.process.exit_code != -9  # it ended by itself, when asked
    for address in listening:
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", address.port)) != 0


async def test_jaeger_returns_the_span_it_received(jaeger: Jaeger) -> None:
    provider = TracerProvider(resource=Resource.create({"service.name": "engines-test"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{jaeger.otlp_url}/v1/traces")))
    with provider.get_tracer("test").start_as_current_span("claim", attributes={"message_id": "m-1"}) as span:
        trace_id = f"{span.get_span_context().trace_id:032x}"
    provider.shutdown()

    async with httpx.AsyncClient(base_url=jaeger.query_url) as client:

        async def spans() -> list[dict[str, object]]:
            answer = await client.get(f"/api/traces/{trace_id}")
            return answer.json()["data"][0]["spans"] if answer.status_code == 200 else []

        (found,) = await eventually(spans)
    assert found["operationName"] == "claim"
    assert {"key": "message_id", "type": "string", "value": "m-1"} in found["tags"]


async def test_a_document_stays_the_same_however_often_it_is_written(ferretdb: FerretDB) -> None:
    async with pymongo.AsyncMongoClient[dict[str, object]](ferretdb.url, timeoutMS=20_000) as client:
        assert (await client.admin.command("hello"))["isWritablePrimary"]
        messages = client["history"][f"messages_{uuid4().hex[:8]}"]
        writes = [
            pymongo.UpdateOne(
                {"_id": f"m-{number % 50}"},
                {
                    "$set": {f"events.e{number}": {"status": "sent"}},
                    "$max": {"rank": number},
                    "$setOnInsert": {"recipient": "customer:4711"},
                },
                upsert=True,
            )
            for number in range(100)
        ]
        await messages.bulk_write(writes, ordered=False)
        once = await messages.find().sort("_id").to_list(None)
        await messages.bulk_write(writes[::-1], ordered=False)
        assert await messages.find().sort("_id").to_list(None) == once
    assert len(once) == 50
    assert once[0] == {
        "_id": "m-0", "events": {"e0": {"status": "sent"}, "e50": {"status": "sent"}}, "rank": 50,
        "recipient": "customer:4711",
    }  # fmt: skip


async def test_an_event_is_indexed_once(opensearch: OpenSearch) -> None:
    index = f"audit-{uuid4().hex[:8]}"
    async with AsyncOpenSearch(opensearch.url) as client:
        mapping = {"mappings": {"dynamic": "strict", "properties": {"reason": {"type": "keyword"}}}}
        await client.indices.create(index=index, body=mapping)
        await client.create(index=index, id="e-1", body={"reason": "suppressed"}, params={"refresh": "true"})
        with pytest.raises(ConflictError):
            await client.create(index=index, id="e-1", body={"reason": "suppressed"})
        found = await client.search(index=index, body={"query": {"term": {"reason": "suppressed"}}})
    assert [hit["_id"] for hit in found["hits"]["hits"]] == ["e-1"]


def test_the_sidecar_reports_its_version_and_components(tmp_path: Path) -> None:
    with running(Daprd(tmp_path, Sidecar(app_id="alone", resources=[tmp_path]))) as daprd:
        stated = httpx.get(f"{daprd.url}/v1.0/metadata", trust_env=False).json()
    assert stated["id"] == "alone"
    assert stated["runtimeVersion"] == daprd.recipe.version
