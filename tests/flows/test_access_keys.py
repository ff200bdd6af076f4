"""API keys: who may do what, for whom, how long; and what nobody may learn."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import asyncpg
import pytest

from libs.auth import SCOPES
from libs.contracts.outcomes import Mode
from libs.service import Runtime
from libs.service_client import Transport
from tests.flows.access_suite import Suite, suite_over

_WAITING = """
select count(*) from pg_locks join pg_stat_activity using (pid) where not granted and datname = current_database()
"""


@pytest.fixture
async def suite(runtime: Runtime, transports: dict[str, Transport]) -> AsyncIterator[Suite]:
    async with suite_over(runtime, transports) as suite:
        yield suite


async def test_secrets_are_not_in_the_database(suite: Suite) -> None:
    made = await suite.make_key("events:send")
    secret = made["key"].rpartition("_")[2]
    connection = await asyncpg.connect(suite.runtime.dsn_of("access"))
    for table in ("api_key", "outbox"):
        rows = await connection.fetch(f"select t::text from access.{table} t")
        assert all(secret.encode().hex() not in row["t"] and secret not in row["t"] for row in rows)
    await connection.close()


async def test_a_key_sent_with_an_idempotency_key_is_not_kept_readable(suite: Suite) -> None:
    body = {"name": "a key", "scopes": ["events:send"]}
    first = await suite.call("POST", "/v1/keys", body, idempotency_key="once")
    again = await suite.call("POST", "/v1/keys", body, idempotency_key="once")
    assert again.json() == first.json()
    assert again.headers["location"] == f"/access/v1/keys/{first.json()['id']}"
    connection = await asyncpg.connect(suite.runtime.dsn_of("access"))
    kept = await connection.fetchval("select body from access.idempotency where key = 'once'")
    await connection.close()
    assert first.json()["key"].rpartition("_")[2].encode() not in kept


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


async def test_a_key_that_has_expired_administers_nothing(suite: Suite) -> None:
    (last,) = [key["id"] for key in (await suite.call("GET", "/v1/keys")).json()["items"] if key["mode"] == "live"]
    await suite.make_key("admin", expires_at=(suite.clock.now + timedelta(hours=1)).isoformat())
    suite.clock.advance(timedelta(hours=1))
    refused = await suite.call("DELETE", f"/v1/keys/{last}")
    assert (refused.status_code, "last key" in refused.json()["detail"]) == (409, True)


async def test_a_rotated_key_works_for_its_grace_and_no_longer(suite: Suite) -> None:
    old = await suite.make_key("topics:read")
    new = (await suite.call("POST", f"/v1/keys/{old['id']}:rotate", {"grace_hours": 2})).json()
    assert (new["replaces"], new["scopes"]) == (old["id"], ["topics:read"])
    for key in (old, new):
        assert (await suite.call("GET", "/v1/topics", key=key["key"])).status_code == 200
    suite.clock.advance(timedelta(hours=2))
    ask = suite.runtime.keys.ask  # without the verifier's five-second cache
    assert (await ask(new["key"])).actor == new["id"]
    keys = (await suite.call("GET", "/v1/keys")).json()["items"]
    assert {key["id"]: key["state"] for key in keys}[old["id"]] == "expired"


async def test_a_rotation_prolongs_no_key(suite: Suite) -> None:
    ends = suite.clock.now + timedelta(hours=1)
    old = await suite.make_key("topics:read", expires_at=ends.isoformat())
    suite.clock.advance(timedelta(minutes=20))
    new = (await suite.call("POST", f"/v1/keys/{old['id']}:rotate", {"grace_hours": 2})).json()
    assert datetime.fromisoformat(new["expires_at"]) == suite.clock.now + timedelta(hours=1)  # as the old one was given
    suite.clock.advance(timedelta(minutes=40))
    keys = (await suite.call("GET", "/v1/keys")).json()["items"]
    assert {key["id"]: key["state"] for key in keys}[old["id"]] == "expired"


async def test_a_key_rotated_without_grace_ends_at_once_and_is_not_rotated_again(suite: Suite) -> None:
    old = await suite.make_key("topics:read")
    new = (await suite.call("POST", f"/v1/keys/{old['id']}:rotate", {"grace_hours": 0})).json()
    keys = (await suite.call("GET", "/v1/keys")).json()["items"]
    assert {key["id"]: key["state"] for key in keys if key["id"] in (old["id"], new["id"])} == {
        old["id"]: "expired",
        new["id"]: "active",
    }
    again = await suite.call("POST", f"/v1/keys/{old['id']}:rotate")
    assert (again.status_code, "already expired" in again.json()["detail"]) == (409, True)


async def test_what_is_done_to_a_key_is_in_the_audit_of_its_own_tenant_and_mode(suite: Suite) -> None:
    tenant = (await suite.call("POST", "/v1/tenants", {"name": "Brand"})).json()["number"]
    theirs = await suite.make_key("events:send", tenant=tenant, mode="test")
    await suite.call("DELETE", f"/v1/keys/{theirs['id']}")
    connection = await asyncpg.connect(suite.runtime.dsn_of("access"))
    told = await connection.fetch(
        "select tenant, mode from access.outbox where partition_key = $1 order by id", theirs["id"]
    )
    await connection.close()
    assert [tuple(row) for row in told] == [(tenant, Mode.TEST)] * 2  # created and revoked by the operator's live key


async def test_every_scope_of_the_list_can_be_given(suite: Suite) -> None:
    made = await suite.make_key(*SCOPES)
    assert made["scopes"] == sorted(SCOPES)


async def test_of_the_last_two_admin_keys_one_stays_when_both_are_revoked_at_once(suite: Suite) -> None:
    other = await suite.make_key("admin")
    ours = suite.live.split("_")[2]
    connection = await asyncpg.connect(suite.runtime.dsn_of("access"))
    async with connection.transaction():
        await connection.execute("lock table access.api_key in share mode")  # reads continue, writes wait
        both = [asyncio.create_task(suite.call("DELETE", f"/v1/keys/{id_}")) for id_ in (ours, other["id"])]
        while await connection.fetchval(_WAITING) < 2 and not any(one.done() for one in both):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    answers = await asyncio.gather(*both)
    await connection.close()
    assert sorted(answer.status_code for answer in answers) == [200, 409]


async def test_a_test_key_of_the_operator_ends_no_key_of_another_tenant(suite: Suite) -> None:
    tenant = (await suite.call("POST", "/v1/tenants", {"name": "Other", "default_locale": "de"})).json()
    theirs = await suite.make_key("events:send", tenant=tenant["number"], mode="test")
    assert (await suite.call("DELETE", f"/v1/keys/{theirs['id']}", key=suite.test)).status_code == 404
    assert (await suite.call("DELETE", f"/v1/keys/{theirs['id']}")).status_code == 200


async def test_a_key_that_is_on_its_way_out_does_not_administer_for_long(suite: Suite) -> None:
    """The key that was rotated works for a day more; with the new one gone, nobody would administer after that."""
    (first,) = [key for key in (await suite.call("GET", "/v1/keys")).json()["items"] if key["mode"] == "live"]
    new = (await suite.call("POST", f"/v1/keys/{first['id']}:rotate", {})).json()
    refused = await suite.call("DELETE", f"/v1/keys/{new['id']}")
    assert (refused.status_code, "last key" in refused.json()["detail"]) == (409, True)
    await suite.make_key("admin")
    assert (await suite.call("DELETE", f"/v1/keys/{new['id']}")).status_code == 200


async def test_a_test_key_does_not_change_what_live_traffic_uses(suite: Suite) -> None:
    """A tenant has no mode: its default locale is what live mails are written in."""
    made = await suite.call("POST", "/v1/tenants", {"name": "shoes", "default_locale": "de", "zone": "Europe/Berlin"})
    number = made.json()["number"]
    keys = {mode: (await suite.make_key("tenants:admin", tenant=number, mode=mode))["key"] for mode in ("test", "live")}
    body = {"name": "shoes", "default_locale": "fr", "zone": "Europe/Paris"}
    path = f"/v1/tenants/{number}"
    refused = await suite.call("PUT", path, body, key=keys["test"], if_match="*")
    assert refused.status_code == 403
    assert (await suite.call("PUT", path, body, key=suite.test, if_match="*")).status_code == 403
    assert (await suite.call("PUT", path, body, key=keys["live"], if_match="*")).status_code == 200
