"""Setting up webhooks: secrets, trials, redelivery, edits; none can reach internal hosts."""

from datetime import timedelta
from uuid import uuid4

import pytest

from libs.contracts.audit import ActionRecorded
from libs.contracts.bounce import BounceClassified
from libs.contracts.outcomes import Mode
from libs.contracts.tokens import RecipientErased
from libs.errors import Unauthorized
from services.bounce.adapters.webhook_calls import HttpCaller
from tests.flows.bounces import NOW, World, world
from tests.flows.webhook_receiver import (
    BOTH,
    Receiver,
    attempts,
    bounce,
    facts,
    receiver,
    receiving,
    set_up,
    shown,
    turn,
)

__all__ = ["receiver", "world"]


async def test_both_secrets_sign_while_one_is_exchanged(world: World, receiver: Receiver) -> None:
    made = await set_up(world, receiver, kinds=["bounce.classified"])
    newer = (await world.post(f"/v1/webhooks/{made['id']}:rotate", None)).json()["secret"]
    assert newer != made["secret"]
    await bounce(world)
    await turn(world)
    for secret in (made["secret"], newer):
        receiver.verified(secret, NOW.timestamp())
    world.clock.now += timedelta(hours=24, seconds=1)
    receiver.seen.clear()
    assert (await world.post(f"/v1/webhooks/{made['id']}:test", None)).json()["delivered"]
    receiver.verified(newer, world.clock().timestamp())
    with pytest.raises(Unauthorized):
        receiver.verified(made["secret"], world.clock().timestamp())
    assert "whsec" not in str(await shown(world, made))


async def test_a_trial_says_what_came_back_and_is_logged(world: World, receiver: Receiver) -> None:
    made = await set_up(world, receiver, enabled=False)
    receiver.says = [503, "reset"]
    tried = (await world.post(f"/v1/webhooks/{made['id']}:test", None)).json()
    assert (tried["delivered"], tried["status"], tried["error"]) == (False, 503, "try later")
    assert receiver.bodies[0]["type"] == "webhook.test"
    assert (await world.post(f"/v1/webhooks/{made['id']}:test", None)).json()["status"] is None
    first = await world.get(f"/v1/webhooks/{made['id']}/attempts", limit=1)
    (older,) = await attempts(world, made, cursor=first["next_cursor"])
    assert (older["kind"], older["status"]) == ("webhook.test", 503)
    assert "whsec" not in str(older)


async def test_trials_and_redeliveries_are_in_the_audit_with_who_asked(world: World, receiver: Receiver) -> None:
    made = await set_up(world, receiver)
    receiver.says = [503]
    await world.post(f"/v1/webhooks/{made['id']}:test", None)
    span = {"since": (NOW - timedelta(hours=1)).isoformat(), "until": NOW.isoformat(), "delivered": True}
    await world.post(f"/v1/webhooks/{made['id']}:redeliver", span)
    set_it_up, tried, again = [event for event in await world.said() if isinstance(event, ActionRecorded)]
    assert {(action.object, action.actor) for action in (tried, again)} == {(made["id"], set_it_up.actor)}
    assert (tried.action, tried.after and tried.after["status"]) == ("webhook.test", 503)
    assert (again.action, again.after and again.after["delivered"]) == ("webhook.redeliver", True)


async def test_what_was_given_up_or_lost_is_told_again(world: World, receiver: Receiver) -> None:
    made = await set_up(world, receiver, kinds=["bounce.classified"])
    await bounce(world)
    await turn(world)
    since = {"since": (NOW - timedelta(hours=1)).isoformat(), "until": (NOW + timedelta(hours=1)).isoformat()}
    again = f"/v1/webhooks/{made['id']}:redeliver"
    assert (await world.post(again, since)).json() == {"count": 0}
    assert (await world.post(again, since | {"delivered": True})).json() == {"count": 1}
    await turn(world)
    assert len(receiver.ids) == 2
    assert len(set(receiver.ids)) == 1
    one = since | {"delivered": True, "events": [str(uuid4())]}
    assert (await world.post(again, one)).json() == {"count": 0}


PRIVATE: list[str] = [
    "http://crm.example/hook",
    "https://127.0.0.1/",
    "https://localhost/",
    "https://10.0.0.1/",
    "https://[::1]/",
    "no",
]


async def test_private_targets_are_refused_unless_allowed(world: World) -> None:
    for url in PRIVATE:
        answer = await world.post("/v1/webhooks", {"url": url, "kinds": BOTH})
        assert answer.status_code == 422, url
        assert answer.json()["errors"][0]["pointer"] == "/url", url


async def test_a_name_that_leads_inside_is_not_called(world: World) -> None:
    async with receiving() as inside:
        caller = HttpCaller(world.clock, allow_private=False, seconds=60)
        answer = await caller.call(f"http://localhost:{inside.port}/", {}, b"{}")
        await caller.aclose()
    assert answer.status is None
    assert "private address" in (answer.error or "")
    assert inside.seen == []


async def test_edits_need_the_version_that_was_read_and_strangers_see_nothing(world: World, receiver: Receiver) -> None:
    made = await set_up(world, receiver)
    path, body = f"/v1/webhooks/{made['id']}", {"url": receiver.url, "kinds": ["bounce.classified"]}
    async with world.client() as client:
        assert (await client.put(path, json=body)).status_code == 428
        changed = await client.put(path, json=body, headers={"if-match": '"1"'})
        assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
        assert (await client.put(path, json=body, headers={"if-match": '"1"'})).status_code == 412
        assert (await client.delete(path, headers={"if-match": '"1"'})).status_code == 412
        for key in ("test", "other"):
            async with world.client(key) as stranger:
                assert (await stranger.get(path)).status_code == 404
                assert (await stranger.get("/v1/webhooks")).json()["items"] == []
        assert (await client.delete(path, headers={"if-match": '"2"'})).status_code == 204
        assert (await client.get(path)).status_code == 404
        for _ in range(20):
            await set_up(world, receiver)
        assert (await client.post("/v1/webhooks", json=body)).status_code == 409


async def test_a_webhook_hears_of_its_own_tenant_and_mode_alone(world: World, receiver: Receiver) -> None:
    hooks = {"url": receiver.url, "kinds": BOTH}
    made = {key: (await world.post("/v1/webhooks", hooks, key=key)).json()["id"] for key in ("key", "test", "other")}
    full = BounceClassified(bounce_id=uuid4(), category="mailbox-full", group="soft", address_hash=bytes(32), at=NOW)
    await world.hear(full, mode=Mode.TEST)
    waiting = {key: (await world.get(f"/v1/webhooks/{id_}", key=key))["waiting"] for key, id_ in made.items()}
    assert waiting == {"key": 0, "test": 1, "other": 0}


async def test_what_is_old_or_of_an_erased_recipient_goes(world: World, receiver: Receiver) -> None:
    made = await set_up(world, receiver, kinds=["bounce.classified"])
    await bounce(world)
    assert (await shown(world, made))["waiting"] == 1
    await world.hear(RecipientErased(recipient="customer:1042", at=NOW))
    assert (await shown(world, made))["waiting"] == 0
    await facts(world)
    await world.post(f"/v1/webhooks/{made['id']}:test", None)
    telling = world.service.deps.telling
    assert await telling.forget_before(NOW) == 0
    assert await telling.forget_before(NOW + timedelta(seconds=1)) == 2
    assert await attempts(world, made) == []
