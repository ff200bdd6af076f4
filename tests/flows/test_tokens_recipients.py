"""Recipients over HTTP: saved, changed, masked, erased; each tenant and mode separate; resolved in a batch."""

from collections.abc import AsyncIterator, Callable, Iterator

import asyncpg
import pytest

from libs.contracts.audit import ActionRecorded
from libs.contracts.outcomes import Mode
from libs.contracts.tokens import RecipientChanged, RecipientErased
from libs.service import Runtime
from libs.storage import embedded
from tests.flows.tokens_suite import Suite, database_of, suite_over, wipe

JOERG = {
    "first_name": "Jörg",
    "last_name": "Müller",
    "locale": "de_at",
    "zone": "Europe/Vienna",
    "quiet_hours": {"from": "22:00", "to": "07:00"},
    "attributes": {"tier": "gold", "order": 123456789012345678, "total": 19.90, "emoji": "👍🏽"},
    "emails": ["Joerg@Example.com"],
    "phones": ["0664 1234567"],
}


@pytest.fixture(scope="module")
def dsn(postgres: embedded.EmbeddedServer) -> Iterator[str]:
    with database_of(postgres, "tokens_recipients") as dsn:
        yield dsn


@pytest.fixture
async def suite(dsn: str, make_runtime: Callable[[str], Runtime]) -> AsyncIterator[Suite]:
    await wipe(dsn)
    async with suite_over(make_runtime(dsn), default_region="AT") as suite:
        yield suite


async def test_a_recipient_is_kept_and_resolved_as_it_was_given(suite: Suite) -> None:
    made = await suite.call("PUT", "/v1/recipients/customer:4711", JOERG)
    assert made.status_code == 201, made.text
    assert made.headers["etag"] == '"1"'

    found = await suite.resolve("customer:4711", "customer:nobody")
    assert list(found) == ["customer:4711"]
    joerg = found["customer:4711"]
    assert (joerg["first_name"], joerg["locale"], joerg["zone"]) == ("Jörg", "de-AT", "Europe/Vienna")
    assert joerg["attributes"] == JOERG["attributes"]
    assert joerg["quiet_hours"] == {"from": "22:00", "to": "07:00", "zone": "Europe/Vienna"}
    assert joerg["consents"] == {}
    assert [(a["channel"], a["kind"], a["value"]) for a in joerg["addresses"]] == [
        ("email", "email", "Joerg@example.com"),
        ("sms", "phone", "+436641234567"),
    ]
    assert all(len(a["hash"]) == 44 and a["id"] > 0 and a["locale"] is None for a in joerg["addresses"])


async def test_quiet_hours_are_in_their_own_zone_else_the_recipients_else_the_settings(suite: Suite) -> None:
    hours, vienna = {"from": "22:00", "to": "07:00"}, {"zone": "Europe/Vienna"}
    for number, body in enumerate(({"quiet_hours": hours | {"zone": "Asia/Tokyo"}} | vienna, {"quiet_hours": hours})):
        await suite.call("PUT", f"/v1/recipients/customer:{number}", body)
    found = await suite.resolve("customer:0", "customer:1")
    assert found["customer:0"]["quiet_hours"] == hours | {"zone": "Asia/Tokyo"}
    assert found["customer:1"]["quiet_hours"] == hours | {"zone": "Europe/Berlin", "zone_from": "default"}


async def test_resolve_asks_three_statements_whatever_the_number(suite: Suite) -> None:
    rows = "".join(f'{{"key": "customer:{n}", "emails": ["u{n}@example.com"]}}\n' for n in range(1000))
    assert (await suite.load(rows, "application/x-ndjson")).status_code == 201
    found = await suite.resolve(*[f"customer:{n}" for n in range(1000)], topic="news")
    assert len(found) == 1000
    assert found["customer:17"]["consents"] == {"push": False, "email": False, "sms": False, "webhook": False}
    too_many = await suite.internal("/v1/recipients:resolve", {"keys": ["k"] * 1001})
    assert too_many.status_code == 422


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"keys": 1}',
        b'{"keys": ["a\\u0000"]}',
        b'{"keys": [], "channels": ["fax"]}',
        b'{"keys": [], "x": 1}',
    ],
)
async def test_a_wrong_resolve_is_a_422(suite: Suite, body: bytes) -> None:
    token = suite.runtime.tokens.make("delivery", 1, Mode.LIVE)
    answer = await suite.http.post(
        "/v1/recipients:resolve", content=body, headers={"authorization": f"Internal {token}"}
    )
    assert answer.status_code == 422, answer.text


