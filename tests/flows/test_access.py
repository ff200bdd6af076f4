"""Who may call: tenants, topics and keys over HTTP, on a real Postgres."""

import asyncio
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest

from libs import credentials
from libs.auth import SCOPES, Guard
from libs.clock import FixedClock
from libs.contracts.envelope import decode
from libs.contracts.outcomes import Mode
from libs.service import Runtime
from libs.service_client import AsgiTransport, Transport
from services.access.app import create_service, ensure_first

NOW = datetime(2027, 3, 1, 9, 30, tzinfo=UTC)


@dataclass
class Suite:
    """access alone, with the keys that `up` made."""

    http: httpx.AsyncClient
    runtime: Runtime
    clock: FixedClock
    live: str
    test: str

    async def call(self, method: str, path: str, body: Any = None, *, key: str | None = None, **headers: str) -> Any:
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        headers["authorization"] = f"Bearer {key or self.live}"
        return await self.http.request(method, path, json=body, headers=headers)

    async def make_key(self, *scopes: str, key: str | None = None, **more: Any) -> dict[str, Any]:
        answer = await self.call("POST", "/v1/keys", {"name": "a key", "scopes": list(scopes), **more}, key=key)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def events(self) -> list[Any]:
        connection = await asyncpg.connect(self.runtime.dsn)
        rows = await connection.fetch("select type, payload from access.outbox order by id")
        await connection.close()
        return [decode(row["type"], row["payload"]) for row in rows]


@pytest.fixture
async def suite(runtime: Runtime, transports: dict[str, Transport]) -> AsyncIterator[Suite]:
    clock = FixedClock(NOW)
    runtime = replace(runtime, clock=clock)
    service = create_service(runtime)
    transports["access"] = AsgiTransport(lambda: service.app)
    found = credentials.read(await ensure_first(runtime))
    assert found is not None
    transport = httpx.ASGITransport(app=service.app)
    async with service.running(), httpx.AsyncClient(transport=transport, base_url="http://access") as http:
        yield Suite(http, runtime, clock, found.keys[Mode.LIVE], found.keys[Mode.TEST])


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


async def test_starts_at_the_same_moment_make_one_tenant(runtime: Runtime) -> None:
    paths = await asyncio.gather(*(ensure_first(runtime) for _ in range(3)))
    connection = await asyncpg.connect(runtime.dsn)
    assert await connection.fetchval("select count(*) from access.tenant") == 1
    await connection.close()
    assert len(set(paths)) == 1


async def test_a_lost_credentials_file_is_replaced_by_one_that_works(suite: Suite) -> None:
    (suite.runtime.data_dir / credentials.FILE_NAME).unlink()
    found = credentials.read(await ensure_first(suite.runtime))
    assert found is not None
    answer = await suite.call("GET", "/v1/tenants", key=found.keys[Mode.LIVE])
    assert answer.status_code == 200


async def test_secrets_are_not_in_the_database(suite: Suite) -> None:
    made = await suite.make_key("events:send")
    secret = made["key"].rpartition("_")[2]
    connection = await asyncpg.connect(suite.runtime.dsn)
    for table in ("api_key", "outbox"):
        rows = await connection.fetch(f"select t::text from access.{table} t")
        assert all(secret.encode().hex() not in row["t"] and secret not in row["t"] for row in rows)
    await connection.close()


async def test_a_key_sent_with_an_idempotency_key_is_not_kept_readable(suite: Suite) -> None:
    body = {"name": "a key", "scopes": ["events:send"]}
    first = await suite.call("POST", "/v1/keys", body, idempotency_key="once")
    again = await suite.call("POST", "/v1/keys", body, idempotency_key="once")
    assert again.json() == first.json()
    connection = await asyncpg.connect(suite.runtime.dsn)
    kept = await connection.fetchval("select body from access.idempotency where key = 'once'")
    await connection.close()
    assert first.json()["key"].rpartition("_")[2].encode() not in kept


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


