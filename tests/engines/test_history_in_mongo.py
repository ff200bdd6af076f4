"""The timeline on MongoDB's protocol: the shared promises, then what its documents add."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

import pymongo
import pytest

from cli.engines.ferretdb import FerretDB
from libs.contracts.outcomes import Mode
from libs.contracts.tokens import RecipientErased
from libs.settings import load
from services.history.adapters.mongo import MongoTimeline
from services.history.adapters.mongo.schema import SEARCHES, SHAPE
from services.history.app import create_service
from services.history.handlers import forget_recipients, record_messages
from services.history.settings import HistorySettings
from tests.conformance.history_events import BACK, DELIVERED, KIM, MESSAGE, NOON, REFUSED, SENT, heard
from tests.conformance.history_promises import TimelinePromises, search, tell

_numbers = count()
LATER = NOON + timedelta(hours=1)


@pytest.fixture
async def url(ferretdb: FerretDB) -> AsyncIterator[str]:
    """A separate database for this test."""
    name = f"history_{next(_numbers)}"
    yield f"{ferretdb.url}/{name}"
    async with pymongo.AsyncMongoClient[dict[str, Any]](ferretdb.url, timeoutMS=20_000) as client:
        await client.drop_database(name)


@pytest.fixture
async def timeline(url: str) -> AsyncIterator[MongoTimeline]:
    made = MongoTimeline(url, retention_days=90, timeout_seconds=20)
    yield made
    await made.aclose()


@pytest.fixture
async def kept(url: str) -> AsyncIterator[Any]:
    """The collection itself."""
    async with pymongo.AsyncMongoClient[dict[str, Any]](
        url, timeoutMS=20_000, tz_aware=True, uuidRepresentation="standard"
    ) as client:
        yield client.get_default_database()["messages"]


class TestMongoTimeline(TimelinePromises):
    """The document-based timeline."""


async def test_reordering_and_repeats_leave_byte_identical_documents(timeline: MongoTimeline, kept: Any) -> None:
    events = (BACK, SENT, DELIVERED, REFUSED)
    found = []
    for order in (events, events[::-1], (*events, *events)):
        await kept.delete_many({})
        for event in order:
            await tell(timeline, event)
        (document,) = await kept.find().to_list(None)
        found.append(document)
    assert found[0] == found[1] == found[2]
    assert (found[0]["_id"], found[0]["rank"]) == (MESSAGE, 24)


async def test_searches_use_their_indexes(timeline: MongoTimeline, kept: Any) -> None:
    await timeline.record_messages([SENT])
    there = await kept.index_information()
    assert {index.document["name"] for index in SEARCHES} <= set(there)


async def test_the_text_of_a_rejection_after_the_erasure_is_not_stored(timeline: MongoTimeline, kept: Any) -> None:
    await timeline.record_messages([SENT])
    await timeline.forget([(1, Mode.LIVE, KIM, LATER)])
    await timeline.record_rejections([REFUSED])
    await timeline.record_receipts([DELIVERED])
    (document,) = await kept.find().to_list(None)
    assert document["erased"]
    assert document.keys().isdisjoint({"recipient", "address_key", "words"})


async def test_an_erasure_between_read_and_write_is_honoured(url: str, kept: Any) -> None:
    class Racing(MongoTimeline):
        async def _write(self, collection: Any, operations: Any) -> None:
            if collection.name == "messages":
                await other.forget([(1, Mode.LIVE, KIM, LATER)])
            await super()._write(collection, operations)

    other, racing = (cls(url, retention_days=90, timeout_seconds=20) for cls in (MongoTimeline, Racing))
    try:
        await racing.record_messages([SENT])
        (document,) = await kept.find().to_list(None)
        assert document["erased"]
        assert "recipient" not in document
    finally:
        await other.aclose()
        await racing.aclose()


async def test_a_repeated_old_erasure_spares_a_returned_recipient(timeline: MongoTimeline) -> None:
    await timeline.record_messages([SENT])
    await timeline.forget([(1, Mode.LIVE, KIM, NOON - timedelta(hours=1))])
    assert len(await timeline.messages(search(recipient=KIM))) == 1


async def test_documents_match_the_schema_of_a_real_server(timeline: MongoTimeline, kept: Any) -> None:
    for event in (BACK, SENT, DELIVERED, REFUSED):
        await tell(timeline, event)
        (document,) = await kept.find().to_list(None)
        assert list(departures(document, SHAPE)) == []
    assert list(departures(document | {"rank": "high"}, SHAPE)) == ["rank"]
    assert list(departures({"_id": MESSAGE}, SHAPE)) == ["began", "mode", "tenant"]


async def test_a_setting_switches_the_timeline_to_mongo(
    url: str, kept: Any, runtime: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEPESCHE_HISTORY_MONGO_URL", url)
    service = create_service(runtime, load(HistorySettings))
    async with service.running():
        await record_messages(service.deps, [SENT])
        assert [document["_id"] for document in await kept.find().to_list(None)] == [MESSAGE]
        await forget_recipients(service.deps, [heard(RecipientErased(recipient=KIM, at=LATER))])
        assert await service.deps.timeline.messages(search(recipient=KIM)) == []


_TYPES: dict[str, Any] = {
    "object": dict, "string": str, "date": datetime, "binData": UUID, "int": int, "long": int, "bool": bool,
}  # fmt: skip


def departures(value: Any, shape: dict[str, Any], at: str = "") -> Any:
    """Paths where a document violates a $jsonSchema, limited to the keywords we use."""
    types = shape["bsonType"] if isinstance(shape["bsonType"], list) else [shape["bsonType"]]
    if not isinstance(value, tuple(_TYPES[name] for name in types)):
        yield at
        return
    if not isinstance(value, dict):
        return
    yield from (name for name in sorted(shape.get("required", ())) if name not in value)
    for name, item in value.items():
        known = shape.get("properties", {}).get(name, shape.get("additionalProperties", True))
        if known is False:
            yield f"{at}.{name}".lstrip(".")
        elif known is not True:
            yield from departures(item, known, f"{at}.{name}".lstrip("."))
