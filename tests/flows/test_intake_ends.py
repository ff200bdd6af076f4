"""What is over goes, whatever came between: days that were left half dropped, and all that an erased person was in."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import asyncpg
import pytest

from libs.contracts.envelope import Envelope
from libs.contracts.outcomes import Mode
from libs.contracts.tokens import RecipientErased
from libs.ids import first_id_at, uuid7
from libs.service import Runtime
from libs.service_client import Transport
from services.orders_notification.adapters.postgres import retention
from services.orders_notification.adapters.postgres.retention import PostgresRetention
from services.orders_notification.handlers import SUBSCRIPTIONS
from tests.flows.intake import NOW, Intake, event, intake, release
from tests.waiting import eventually

SCHEMA = "orders_notification"


@pytest.fixture
async def shop(runtime: Runtime, transports: dict[str, Transport]) -> AsyncIterator[Intake]:
    async with intake(runtime, transports) as made:
        yield made


async def old_day(shop: Intake, days: int) -> str:
    """A day of events that is over; gives its table's name."""
    day = (datetime.now(UTC) - timedelta(days=days)).replace(hour=0, minute=0, second=0, microsecond=0)
    low, high = first_id_at(day), first_id_at(day + timedelta(days=1))
    name = f"event_{day:%Y%m%d}"
    await shop.rows(f"create table {SCHEMA}.{name} partition of {SCHEMA}.event for values from ('{low}') to ('{high}')")
    return name


async def there(shop: Intake, *names: str) -> list[str]:
    found = await shop.rows("select relname from pg_class where relname = any($1) order by 1", list(names))
    return [row["relname"] for row in found]


async def kept(shop: Intake, days: int = 30) -> list[str]:
    return await PostgresRetention(shop.service.database, keep_days=days, key_keep_days=days).maintain()


async def test_a_day_whose_dropping_was_cut_off_goes_the_next_time(shop: Intake) -> None:
    """A backup that reads for longer than a statement may take leaves the day half detached."""
    first, second, third = [await old_day(shop, days) for days in (40, 39, 38)]
    dsn = shop.runtime.dsn_of(SCHEMA)
    backup, dropping = await asyncpg.connect(dsn), await asyncpg.connect(dsn)
    try:
        async with backup.transaction():
            await backup.fetch(f"select * from {SCHEMA}.event")
            detach = f"alter table {SCHEMA}.event detach partition {SCHEMA}.{first} concurrently"
            detaching = asyncio.create_task(dropping.execute(detach))
            begun = "select exists (select from pg_inherits where inhdetachpending)"
            await eventually(lambda: backup.fetchval(begun), 120)
            await backup.execute("select pg_cancel_backend($1)", dropping.get_server_pid())
            with pytest.raises(asyncpg.QueryCanceledError):
                await detaching
        # and one that was detached, and not dropped any more
        await dropping.execute(f"alter table {SCHEMA}.event detach partition {SCHEMA}.{second}")
    finally:
        await backup.close()
        await dropping.close()
    assert await there(shop, first, second, third) == [first, second, third]
    assert await kept(shop) == [first, second, third]
    assert await there(shop, first, second, third) == []