async def test_the_suite_alone_may_resolve(suite: Suite) -> None:
    assert (await suite.call("POST", "/v1/recipients:resolve", {"keys": []})).status_code == 401


async def test_a_change_needs_the_version_that_it_was_made_from(suite: Suite) -> None:
    await suite.call("PUT", "/v1/recipients/customer:1", {"first_name": "Max"})
    bare = await suite.call("PUT", "/v1/recipients/customer:1", {"first_name": "Moritz"})
    late = await suite.call("PUT", "/v1/recipients/customer:1", {"first_name": "Moritz"}, headers={"if-match": '"7"'})
    good = await suite.call("PUT", "/v1/recipients/customer:1", {"first_name": "Moritz"}, headers={"if-match": '"1"'})
    assert (bare.status_code, late.status_code, good.status_code) == (428, 412, 200)
    assert good.json()["first_name"] == "Moritz"
    assert good.headers["etag"] == '"2"'


async def test_put_replaces_and_patch_changes_what_it_names(suite: Suite) -> None:
    await suite.call("PUT", "/v1/recipients/customer:1", JOERG)
    patched = await suite.call(
        "PATCH", "/v1/recipients/customer:1", {"last_name": None, "attributes": {"tier": None, "size": "L"}}
    )
    assert patched.json()["first_name"] == "Jörg"
    assert patched.json()["last_name"] is None
    assert patched.json()["attributes"] == {k: v for k, v in JOERG["attributes"].items() if k != "tier"} | {"size": "L"}
    put = await suite.call("PUT", "/v1/recipients/customer:1", {"emails": []}, headers={"if-match": "*"})
    assert put.json()["first_name"] is None
    assert put.json()["attributes"] == {}
    assert put.json()["emails"] == []
    assert len(put.json()["phones"]) == 1  # not given: unchanged
    assert (await suite.call("PATCH", "/v1/recipients/customer:2", {})).status_code == 404


async def test_a_change_that_says_nothing_new_is_no_change(suite: Suite) -> None:
    await suite.call("PUT", "/v1/recipients/customer:1", JOERG)
    await suite.events()
    again = await suite.call("PUT", "/v1/recipients/customer:1", JOERG, headers={"if-match": "*"})
    assert again.headers["etag"] == '"1"'
    assert await suite.events() == []


async def test_each_change_is_told_with_its_fields_and_without_values(suite: Suite) -> None:
    await suite.call("PUT", "/v1/recipients/customer:1", JOERG)
    await suite.call("PATCH", "/v1/recipients/customer:1", {"first_name": "Georg", "emails": ["g@example.com"]})
    events = await suite.events()
    changed = [event for event in events if isinstance(event, RecipientChanged)]
    assert [(event.recipient, event.version) for event in changed] == [("customer:1", 1), ("customer:1", 2)]
    assert changed[0].fields[0] == "created"
    assert changed[1].fields == ("first_name", "emails")
    actions = [event for event in events if isinstance(event, ActionRecorded)]
    assert [(a.actor, a.action) for a in actions] == [
        ("key-admin", "recipient.create"),
        ("key-admin", "recipient.change"),
    ]
    assert not any("Georg" in repr(event) or "example.com" in repr(event) for event in events)


async def test_names_and_addresses_are_masked_without_the_scope(suite: Suite) -> None:
    await suite.call("PUT", "/v1/recipients/customer:1", JOERG)
    seen = (await suite.call("GET", "/v1/recipients/customer:1", key="writer")).json()
    assert seen["first_name"] == "J•••"
    assert seen["emails"][0]["value"] == "J•••@example.com"
    assert seen["phones"][0]["value"] == "+43•••67"
    assert seen["attributes"]["tier"] == "•••"
    assert "Müller" not in str(seen)
    written_back = await suite.call(
        "PATCH", "/v1/recipients/customer:1", {"first_name": "J•••", "emails": ["J•••@example.com"]}, key="writer"
    )
    assert written_back.status_code == 422
    assert (await suite.call("GET", "/v1/recipients/customer:1", key="events")).status_code == 403


