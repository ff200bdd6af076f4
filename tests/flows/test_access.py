"""The first start, tenants and topics over HTTP, on a real Postgres."""

import asyncio
import stat
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from libs import credentials
from libs.auth import Guard
from libs.contracts.outcomes import Mode
from libs.service import Runtime
from libs.service_client import Transport
from services.access.app import create_service, ensure_first
from tests.flows.access_suite import Suite, suite_over

_WAITING = "select exists (select from pg_locks where not granted)"
_TOPIC_OF_ANOTHER = """
insert into access.topic (tenant, mode, name, category, description, active, changed_at)
select 1, mode, 'news', 1, 'theirs', true, now() from access.api_key where id = $1
"""


@pytest.fixture
async def suite(runtime: Runtime, transports: dict[str, Transport]) -> AsyncIterator[Suite]:
    async with suite_over(runtime, transports) as suite:
        yield suite


async def test_an_empty_folder_gets_a_tenant_and_an_admin_key_per_mode(suite: Suite) -> None:
    path = suite.runtime.data_dir / credentials.FILE_NAME
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    tenants = (await suite.call("GET", "/v1/tenants")).json()["items"]
    assert [(tenant["number"], tenant["name"]) for tenant in tenants] == [(1, "default")]
    keys = (await suite.call("GET", "/v1/keys")).json()["items"]
    assert sorted(key["mode"] for key in keys) == ["live", "test"]
    assert all(key["scopes"] == ["admin"] for key in keys)


async def test_a_second_start_makes_no_second_keys(suite: Suite) -> None:
    await ensure_first(suite.runtime)
    assert len((await suite.call("GET", "/v1/keys")).json()["items"]) == 2


async def test_starts_at_the_same_moment_make_one_tenant_and_one_key_per_mode(runtime: Runtime) -> None:
    paths = await asyncio.gather(*(ensure_first(runtime) for _ in range(3)))
    connection = await asyncpg.connect(runtime.dsn_of("access"))
    assert await connection.fetchval("select count(*) from access.tenant") == 1
    assert await connection.fetchval("select count(*) from access.api_key") == len(Mode)
    await connection.close()
    assert len(set(paths)) == 1


async def test_a_lost_credentials_file_is_replaced_by_one_that_works(suite: Suite) -> None:
    (suite.runtime.data_dir / credentials.FILE_NAME).unlink()
    found = credentials.read(await ensure_first(suite.runtime))
    assert found is not None
    answer = await suite.call("GET", "/v1/tenants", key=found.keys[Mode.LIVE])
    assert answer.status_code == 200


async def test_every_route_has_exactly_one_guard(suite: Suite) -> None:
    service = create_service(suite.runtime)
    for router in service.routers:
        for route in router.routes:
            guards = [d for d in _dependencies(route) if isinstance(d, Guard)]  # type: ignore[arg-type]
            assert len(guards) == 1, route


def _dependencies(route: Any) -> list[Any]:
    found, todo = [], [route.dependant]
    while todo:
        dependant = todo.pop()
        todo.extend(dependant.dependencies)
        if dependant.call is not None:
            found.append(dependant.call)
    return found


async def test_a_topic_is_edited_by_version(suite: Suite) -> None:
    body = {"category": "marketing", "description": "Prices"}
    made = await suite.call("PUT", "/v1/topics/price-alerts", body)
    assert (made.status_code, made.headers["etag"]) == (201, '"1"')
    changed = body | {"active": False}
    assert (await suite.call("PUT", "/v1/topics/price-alerts", changed)).status_code == 428
    assert (await suite.call("PUT", "/v1/topics/price-alerts", changed, if_match='"7"')).status_code == 412
    done = await suite.call("PUT", "/v1/topics/price-alerts", changed, if_match='"1"')
    assert (done.status_code, done.headers["etag"], done.json()["active"]) == (200, '"2"', False)