async def test_an_unknown_key_is_401_with_a_next_step(suite: Suite) -> None:
    for presented in ("", "nonsense", "dp_live_aaaaaaaaaaaaaaaa_" + "a" * 52, "dp_test_x_y", "\x7fö"):
        headers = {b"authorization": f"Bearer {presented}".encode()}
        answer = await suite.http.get("/v1/tenants", headers=headers)
        assert answer.status_code == 401, presented
        assert answer.headers["content-type"] == "application/problem+json"
        assert len(answer.json()["detail"]) > 20


async def test_verify_is_for_the_suite_only(suite: Suite) -> None:
    assert (await suite.call("POST", "/v1/keys:verify", {"key": suite.live})).status_code == 401
    client = suite.runtime.client("templates", "access")
    answer = await client.post("/v1/keys:verify", {"key": suite.test}, tenant=0, mode=Mode.LIVE)
    assert (answer["tenant"], answer["mode"], answer["scopes"]) == (1, "test", ["admin"])


async def test_a_key_does_what_its_scopes_say_and_no_more(suite: Suite) -> None:
    reader = (await suite.make_key("topics:read"))["key"]
    assert (await suite.call("GET", "/v1/topics", key=reader)).status_code == 200
    refused = await suite.call("PUT", "/v1/topics/news", {"category": "marketing"}, key=reader)
    assert refused.status_code == 403
    assert refused.json()["scope"] == "topics:write"


async def test_a_key_hands_on_no_scope_that_it_lacks(suite: Suite) -> None:
    helper = (await suite.make_key("keys:admin", "events:send"))["key"]
    await suite.make_key("events:send", key=helper)
    for scopes in (["admin"], ["events:send", "pii:read"]):
        refused = await suite.call("POST", "/v1/keys", {"name": "more", "scopes": scopes}, key=helper)
        assert refused.status_code == 403, scopes


async def test_rotating_a_stronger_key_is_no_way_to_get_it(suite: Suite) -> None:
    helper = (await suite.make_key("keys:admin"))["key"]
    strong = await suite.make_key("admin")
    assert (await suite.call("POST", f"/v1/keys/{strong['id']}:rotate", key=helper)).status_code == 403


async def test_a_test_key_reaches_nothing_live(suite: Suite) -> None:
    body = {"name": "x", "scopes": ["events:send"], "mode": "live"}
    assert (await suite.call("POST", "/v1/keys", body, key=suite.test)).status_code == 403
    live = await suite.make_key("events:send")
    assert (await suite.call("DELETE", f"/v1/keys/{live['id']}", key=suite.test)).status_code == 403
    assert (await suite.call("POST", "/v1/tenants", {"name": "x"}, key=suite.test)).status_code == 403


async def test_an_admin_of_another_tenant_administers_only_that(suite: Suite) -> None:
    tenant = (await suite.call("POST", "/v1/tenants", {"name": "Brand"})).json()
    other = await suite.make_key("admin", tenant=tenant["number"])
    seen = (await suite.call("GET", "/v1/tenants", key=other["key"])).json()["items"]
    assert [item["number"] for item in seen] == [tenant["number"]]
    mine = (await suite.call("GET", "/v1/keys")).json()["items"][0]["id"]
    for method, path, body in (
        ("POST", "/v1/tenants", {"name": "Mine"}),
        ("PUT", "/v1/tenants/1", {"name": "Taken"}),
        ("POST", "/v1/keys", {"name": "x", "scopes": ["admin"], "tenant": 1}),
        ("GET", "/v1/keys?tenant=1", None),
    ):
        assert (await suite.call(method, path, body, key=other["key"])).status_code == 403, path
    assert (await suite.call("DELETE", f"/v1/keys/{mine}", key=other["key"])).status_code == 404
    assert (await suite.call("GET", "/v1/tenants/1", key=other["key"])).status_code == 404