async def test_tenants_and_modes_never_see_one_another(suite: Suite) -> None:
    await suite.call("PUT", "/v1/recipients/customer:1", JOERG)
    for key in ("test", "other"):
        assert (await suite.call("GET", "/v1/recipients/customer:1", key=key)).status_code == 404
        assert (await suite.call("GET", "/v1/recipients", key=key)).json()["items"] == []
        assert (await suite.call("DELETE", "/v1/recipients/customer:1", key=key)).status_code == 204
    assert (await suite.call("GET", "/v1/recipients/customer:1")).status_code == 200
    assert await suite.resolve("customer:1", tenant=2) == {}
    assert await suite.resolve("customer:1", mode=Mode.TEST) == {}
    hash_ = (await suite.resolve("customer:1"))["customer:1"]["addresses"][0]["hash"]
    for tenant, mode in ((2, Mode.LIVE), (1, Mode.TEST)):
        found = await suite.internal("/v1/addresses:find", {"hashes": [hash_]}, tenant=tenant, mode=mode)
        assert found.json()["hashes"][0]["recipients"] == []


async def test_a_list_goes_on_where_it_ended(suite: Suite) -> None:
    for number in range(5):
        await suite.call("PUT", f"/v1/recipients/customer:a{number}", {"emails": [f"m{number}@example.com"]})
    await suite.call("PUT", "/v1/recipients/installation:b", {})
    seen, cursor = [], ""
    while cursor is not None:
        query = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await suite.call("GET", "/v1/recipients", params=query)).json()
        seen += [item["key"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert seen == [f"customer:a{n}" for n in range(5)] + ["installation:b"]
    prefix = (await suite.call("GET", "/v1/recipients", params={"key": "installation:"})).json()
    assert [item["key"] for item in prefix["items"]] == ["installation:b"]
    owner = (await suite.call("GET", "/v1/recipients", params={"address": " M3@Example.com"})).json()
    assert [item["key"] for item in owner["items"]] == ["customer:a3"]
    assert (await suite.call("GET", "/v1/recipients", params={"cursor": "bm9wZQ"})).status_code == 422


async def test_keys_of_other_shops_may_hold_slashes(suite: Suite) -> None:
    path = "/v1/recipients/customer:gid%3A%2F%2Fshopify%2FCustomer%2F7"
    assert (await suite.call("PUT", path, {"emails": ["a@example.com"]})).status_code == 201
    assert (await suite.call("GET", path + "/emails")).json()["items"][0]["value"] == "a@example.com"
    assert (await suite.call("GET", path)).json()["key"] == "customer:gid://shopify/Customer/7"


async def test_addresses_are_added_and_removed_and_keep_their_id(suite: Suite) -> None:
    await suite.call("PUT", "/v1/recipients/customer:1", {})
    added = await suite.call("POST", "/v1/recipients/customer:1/emails", {"value": "info@bücher.example"})
    again = await suite.call("POST", "/v1/recipients/customer:1/emails", {"value": "INFO@BÜCHER.example "})
    assert (added.status_code, again.status_code) == (201, 201)  # the local part is written differently
    assert added.json()["id"] == again.json()["id"]
    assert added.json()["value"] == "info@xn--bcher-kva.example"
    same = await suite.call("POST", "/v1/recipients/customer:1/emails", {"value": "INFO@bücher.example"})
    assert same.status_code == 200
    path = f"/v1/recipients/customer:1/emails/{added.json()['id']}"
    assert (await suite.call("DELETE", path)).status_code == 204
    assert (await suite.call("DELETE", path)).status_code == 404
    back = await suite.call("POST", "/v1/recipients/customer:1/emails", {"value": "info@bücher.example"})
    assert back.json()["id"] == added.json()["id"]
    phone = await suite.call("POST", "/v1/recipients/customer:1/phones", {"value": "0151 23456789", "region": "DE"})
    assert phone.json()["value"] == "+4915123456789"


async def test_webhooks_never_point_inside_unless_allowed(suite: Suite) -> None:
    await suite.call("PUT", "/v1/recipients/customer:1", {})
    inside = await suite.call("POST", "/v1/recipients/customer:1/webhooks", {"value": "https://169.254.169.254/latest"})
    assert inside.status_code == 422
    assert inside.json()["errors"][0]["pointer"] == "/value"
    async with suite_over(suite.runtime, allow_private_webhooks=True) as open_suite:
        allowed = await open_suite.call(
            "POST", "/v1/recipients/customer:1/webhooks", {"value": "http://127.0.0.1:9/hook"}
        )
    assert allowed.status_code == 201


async def test_erasure_leaves_nothing_here_and_is_told(suite: Suite) -> None:
    await suite.call("PUT", "/v1/recipients/customer:1", JOERG)
    statement = {"topic": "news", "channel": "email", "granted": True, "how": "form", "text_version": "1"}
    await suite.call("PUT", "/v1/recipients/customer:1/consents", {"consents": [statement]})
    await suite.events()
    assert (await suite.call("DELETE", "/v1/recipients/customer:1", headers={"if-match": '"1"'})).status_code == 412
    assert (await suite.call("DELETE", "/v1/recipients/customer:1")).status_code == 204
    events = await suite.events()
    assert [type(event) for event in events] == [RecipientErased, ActionRecorded]
    assert events[0].recipient == "customer:1"
    connection = await asyncpg.connect(suite.runtime.dsn_of("tokens"))
    for table in ("recipient", "address", "consent", "consent_statement"):
        assert await connection.fetchval(f"select count(*) from tokens.{table}") == 0
    await connection.close()


async def test_erasure_covers_the_events_that_nobody_could_process(suite: Suite) -> None:
    said = (
        '{"recipient": "customer:1", "fields": ["emails"], "version": 2, "at": "2027-03-01T09:00:00Z", "note": "Jörg"}'
    )
    connection = await asyncpg.connect(suite.runtime.dsn_of("tokens"))
    await connection.execute(
        "insert into tokens.dead_letter (id, event_id, type, source, subscriber, tenant, mode, partition_key, payload,"
        " created_at, attempts, reason) values (gen_random_uuid(), gen_random_uuid(), 'recipient.changed', 'tokens',"
        " 'history', 1, 1, 'customer:1', convert_to($1, 'UTF8'), now(), 8, 'invalid: Jörg')",
        said,
    )
    assert (await suite.call("DELETE", "/v1/recipients/customer:1")).status_code == 204
    (letter,) = await connection.fetch("delete from tokens.dead_letter returning *")
    assert "customer:1" not in str(letter)
    assert "Jörg" not in str(letter)
    await connection.close()


async def test_addresses_are_found_by_hash_and_as_people_write_them(suite: Suite) -> None:
    await suite.call("PUT", "/v1/recipients/customer:1", JOERG)
    await suite.call("PUT", "/v1/recipients/customer:2", {"phones": ["+43 664 1234567"]})
    answer = await suite.internal(
        "/v1/addresses:find", {"addresses": ["JOERG@example.com", "0664 123 45 67", "nothing", "x@"]}
    )
    found = {item["address"]: item["recipients"] for item in answer.json()["addresses"]}
    assert found == {
        "JOERG@example.com": ["customer:1"],
        "0664 123 45 67": ["customer:1", "customer:2"],
        "nothing": [],
        "x@": [],
    }
    hash_ = answer.json()["addresses"][0]["hash"]
    by_hash = await suite.internal("/v1/addresses:find", {"hashes": [hash_]})
    assert by_hash.json()["hashes"] == [{"hash": hash_, "recipients": ["customer:1"]}]
    assert (await suite.internal("/v1/addresses:find", {"hashes": ["***"]})).status_code == 422


async def test_who_is_not_known_here_is_erased_everywhere_else(suite: Suite) -> None:
    """An event may name somebody whom nobody has imported, and whoever was erased may be in an event that came late."""
    for _ in range(2):
        assert (await suite.call("DELETE", "/v1/recipients/customer:9")).status_code == 204
        events = await suite.events()
        assert [type(event) for event in events] == [RecipientErased, ActionRecorded]
        assert events[0].recipient == "customer:9"
    assert (await suite.call("DELETE", "/v1/recipients/customer:9", headers={"if-match": '"1"'})).status_code == 412