async def test_a_tenant_is_edited_by_version(suite: Suite) -> None:
    body = {"name": "Nordlicht", "default_locale": "de", "zone": "Europe/Vienna"}
    assert (await suite.call("PUT", "/v1/tenants/1", body)).status_code == 428
    assert (await suite.call("PUT", "/v1/tenants/1", body, if_match='"7"')).status_code == 412
    assert (await suite.call("GET", "/v1/tenants/1")).json()["name"] == "default"
    done = await suite.call("PUT", "/v1/tenants/1", body, if_match='"1"')
    assert (done.status_code, done.headers["etag"]) == (200, '"2"')


async def test_a_topics_category_stays_because_consents_hang_on_it(suite: Suite) -> None:
    await suite.call("PUT", "/v1/topics/news", {"category": "marketing"})
    answer = await suite.call("PUT", "/v1/topics/news", {"category": "transactional"}, if_match="*")
    assert answer.status_code == 409
    assert answer.json()["errors"][0]["pointer"] == "/category"


async def test_of_two_tenants_that_take_one_name_at_the_same_moment_one_is_told(suite: Suite) -> None:
    for name in ("Brand A", "Brand B"):
        assert (await suite.call("POST", "/v1/tenants", {"name": name})).status_code == 201
    other = await asyncpg.connect(suite.runtime.dsn_of("access"))
    try:
        async with other.transaction():
            await other.execute("update access.tenant set name = 'Brand' where name = 'Brand A'")
            second = asyncio.create_task(suite.call("PUT", "/v1/tenants/3", {"name": "Brand"}, if_match="*"))
            while not second.done() and not await other.fetchval(_WAITING):  # noqa: ASYNC110 - Postgres sets no event
                await asyncio.sleep(0.01)
    finally:
        await other.close()
    answer = await second
    assert answer.status_code == 409, answer.text
    assert answer.json()["errors"][0]["pointer"] == "/name"


async def test_topics_of_test_and_live_are_apart(suite: Suite) -> None:
    await suite.call("PUT", "/v1/topics/trial", {"category": "marketing"}, key=suite.test)
    assert (await suite.call("GET", "/v1/topics/trial")).status_code == 404
    assert (await suite.call("GET", "/v1/topics/trial", key=suite.test)).status_code == 200
    for key, listed in ((suite.live, []), (suite.test, ["trial"])):
        page = (await suite.call("GET", "/v1/topics", key=key)).json()
        assert [topic["name"] for topic in page["items"]] == listed
    client = suite.runtime.client("orders-notification", "access")
    for mode, known in ((Mode.LIVE, False), (Mode.TEST, True)):
        answer = await client.post("/v1/topics:resolve", {"topics": ["trial"]}, tenant=1, mode=mode)
        assert ("trial" in answer["topics"]) is known, "published in one mode, it would have consents in the other only"


async def test_of_two_who_create_a_topic_at_the_same_moment_one_is_told(suite: Suite) -> None:
    other = await asyncpg.connect(suite.runtime.dsn_of("access"))
    try:
        async with other.transaction():
            await other.execute(_TOPIC_OF_ANOTHER, suite.live.split("_")[2])
            second = asyncio.create_task(suite.call("PUT", "/v1/topics/news", {"category": "marketing"}))
            while not second.done() and not await other.fetchval(_WAITING):  # noqa: ASYNC110 - Postgres sets no event
                await asyncio.sleep(0.01)
    finally:
        await other.close()
    assert (await second).status_code == 409
    topic = (await suite.call("GET", "/v1/topics/news")).json()
    assert (topic["category"], topic["description"]) == ("transactional", "theirs")


async def test_publishing_asks_for_tenant_and_topics_in_one_call(suite: Suite) -> None:
    await suite.call("PUT", "/v1/topics/news", {"category": "marketing"})
    client = suite.runtime.client("orders-notification", "access")
    answer = await client.post("/v1/topics:resolve", {"topics": ["news", "gone"]}, tenant=1, mode=Mode.LIVE)
    assert answer["tenant"]["default_locale"] == "en"
    assert {name: topic["category"] for name, topic in answer["topics"].items()} == {"news": "marketing"}
    assert answer["near"] == {"gone": []}
    answer = await client.post("/v1/topics:resolve", {"topics": ["newz"]}, tenant=1, mode=Mode.LIVE)
    assert answer["near"] == {"newz": ["news"]}
    assert (await client.get("/v1/tenants/1", tenant=1, mode=Mode.LIVE))["name"] == "default"


