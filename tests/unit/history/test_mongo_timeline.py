"""The timeline in MongoDB without a server: the commands for a real one, and the behaviour when none answers."""

import socket
from typing import Any

import pytest
from pymongo import IndexModel, UpdateOne
from pymongo.errors import BulkWriteError, OperationFailure

from libs.contracts.outcomes import Mode
from libs.errors import Invalid, Unavailable
from libs.settings import describe, load
from services.history.adapters.mongo import MongoTimeline
from services.history.adapters.mongo.schema import SEARCHES, check, prepare
from services.history.adapters.mongo.timeline import _query, answering
from services.history.ports import Search
from services.history.settings import HistorySettings
from tests.conformance.history_events import NOTIFICATION, SENT

SECRET = "mongodb://history:s3cret@db.example/history"


class _Server:
    """Records commands; client, database and collection in one."""

    def __init__(self, answers: dict[str, Any], has_expiry: bool = False) -> None:
        self.answers, self.has_expiry = answers, has_expiry
        self.indexes: list[IndexModel] = []
        self.commands: list[dict[str, Any]] = []
        self.client = self.admin = self

    def __getitem__(self, name: str) -> "_Server":
        return self

    async def command(self, command: Any) -> dict[str, Any]:
        if command != "buildInfo":
            self.commands.append(command)
        return self.answers

    async def create_indexes(self, indexes: list[IndexModel]) -> None:
        self.indexes += indexes

    async def index_information(self) -> dict[str, Any]:
        return {"_id_": {}} | ({"expiry": {}} if self.has_expiry else {})


@pytest.mark.parametrize("has_expiry", [False, True])
async def test_a_real_server_gets_an_updatable_expiry_and_schema(has_expiry: bool) -> None:
    server = _Server({"version": "8.0.4"}, has_expiry)
    assert await prepare(server, 30)  # type: ignore[arg-type]
    made = {index.document["name"]: index.document for index in server.indexes}
    assert {index.document["name"] for index in SEARCHES} <= made.keys()
    assert ("expiry" in made) is not has_expiry
    if not has_expiry:
        assert (list(made["expiry"]["key"]), made["expiry"]["expireAfterSeconds"]) == (["began"], 30 * 86_400)
    (rules,) = server.commands
    assert rules["index"] == {"name": "expiry", "expireAfterSeconds": 30 * 86_400}
    assert rules["validator"]["$jsonSchema"]["required"] == ["_id", "tenant", "mode", "began"]


async def test_ferretdb_is_not_sent_unsupported_commands() -> None:
    server = _Server({"version": "7.0.42", "ferretdbVersion": "v1.24.2"})
    assert not await prepare(server, 30)  # type: ignore[arg-type]
    assert server.commands == []
    assert not any(
        {"expireAfterSeconds", "partialFilterExpression"} & index.document.keys() for index in server.indexes
    )


async def test_without_a_server_writes_fail_fast() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        timeline = MongoTimeline(f"mongodb://127.0.0.1:{port}/h", retention_days=9, timeout_seconds=0.2)
        with pytest.raises(Unavailable):
            await timeline.record_messages([SENT])
        refused = []
        for _ in range(100):  # the relay waits for each: one timeout is enough
            with pytest.raises(Unavailable) as raised:
                await timeline.record_messages([SENT])
            refused.append(raised.value.detail)
        assert refused.count("MongoDB did not answer a moment ago.") > 50  # all, unless the machine stops
        await timeline.aclose()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OperationFailure("auth", 18), Unavailable),
        (BulkWriteError({"writeErrors": [{"code": 11_000}]}), Unavailable),
        (BulkWriteError({"writeErrors": [], "writeConcernErrors": [{"code": 64}]}), Unavailable),
        (BulkWriteError({"writeErrors": [{"code": 121}]}), BulkWriteError),
    ],
)
def test_server_errors_are_retried_and_an_invalid_document_is_not(error: Any, expected: Any) -> None:
    with pytest.raises(expected), answering():
        raise error


def test_the_url_is_masked_and_an_invalid_one_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPESCHE_HISTORY_MONGO_URL", SECRET)
    (shown,) = (s for s in describe([HistorySettings]) if s.name == "DEPESCHE_HISTORY_MONGO_URL")
    assert (shown.value, shown.origin) == ("********", "environment")
    for setting in ("DEPESCHE_HISTORY_MONGO_URL", "DEPESCHE_HISTORY_OPENSEARCH_URL"):
        monkeypatch.setenv(setting, "postgresql://history:s3cret@db/history")
        with pytest.raises(Invalid) as refused:
            load(HistorySettings)
        assert setting in str(refused.value.errors)
        assert "s3cret" not in str(refused.value.errors)
        monkeypatch.delenv(setting)


class _Meeting:
    """A collection in which another writer has just created the document, so many times."""

    def __init__(self, meetings: int) -> None:
        self.left, self.asked = meetings, 0

    async def bulk_write(self, operations: Any, *, ordered: bool) -> None:
        assert not ordered
        self.asked += 1
        if self.asked <= self.left:
            raise BulkWriteError({"writeErrors": [{"code": 11_000}]})


async def test_concurrent_inserts_of_one_document_are_retried() -> None:
    timeline = MongoTimeline("mongodb://127.0.0.1:1/h", retention_days=9, timeout_seconds=0.2)
    timeline._bulk = 1_000
    once = _Meeting(1)
    await timeline._write(once, [UpdateOne({"_id": "m"}, {"$set": {"a": 1}}, upsert=True)])
    assert once.asked == 2
    always = _Meeting(99)
    with pytest.raises(BulkWriteError):
        await timeline._write(always, [UpdateOne({"_id": "m"}, {"$set": {"a": 1}}, upsert=True)])
    assert always.asked == 3
    await timeline.aclose()


WAYS: tuple[dict[str, Any], ...] = (
    {"recipient": "customer:1"},
    {"subject": "A-1"},
    {"subject": "A-1", "recipient": "customer:1"},
    {"causes": (NOTIFICATION,)},
    {"recipient": "customer:1", "communication": "c", "before": NOTIFICATION},
)


@pytest.mark.parametrize("way", WAYS)
def test_every_search_reads_one_range_of_one_index(way: dict[str, Any]) -> None:
    """Fields compared for equality come first, then the sort field; and a query contains the condition of a partial
    index."""
    query = _query(Search(1, Mode.LIVE, **way), ())
    assert query is not None
    equal = {name for name, value in query.items() if not isinstance(value, dict) or "$in" in value}
    fitting = []
    for index in SEARCHES:
        *firsts, last = index.document["key"].items()
        partial = index.document["partialFilterExpression"]
        if {name for name, _ in firsts} <= equal and last == ("_id", -1) and set(partial) <= equal:
            fitting.append(index.document["name"])
    assert fitting, f"{query} would scan the collection"


async def test_missing_indexes_are_reported() -> None:
    server = _Server({"version": "8.0.4"}, True)
    said = await check(server)  # type: ignore[arg-type]
    assert said is not None
    assert "by_recipient" in said