class Impatient:
    """A connection whose statements may take no longer than a moment."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def execute(self, statement: str) -> None:
        await self._connection.execute(statement, timeout=0.5)


async def test_while_a_day_cannot_be_dropped_the_rest_goes_on(shop: Intake, monkeypatch: pytest.MonkeyPatch) -> None:
    day = await old_day(shop, 40)
    await shop.rows(f"insert into {SCHEMA}.event_key values ($1, $2)", uuid7(), first_id_at(NOW - timedelta(days=900)))
    backup = await asyncpg.connect(shop.runtime.dsn_of(SCHEMA))
    drop = retention._drop
    try:
        async with backup.transaction():
            await backup.fetch(f"select * from {SCHEMA}.event")
            # only what waits for the backup; on a slow machine any other statement may take as long
            monkeypatch.setattr(retention, "_drop", lambda connection, *of: drop(Impatient(connection), *of))
            assert await kept(shop) == []
            assert await shop.count("event_key") == 0
    finally:
        await backup.close()
    monkeypatch.undo()
    assert await kept(shop) == [day]


async def erase(shop: Intake, recipient: str, at: datetime | None = None) -> None:
    erased = Envelope(
        id=uuid7(), type="recipient.erased", source="tokens", time=NOW, tenant=1, mode=Mode.LIVE, key=recipient,
        data=RecipientErased(recipient=recipient, at=at or datetime.now(UTC)),
    )  # fmt: skip
    await SUBSCRIPTIONS[RecipientErased](shop.service.deps, [erased])


async def data_of(shop: Intake, taken: Any) -> Any:
    return (await shop.get(f"/v1/events/{taken.json()['id']}")).json()["data"]


async def test_who_an_event_names_is_erased_from_it_though_others_were_told(shop: Intake) -> None:
    shop.published.releases[:] = [release(recipient="event.data.followers")]
    data = {"followers": ["b", "c"], "by": "Ann"}
    told = await shop.post("/v1/events", event(recipient="customer:ann", data=data))
    same = await shop.post("/v1/events", event("e2", recipient="customer:b", data=data))
    await erase(shop, "customer:ann")
    assert await data_of(shop, told) is None
    assert await data_of(shop, same) == data
    await erase(shop, "customer:b")
    assert await data_of(shop, same) is None


async def test_who_was_not_told_is_erased_too(shop: Intake) -> None:
    """The condition was false, or the data missed its schema: the event names them all the same."""
    shop.published.releases[:] = [release(recipient="event.data.followers", condition="event.data.total > 100")]
    await shop.put("/v1/event-types/order.placed", {"schema": {"required": ["total"]}})
    small = await shop.post("/v1/events", event(data={"followers": ["b"], "total": 1}))
    assert (await shop.post("/v1/events", event("e2", data={"followers": ["b"], "note": "for b"}))).status_code == 422
    await erase(shop, "customer:b")
    assert await data_of(shop, small) is None
    assert (await shop.get("/v1/rejections")).json()["items"] == []


async def test_decisions_about_an_erased_person_stay_without_the_key(shop: Intake) -> None:
    shop.published.releases[:] = [release(recipient="event.data.followers")]
    odd = 'b"\\ü'
    taken = (await shop.post("/v1/events", event(data={"followers": [odd, "c"]}))).json()
    await erase(shop, f"customer:{odd}")
    await erase(shop, f"customer:{odd}")
    shown = (await shop.get(f"/v1/events/{taken['id']}")).json()
    assert [one["recipient"] for one in shown["decisions"]] == [None, "customer:c"]
    for key, count in ((f"customer:{odd}", 0), ("customer:c", 1)):
        assert len((await shop.get(f"/v1/events?recipient={quote(key)}")).json()["items"]) == count
    assert await shop.rows(f"select from {SCHEMA}.event_recipient where recipient <> 'customer:c'") == []


async def test_what_was_kept_of_an_erased_person_goes_and_is_not_replayed(shop: Intake) -> None:
    await shop.put("/v1/event-types/order.placed", {"schema": {"required": ["total"]}})
    for number, name in enumerate(("ann", "ben")):
        answer = await shop.post("/v1/events", event(f"k{number}", recipient=f"customer:{name}", data={"for": name}))
        assert answer.status_code == 422
    await erase(shop, "customer:ann")
    (left,) = (await shop.get("/v1/rejections")).json()["items"]
    assert "ben" in left["body"]


async def test_what_was_kept_of_a_namesake_of_another_mode_stays(shop: Intake) -> None:
    for key in ("live-key", "test-key"):
        await shop.put("/v1/event-types/order.placed", {"schema": {"required": ["total"]}}, key=key)
        assert (
            await shop.post("/v1/events", event(recipient="customer:ann", data={"of": "ann"}), key=key)
        ).status_code == 422
    await erase(shop, "customer:ann")
    left = [(await shop.get("/v1/rejections", key=key)).json()["items"] for key in ("live-key", "test-key")]
    assert [len(items) for items in left] == [0, 1]


@pytest.mark.parametrize("replayed", [True, False])
async def test_whom_a_rejection_names_is_remembered_though_its_mapping_no_longer_says(
    shop: Intake, replayed: bool
) -> None:
    """It is replayed, or its sender repeats it, while the mapping is broken."""
    mapping = {"type": "'order.placed'", "id": "body.id", "recipient": "body.who", "data": {"of": "body.who"}}
    definition: dict[str, Any] = {
        "verification": {"scheme": "token", "query": "code"}, "mapping": mapping, "secrets": ["hush-hush-hush"],
    }  # fmt: skip
    await shop.put("/v1/event-types/order.placed", {"schema": {"required": ["total"]}})
    assert (await shop.put("/v1/sources/till", definition)).status_code == 201

    async def send() -> None:
        body = {"id": "1", "who": "ann"}
        assert (await shop.post("/v1/sources/till?code=hush-hush-hush", body, key=None)).status_code == 202

    await send()
    mapping["id"] = "body.number"
    assert (await shop.put("/v1/sources/till", definition, if_match='"1"')).status_code == 200
    if replayed:
        assert (await shop.post("/v1/rejections:replay", {})).json()["rejected"] == 1
    else:
        await send()
    assert [one["times"] for one in (await shop.get("/v1/rejections")).json()["items"]] == [2]
    await erase(shop, "customer:ann")
    assert (await shop.get("/v1/rejections")).json()["items"] == []


async def test_an_event_that_was_being_stored_during_the_erasure_keeps_no_data_and_requests_nameless(
    shop: Intake,
) -> None:
    shop.published.releases[:] = [release(recipient="event.data.followers")]
    await erase(shop, "customer:ann", at=datetime.now(UTC) + timedelta(minutes=1))  # after all that comes now
    data = {"followers": ["ann", "ben"], "by": "Ann Example"}
    taken = await shop.post("/v1/events", event(recipient="customer:ann", data=data, subject="customer:ann"))
    assert await data_of(shop, taken) is None
    (request,) = await shop.outbox("notification.requested")
    assert [one.key for one in request.recipients] == ["", "customer:ben"]
    (decided,) = await shop.outbox("decision.recorded")
    assert [one.recipient for one in decided.decisions] == [None, "customer:ben"]
    stored = await shop.rows(f"select * from {SCHEMA}.event")
    stored += await shop.rows(f"select * from {SCHEMA}.event_recipient")
    stored += await shop.rows(f"select partition_key, subject from {SCHEMA}.outbox")
    assert not [row for row in stored if "ann" in str(dict(row)).lower()]


async def test_a_rejection_that_was_being_stored_during_the_erasure_is_not(shop: Intake) -> None:
    await shop.put("/v1/event-types/order.placed", {"schema": {"required": ["total"]}})
    await erase(shop, "customer:ann", at=datetime.now(UTC) + timedelta(minutes=1))
    for name in ("ann", "ben"):
        answer = await shop.post("/v1/events", event(f"e-{name}", recipient=f"customer:{name}", data={"for": name}))
        assert answer.status_code == 422
    (left,) = (await shop.get("/v1/rejections")).json()["items"]
    assert "ben" in left["body"]


async def test_a_replayed_rejection_brings_nobody_back(shop: Intake) -> None:
    """Nothing told whom it was about until its mapping was fixed: it outlived the erasure."""
    shop.published.releases[:] = [release(recipient="event.data.customer")]
    mapping = {"type": "'order.placed'", "id": "body.number", "data": {"customer": "body.who"}}
    definition: dict[str, Any] = {
        "verification": {"scheme": "token", "query": "code"}, "mapping": mapping, "secrets": ["hush-hush-hush"],
    }  # fmt: skip
    assert (await shop.put("/v1/sources/till", definition)).status_code == 201
    for name in ("ann", "ben"):
        body = {"id": name, "who": name}
        assert (await shop.post("/v1/sources/till?code=hush-hush-hush", body, key=None)).status_code == 202
    await erase(shop, "customer:ann", at=NOW + timedelta(minutes=1))  # they came at NOW, by the shop's clock
    mapping["id"] = "body.id"
    assert (await shop.put("/v1/sources/till", definition, if_match='"1"')).status_code == 200
    assert (await shop.post("/v1/rejections:replay", {})).json()["replayed"] == 2
    requests = await shop.outbox("notification.requested")
    assert sorted(one.key for request in requests for one in request.recipients) == ["", "customer:ben"]
    bodies = await shop.rows(f"select body from {SCHEMA}.event where body is not null")
    assert [b"ann" in row["body"] for row in bodies] == [False]


async def test_a_code_travels_with_the_request_and_is_stored_nowhere_else(shop: Intake) -> None:
    await shop.put("/v1/event-types/order.placed", {"schema": {"properties": {"code": {"x-secret": True}}}})
    taken = await shop.post("/v1/events", event(data={"customer_id": "1", "code": "471147"}))
    assert await data_of(shop, taken) == {"customer_id": "1", "code": "********"}  # an admin sees no more
    (row,) = await shop.rows(f"select body, decisions, extensions from {SCHEMA}.event")
    assert "471147" not in str(dict(row))
    (request,) = await shop.outbox("notification.requested")
    assert (request.event["data"]["code"], request.secret) == ("471147", True)
    plain = await shop.post("/v1/events", event("e2", type="order.shipped"))
    assert plain.status_code == 202


async def test_an_edit_or_removal_that_read_an_old_version_is_refused(shop: Intake) -> None:
    for path, body, edit in (
        ("/v1/event-types/order.placed", {"schema": {"type": "object"}}, {"schema": None}),
        ("/v1/sources/shopify", {"shipped": "shopify", "secrets": ["hush-hush-hush"]}, {"description": "Ours"}),
    ):
        assert (await shop.put(path, body)).headers["etag"] == '"1"'
        assert (await shop.put(path, body | edit)).status_code == 428
        assert (await shop.put(path, body | edit, if_match='"1"')).headers["etag"] == '"2"'
        assert (await shop.put(path, body | edit, if_match='"1"')).status_code == 412
    for sent, status in (({}, 428), ({"if_match": '"1"'}, 412), ({"if_match": '"2"'}, 204)):
        assert (await shop.delete("/v1/sources/shopify", **sent)).status_code == status
