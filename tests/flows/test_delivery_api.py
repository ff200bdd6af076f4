"""delivery over HTTP: senders without their secrets, holds, cancelling, standing of messages, rendering again."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from libs.auth import Principal
from libs.contracts.outcomes import Lane, Mode
from libs.errors import Invalid
from libs.ids import message_id
from libs.keyring import Keyring
from libs.service import Runtime, Service
from services.delivery.adapters.postgres.operations import PostgresOperations
from services.delivery.app import create_service
from services.delivery.domain.intake import new_request
from services.delivery.loops.sender import LaneSender
from services.delivery.settings import DeliverySettings
from tests.flows.delivery_world import KEYRING, TENANT, World, now, requested

FCM = {"project": "shop", "static_token": "secret-token"}


class Http:
    """The service, with a key that may do what delivery allows, and a world behind it."""

    def __init__(self, service: Service, client: httpx.AsyncClient, world: World) -> None:
        self.service, self.client, self.world = service, client, world

    async def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        return await self.client.request(method, path, json=body, headers={"authorization": "Bearer k", **headers})


@pytest.fixture
async def http(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Http]:
    object.__setattr__(runtime, "keyring", Keyring(b"a root secret for tests, 32 bytes and more"))
    scopes = frozenset({"delivery:read", "delivery:operate"})

    async def ask(_: str) -> Principal:
        return Principal(TENANT, Mode.LIVE, "key-1", scopes)

    runtime.keys.ask = ask
    service = create_service(runtime)
    transport = httpx.ASGITransport(app=service.app)
    async with service.running(), httpx.AsyncClient(transport=transport, base_url="http://suite") as client:
        assert service.database is not None
        world = World(service.database, now)
        line = service.deps.line
        for name in ("tokens", "releases", "senders"):
            object.__setattr__(line, name, getattr(world, name))
        object.__setattr__(line, "providers", world.line().providers)
        yield Http(service, client, world)


async def sent(http: Http, key: str = "customer:1") -> Any:
    release = await http.world.release(["push"])
    http.world.tokens.add(key, "push")
    envelope = requested(release, [key], now())
    await http.service.deps.intake.accept([new_request(envelope, KEYRING)])
    await LaneSender(http.service.deps.line, Lane.BULK).run_once()
    return envelope


async def test_a_senders_secrets_go_in_and_never_come_out(http: Http) -> None:
    body = {"name": "Shop", "channel": "push", "account": FCM, "rate_per_second": 100}
    made = await http("PUT", "/v1/senders/7", body)
    assert (made.status_code, made.headers["etag"]) == (201, '"1"')
    shown = await http("GET", "/v1/senders/7")
    assert shown.json()["secrets"] == ["static_token"]
    assert "secret-token" not in (await http("GET", "/v1/senders")).text + shown.text
    assert await http.world.value("select rate from throttle where sender = 7") == 100.0


async def test_a_time_out_that_no_lease_outlives_is_refused_and_so_is_a_start_with_such_a_lease(http: Http) -> None:
    """Nothing would ever be sent: a call begins only if its lease outlasts the timeout."""
    slow = {"name": "Slow", "channel": "push", "account": FCM | {"timeout_seconds": 42.0}}
    refused = await http("PUT", "/v1/senders/7", slow | {"account": FCM | {"timeout_seconds": 42.5}})
    assert refused.status_code == 422
    assert refused.json()["errors"] == [
        {"pointer": "/account/timeout_seconds", "detail": "timeout_seconds must be a number from 1 to 42."}
    ]
    assert (await http("PUT", "/v1/senders/7", slow)).status_code == 201
    shorter = create_service(http.service.runtime, DeliverySettings(lease_seconds=30))
    with pytest.raises(Invalid, match=r"Sender 7 \(Slow\) of tenant 1 may take 42 s .* Make the lease 15 s longer"):
        async with shorter.running():
            pass


async def test_an_edit_needs_its_version_and_keeps_the_secrets_that_it_leaves_out(http: Http) -> None:
    body = {"name": "Shop", "channel": "push", "account": FCM}
    await http("PUT", "/v1/senders/7", body)
    again = body | {"name": "Shop, new", "account": {"project": "shop-2"}}
    assert (await http("PUT", "/v1/senders/7", again)).status_code == 428
    assert (await http("PUT", "/v1/senders/7", again, **{"if-match": '"9"'})).status_code == 412
    edited = await http("PUT", "/v1/senders/7", again, **{"if-match": '"1"'})
    assert (edited.status_code, edited.json()["secrets"]) == (200, ["static_token"])
    changed = await http("PUT", "/v1/senders/7", body | {"channel": "email"}, **{"if-match": '"2"'})
    assert changed.status_code in (409, 422)


async def test_of_two_edits_of_the_same_version_the_second_is_not_stored(http: Http) -> None:
    await http("PUT", "/v1/senders/7", {"name": "Shop", "channel": "push", "account": FCM})
    operations = PostgresOperations(http.world.database, KEYRING)
    read = await operations.sender((TENANT, Mode.LIVE), 7)
    assert read is not None
    edits = [replace(read, name=name, version=2, rate=rate) for name, rate in (("first", 5.0), ("second", 900.0))]
    assert [await operations.put_sender(edit, []) for edit in edits] == [True, False]
    assert (await http("GET", "/v1/senders/7")).json()["name"] == "first"
    assert await http.world.value("select rate from throttle where sender = 7") == 5.0


async def test_an_account_that_cannot_work_is_refused_field_by_field(http: Http) -> None:
    refused = await http("PUT", "/v1/senders/7", {"name": "x", "channel": "push", "account": {"projekt": "shop"}})
    assert refused.status_code == 422
    assert any(error["pointer"].startswith("/account") for error in refused.json()["errors"])


async def test_a_hold_is_placed_once_listed_and_lifted(http: Http) -> None:
    body = {"kind": "tenant", "target": "1", "note": "Wrong price"}
    assert (await http("POST", "/v1/holds", body)).status_code == 201
    assert (await http("POST", "/v1/holds", body)).status_code == 200
    assert [hold["note"] for hold in (await http("GET", "/v1/holds")).json()["items"]] == ["Wrong price"]
    await sent(http)
    assert http.world.provider.calls == []
    lifted = await http("DELETE", "/v1/holds?kind=tenant&target=1")
    assert (lifted.status_code, lifted.json()["active"]) == (200, False)
    assert (await http("DELETE", "/v1/holds?kind=tenant&target=1")).status_code == 404
    await LaneSender(http.service.deps.line, Lane.BULK).run_once()
    assert len(http.world.provider.calls) == 1
    types = [row[0] for row in await http.world.fetch("select type from outbox where type like 'hold%' order by id")]
    assert types == ["hold.placed", "hold.lifted"]


@pytest.mark.parametrize(("kind", "target"), [("tenant", "2"), ("cause", "17"), ("sender", "x"), ("sender", "40000")])
async def test_a_hold_on_what_cannot_be_is_refused(http: Http, kind: str, target: str) -> None:
    assert (await http("POST", "/v1/holds", {"kind": kind, "target": target})).status_code == 422


async def test_a_hold_on_a_sender_that_does_not_exist_is_no_success(http: Http) -> None:
    refused = await http("POST", "/v1/holds", {"kind": "sender", "target": "99"})
    assert (refused.status_code, "nothing was stopped" in refused.json()["detail"]) == (404, True)
    await http("PUT", "/v1/senders/99", {"name": "Shop", "channel": "push", "account": FCM})
    assert (await http("POST", "/v1/holds", {"kind": "sender", "target": "99"})).status_code == 201
    await sent(http)
    default = (await http.world.fetch("select sender from message"))[0][0]  # nobody has configured it
    assert (await http("POST", "/v1/holds", {"kind": "sender", "target": str(default)})).status_code == 201


async def test_waiting_work_names_the_hold_that_stops_it(http: Http) -> None:
    await http("POST", "/v1/holds", {"kind": "tenant", "target": "1", "note": "Wrong price"})
    envelope = await sent(http)
    notification = str(envelope.data.recipients[0].notification_id)
    stands = (await http("POST", "/v1/notifications:explain", {"ids": [notification]})).json()["notifications"]
    assert "A hold on tenant 1 stops it, placed by key-1 at " in stands[notification]["detail"]
    assert stands[notification]["detail"].endswith("Note: Wrong price")


async def test_a_sent_message_is_shown_explained_and_rendered_equal(http: Http) -> None:
    envelope = await sent(http)
    notification = envelope.data.recipients[0].notification_id
    row = (await http.world.fetch("select address_id from message"))[0]
    id_ = message_id(notification, row[0])
    shown = (await http("GET", f"/v1/messages/{id_}")).json()
    assert (shown["status"], shown["recipient"], shown["channel"]) == ("sent", "customer:1", "push")
    assert shown["sentence"] == "The provider accepted it."
    stands = (await http("POST", "/v1/notifications:explain", {"ids": [str(notification)]})).json()["notifications"]
    assert stands[str(notification)]["state"] == "final"
    again = (await http("POST", "/v1/messages:render", {"ids": [id_]})).json()["messages"][id_]
    assert (again["digest"], again["parts"]) == ("equal", None)  # this key may not see texts
    http.world.tokens.recipients["customer:1"]["first_name"] = "Grace"
    again = (await http("POST", "/v1/messages:render", {"ids": [id_]})).json()["messages"][id_]
    assert again["digest"] == "differs"
    request = (await http("GET", f"/v1/requests/{envelope.data.request_id}")).json()
    assert request["counters"]["sent"] == request["recipients"] == 1


async def test_a_secret_is_shown_to_nobody_while_it_is_still_needed(http: Http) -> None:
    release = await http.world.release(["push"], ["email"])
    http.world.tokens.add("customer:1", "push")
    envelope = requested(release, ["customer:1"], now(), secret=True)
    await http.service.deps.intake.accept([new_request(envelope, KEYRING)])
    await LaneSender(http.service.deps.line, Lane.BULK).run_once()
    row = (await http.world.fetch("select notification_id, address_id from message"))[0]
    id_ = message_id(row[0], row[1])
    assert await http.world.value("select body is not null from request")
    again = (await http("POST", "/v1/messages:render", {"ids": [id_]})).json()["messages"][id_]
    assert (again["digest"], again["parts"]) == ("not_reproducible", None)
    assert "nobody is shown" in again["why"]


@pytest.mark.parametrize("cause", ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"])
async def test_cancelling_a_cause_that_never_was_is_no_success(http: Http, cause: str) -> None:
    answer = await http("POST", f"/v1/causes/{cause}:cancel", {"note": "A slip of the keyboard"})
    assert (answer.status_code, "nothing was cancelled" in answer.json()["detail"]) == (404, True)
    envelope = await sent(http)
    done = await http("POST", f"/v1/causes/{envelope.data.cause_id}:cancel", {})
    assert (done.status_code, done.json()["open_requests"]) == (200, 0)  # it is known, and all of it was called


async def test_what_was_erased_cannot_be_rendered_again(http: Http) -> None:
    await sent(http)
    await http.service.deps.projections.erase([(TENANT, Mode.LIVE, "customer:1", datetime.now(UTC))])
    row = (await http.world.fetch("select notification_id, address_id from message"))[0]
    id_ = message_id(row[0], row[1])
    again = (await http("POST", "/v1/messages:render", {"ids": [id_]})).json()["messages"][id_]
    assert again["digest"] == "not_reproducible"
    assert (await http("GET", f"/v1/messages/{id_}")).json()["recipient"] is None


async def test_cancelling_over_http_ends_what_waits(http: Http) -> None:
    await http("POST", "/v1/holds", {"kind": "tenant", "target": "1"})
    envelope = await sent(http)
    answer = await http("POST", f"/v1/causes/{envelope.data.cause_id}:cancel", {"note": "Wrong audience"})
    assert answer.json()["open_requests"] == 1
    await LaneSender(http.service.deps.line, Lane.BULK).run_once()
    counters = (await http("GET", f"/v1/requests/{envelope.data.request_id}")).json()["counters"]
    assert counters["skipped"] == 1


@pytest.mark.parametrize(("tenant", "mode"), [(2, Mode.LIVE), (1, Mode.TEST)])
async def test_nothing_of_another_tenant_or_mode_exists(http: Http, tenant: int, mode: Mode) -> None:
    await http("PUT", "/v1/senders/7", {"name": "Shop", "channel": "push", "account": FCM})
    ended = await sent(http)
    hold = {"kind": "tenant", "target": str(TENANT), "note": "Wrong price"}
    await http("POST", "/v1/holds", hold)
    waiting = await sent(http, "customer:2")  # no row yet: only its request tells of it
    ids = [envelope.data.recipients[0].notification_id for envelope in (ended, waiting)]
    row = (await http.world.fetch("select notification_id, address_id from message"))[0]
    message = message_id(row[0], row[1])

    async def stranger(_: str) -> Principal:
        return Principal(tenant, mode, "key-2", frozenset({"admin"}))

    http.service.runtime.keys.ask = stranger
    other = {"authorization": "Bearer other"}
    paths = (f"messages/{message}", f"requests/{ended.data.request_id}", "senders/7")
    assert [(await http("GET", f"/v1/{path}", **other)).status_code for path in paths] == [404, 404, 404]
    for path in ("holds", "senders"):
        assert (await http("GET", f"/v1/{path}", **other)).json()["items"] == []
    stands = await http("POST", "/v1/notifications:explain", {"ids": [str(id_) for id_ in ids]}, **other)
    assert stands.json() == {"notifications": {}}
    again = await http("POST", "/v1/messages:render", {"ids": [message]}, **other)
    assert again.json() == {"messages": {}}
    figures = (await http("GET", "/v1/statistics", **other)).json()
    assert (figures["requests"], figures["communications"]) == (0, {})
    cancelled = await http("POST", f"/v1/causes/{waiting.data.cause_id}:cancel", {"note": "Not ours"}, **other)
    assert cancelled.status_code == 404
    assert (await http("DELETE", f"/v1/holds?kind=tenant&target={TENANT}", **other)).status_code in (404, 422)


async def test_figures_add_up(http: Http) -> None:
    await sent(http)
    figures = (await http("GET", "/v1/statistics")).json()
    assert figures["messages"]["sent"] == figures["messages"]["total"] == 1
    assert figures["backlog"] == {"transactional": 0, "bulk": 0, "verify": 0}