async def test_every_change_is_an_event_and_an_action(suite: Suite) -> None:
    made = await suite.make_key("events:send")
    await suite.call("PUT", "/v1/topics/news", {"category": "marketing"})
    tenant = {"name": "Nordlicht", "default_locale": "de_at", "zone": "Europe/Vienna"}
    await suite.call("PUT", "/v1/tenants/1", tenant, if_match="*")
    events = (await suite.events())[4:]
    assert [event.TYPE for event in events] == [
        "action.recorded",
        "topic.changed",
        "action.recorded",
        "tenant.changed",
        "action.recorded",
    ]
    assert (events[0].action, events[0].object) == ("key.create", made["id"])
    assert events[3].default_locale == "de-AT"
    assert events[4].before["name"] == "default"
    assert events[4].after["name"] == "Nordlicht"


async def test_lists_are_paged_to_the_end(suite: Suite) -> None:
    for number in range(5):
        await suite.call("PUT", f"/v1/topics/t{number}", {"category": "marketing"})
    names, cursor = [], ""
    while True:
        page = (await suite.call("GET", f"/v1/topics?limit=2{cursor}")).json()
        names += [topic["name"] for topic in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert names == [f"t{number}" for number in range(5)]


# one database for all: these tests write nothing
BAD_INPUT: list[tuple[str, str, Any, int]] = [
    ("POST", "/v1/tenants", {"name": "default"}, 409),
    ("POST", "/v1/tenants", {"name": " "}, 422),
    ("POST", "/v1/tenants", {"name": "x", "default_locale": "klingon"}, 422),
    ("POST", "/v1/tenants", {"name": "x", "zone": "Mars/Olympus"}, 422),
    ("POST", "/v1/tenants", {"name": "x\0y"}, 400),
    ("POST", "/v1/tenants", {"name": "x", "colour": "red"}, 422),
    ("POST", "/v1/keys", {"name": "x", "scopes": ["everything"]}, 422),
    ("POST", "/v1/keys", {"name": "x", "scopes": []}, 422),
    ("POST", "/v1/keys", {"name": "x", "scopes": ["admin"], "expires_at": "2020-01-01T00:00:00Z"}, 422),
    ("POST", "/v1/keys", {"name": "x", "scopes": ["admin"], "expires_at": "2030-01-01T00:00:00"}, 422),
    ("POST", "/v1/keys", {"name": "x", "scopes": ["admin"], "expires_at": "9999-12-31T23:59:59-12:00"}, 422),
    ("POST", "/v1/keys", {"name": "x", "scopes": ["admin"], "expires_at": "0001-01-01T00:00:00+14:00"}, 422),
    ("POST", "/v1/keys", {"name": "x", "scopes": ["admin"], "tenant": 99}, 422),
    ("DELETE", "/v1/keys/%00", None, 422),
    ("DELETE", "/v1/keys/aaaaaaaaaaaaaaaa", None, 404),
    ("PUT", "/v1/topics/%00", {"category": "marketing"}, 422),
    ("PUT", "/v1/topics/News!", {"category": "marketing"}, 422),
    ("GET", "/v1/tenants/40000", None, 422),
    ("GET", "/v1/tenants/7", None, 404),
    ("GET", "/v1/tenants?cursor=WyJhIl0", None, 422),
    ("GET", "/v1/topics?cursor=WzFd", None, 422),
    ("GET", "/v1/topics?cursor=%F0", None, 422),
]


async def test_bad_input_is_named_and_never_a_500(suite: Suite) -> None:
    for method, path, body, status in BAD_INPUT:
        answer = await suite.call(method, path, body)
        assert (answer.status_code, bool(answer.json()["detail"])) == (status, True), (path, body, answer.text)