async def test_a_revoked_key_stops_and_says_so(suite: Suite) -> None:
    made = await suite.make_key("topics:read")
    revoked = await suite.call("DELETE", f"/v1/keys/{made['id']}")
    assert revoked.json()["state"] == "revoked"
    answer = await suite.call("GET", "/v1/topics", key=made["key"])
    assert answer.status_code == 401
    assert "revoked" in answer.json()["detail"]
    assert (await suite.call("DELETE", f"/v1/keys/{made['id']}")).status_code == 200


async def test_the_last_admin_key_cannot_be_revoked(suite: Suite) -> None:
    keys = (await suite.call("GET", "/v1/keys")).json()["items"]
    last = next(key["id"] for key in keys if key["mode"] == "live")
    assert (await suite.call("DELETE", f"/v1/keys/{last}")).status_code == 409
    await suite.make_key("admin")
    assert (await suite.call("DELETE", f"/v1/keys/{last}")).status_code == 200


async def test_a_rotated_key_works_for_its_grace_and_no_longer(suite: Suite) -> None:
    old = await suite.make_key("topics:read")
    new = (await suite.call("POST", f"/v1/keys/{old['id']}:rotate", {"grace_hours": 2})).json()
    assert (new["replaces"], new["scopes"]) == (old["id"], ["topics:read"])
    for key in (old, new):
        assert (await suite.call("GET", "/v1/topics", key=key["key"])).status_code == 200
    suite.clock.advance(timedelta(hours=2))
    ask = suite.runtime.keys.ask  # without the verifier's five seconds
    assert (await ask(new["key"])).actor == new["id"]
    keys = (await suite.call("GET", "/v1/keys")).json()["items"]
    assert {key["id"]: key["state"] for key in keys}[old["id"]] == "expired"


async def test_a_topic_is_edited_by_version(suite: Suite) -> None:
    body = {"category": "marketing", "description": "Prices"}
    made = await suite.call("PUT", "/v1/topics/price-alerts", body)
    assert (made.status_code, made.headers["etag"]) == (201, '"1"')
    changed = body | {"active": False}
    assert (await suite.call("PUT", "/v1/topics/price-alerts", changed)).status_code == 428
    assert (await suite.call("PUT", "/v1/topics/price-alerts", changed, if_match='"7"')).status_code == 412
    done = await suite.call("PUT", "/v1/topics/price-alerts", changed, if_match='"1"')
    assert (done.status_code, done.headers["etag"], done.json()["active"]) == (200, '"2"', False)


async def test_a_topics_category_stays_because_consents_hang_on_it(suite: Suite) -> None:
    await suite.call("PUT", "/v1/topics/news", {"category": "marketing"})
    answer = await suite.call("PUT", "/v1/topics/news", {"category": "transactional"}, if_match="*")
    assert answer.status_code == 409
    assert answer.json()["errors"][0]["pointer"] == "/category"


async def test_topics_of_test_and_live_are_apart(suite: Suite) -> None:
    await suite.call("PUT", "/v1/topics/trial", {"category": "marketing"}, key=suite.test)
    assert (await suite.call("GET", "/v1/topics/trial")).status_code == 404
    assert (await suite.call("GET", "/v1/topics/trial", key=suite.test)).status_code == 200


async def test_publishing_asks_for_tenant_and_topics_in_one_call(suite: Suite) -> None:
    await suite.call("PUT", "/v1/topics/news", {"category": "marketing"})
    client = suite.runtime.client("orders-notification", "access")
    answer = await client.post("/v1/topics:resolve", {"topics": ["news", "gone"]}, tenant=1, mode=Mode.LIVE)
    assert answer["tenant"]["default_locale"] == "en"
    assert {name: topic["category"] for name, topic in answer["topics"].items()} == {"news": "marketing"}
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


# one database for all: nothing of this is written
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


async def test_every_scope_of_the_list_can_be_given(suite: Suite) -> None:
    made = await suite.make_key(*SCOPES)
    assert made["scopes"] == sorted(SCOPES)
