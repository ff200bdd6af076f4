"""Other systems receive facts and suppressions: signed, retried after failures, each under one id."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from libs.contracts.bounce import BounceClassified, SuppressionChanged
from libs.contracts.envelope import Envelope
from libs.contracts.outcomes import Mode
from libs.errors import Unavailable
from services.bounce.adapters import webhook_calls
from services.bounce.adapters.webhook_calls import HttpCaller
from services.bounce.handlers.telling import call_webhook, tell_webhooks
from services.bounce.loops import webhooks
from tests.flows.bounces import NOW, World, report, world
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
from tests.waiting import eventually

__all__ = ["receiver", "world"]


async def test_a_bounce_and_its_suppression_are_told_signed(world: World, receiver: Receiver) -> None:
    made = await set_up(world, receiver)
    await bounce(world)
    await turn(world)
    receiver.verified(made["secret"], NOW.timestamp())
    told = {body["type"]: body for body in receiver.bodies}
    fact, suppression = told["bounce.classified"]["data"], told["suppression.changed"]["data"]
    assert (fact["category"], fact["action"], fact["recipient"]) == ("unknown-user", "suppress", "customer:1042")
    assert (suppression["active"], suppression["scope"], suppression["recipient"]) == (True, "all", "customer:1042")
    assert suppression["bounce"] == fact["id"]
    assert {entry["status"] for entry in await attempts(world, made)} == {204}
    assert (await shown(world, made))["waiting"] == 0
    await turn(world, 0)


async def test_nothing_is_written_where_nobody_listens_and_only_what_is_wanted(
    world: World, receiver: Receiver
) -> None:
    await bounce(world)
    connection = await asyncpg.connect(world.dsn)
    assert await connection.fetchval("select count(*) from bounce.webhook_event") == 0
    await connection.close()
    made = await set_up(world, receiver, kinds=["suppression.changed"])
    await set_up(world, receiver, enabled=False)
    other = await world.post("/v1/webhooks", {"url": receiver.url, "kinds": BOTH}, key="other")
    known = len(await world.said())
    (item,) = (await world.get("/v1/suppressions"))["items"]
    assert (await world.post(f"/v1/suppressions/{item['id']}:lift", {"note": "she wrote"})).status_code == 200
    await bounce(world, "550 5.1.1 <kim@customer.example> No such user here")
    for event in (await world.said())[known:]:
        if isinstance(event, SuppressionChanged):
            await world.hear(event)
    await turn(world)
    assert {body["type"] for body in receiver.bodies} == {"suppression.changed"}
    assert (await shown(world, made))["waiting"] == 0
    assert (await world.get(f"/v1/webhooks/{other.json()['id']}", key="other"))["waiting"] == 0


@pytest.mark.parametrize(
    ("says", "status", "error"),
    [
        (500, 500, "try later"),
        (301, 301, "redirects are not followed; set the new URL"),
        ("reset", None, None),
        ("hang", None, "no reply in time"),
    ],
)
async def test_a_failure_is_told_again_under_the_same_id(
    world: World,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    says: int | str,
    status: int | None,
    error: str | None,
) -> None:
    made = await set_up(world, receiver, kinds=["bounce.classified"])
    receiver.says = [says, 204]
    await bounce(world)
    limits: list[asyncio.Timeout] = []

    def timeout(_: float) -> asyncio.Timeout:
        limits.append(asyncio.timeout(None))
        return limits[-1]

    monkeypatch.setattr(webhook_calls, "asyncio", SimpleNamespace(timeout=timeout, to_thread=asyncio.to_thread))
    turning = asyncio.create_task(turn(world))
    await eventually(lambda: receiver.seen)
    if says == "hang":  # its time is over once it has the call, not before, however busy the machine
        limits[-1].reschedule(0.0)
    await turning
    (failed,) = await attempts(world, made)
    assert failed["status"] == status
    assert failed["error"] == error or (error is None and failed["error"])
    assert (await shown(world, made))["failing_since"] is not None
    await turn(world, 0)
    world.clock.now += timedelta(seconds=5)
    await turn(world)
    assert len(receiver.ids) == 2
    assert len(set(receiver.ids)) == 1
    receiver.verified(made["secret"], world.clock().timestamp())
    assert (await shown(world, made))["failing_since"] is None


async def test_a_crash_between_call_and_commit_repeats_it_under_the_same_id(world: World, receiver: Receiver) -> None:
    await set_up(world, receiver, kinds=["bounce.classified"])
    await bounce(world)
    telling = world.service.deps.telling
    (claimed,) = await telling.claim(10, world.clock(), 120.0)
    connection = await asyncpg.connect(world.dsn)
    await connection.execute("alter table bounce.webhook_attempt rename to away")
    with pytest.raises(asyncpg.UndefinedTableError):
        await call_webhook(world.service.deps, claimed)
    await connection.execute("alter table bounce.away rename to webhook_attempt")
    await connection.close()
    await turn(world, 0)  # the crashed worker still holds it
    world.clock.now += timedelta(seconds=121)
    await turn(world)
    assert len(receiver.ids) == 2
    assert len(set(receiver.ids)) == 1


async def test_the_same_event_from_the_bus_twice_is_told_once(world: World, receiver: Receiver) -> None:
    await set_up(world, receiver, kinds=["bounce.classified"])
    await world.hand_in(report(world.path))
    event = next(event for event in await world.said() if isinstance(event, BounceClassified))
    envelope = Envelope(
        id=uuid4(), type=event.TYPE, source=event.SOURCE, time=NOW, tenant=1, mode=Mode.LIVE, key="k", data=event
    )
    for _ in range(2):
        await tell_webhooks(world.service.deps, [envelope])
    await turn(world)
    assert receiver.ids == [str(envelope.id)]


async def test_the_loop_tells_by_itself_and_a_hanging_webhook_keeps_nobody_waiting(
    world: World, receiver: Receiver
) -> None:
    async with receiving() as stuck:
        stuck.says = ["hang"]
        await set_up(world, stuck, kinds=["bounce.classified"])
        await set_up(world, receiver, kinds=["bounce.classified"])
        await facts(world, 30)
        receiver.delay = 0.01
        patient = HttpCaller(world.clock, allow_private=True, seconds=60)
        deps = replace(world.service.deps, caller=patient)
        task = asyncio.create_task(webhooks(deps, asyncio.Event()))
        await eventually(lambda: len(set(receiver.ids)) == 30)
        await eventually(lambda: stuck.at_once == deps.settings.webhook_connections)  # all of its calls hang
        assert len(stuck.ids) == deps.settings.webhook_connections, "it hangs still, and the other one is done"
        assert 1 < receiver.most_at_once <= deps.settings.webhook_connections
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await patient.aclose()


async def test_one_that_fails_for_days_is_disabled_and_goes_on_where_it_was_enabled(
    world: World, receiver: Receiver
) -> None:
    made = await set_up(world, receiver, kinds=["bounce.classified"])
    receiver.says = [500]
    for hour in range(6 * 24):  # facts keep coming in
        if hour % 12 == 0:
            await facts(world)
        claimed = await world.service.deps.telling.claim(10, world.clock(), 120.0)
        for webhook in claimed:
            await call_webhook(world.service.deps, webhook)
        world.clock.now += timedelta(hours=1)
    found = await shown(world, made)
    assert (found["enabled"], found["disabled_for"]) == (False, "failing")
    calls = len(receiver.seen)
    assert calls < 6 * 24 + 1
    receiver.says = [204]
    async with world.client() as client:
        body = {name: found[name] for name in ("url", "kinds", "note")} | {"enabled": True}
        answer = await client.put(
            f"/v1/webhooks/{made['id']}", json=body, headers={"if-match": f'"{found["version"]}"'}
        )
        assert answer.status_code == 200
    world.clock.now += timedelta(days=2)
    await turn(world)
    assert (await shown(world, made))["disabled_for"] is None


async def test_one_that_is_gone_is_disabled_at_once(world: World, receiver: Receiver) -> None:
    made = await set_up(world, receiver)
    receiver.says = [410]
    await bounce(world)
    await turn(world)
    assert (await shown(world, made))["disabled_for"] == "gone"
    async with world.client() as client:
        stale = await client.put(
            f"/v1/webhooks/{made['id']}", json={"url": receiver.url, "kinds": BOTH}, headers={"if-match": '"1"'}
        )
    assert stale.status_code == 412, "what was edited is not what stands there now"


async def test_the_receiver_may_ask_for_time(world: World, receiver: Receiver) -> None:
    await set_up(world, receiver, kinds=["bounce.classified"])
    receiver.says, receiver.fields = [429, 204], "retry-after: 600\r\n"
    await bounce(world)
    await turn(world)
    world.clock.now += timedelta(seconds=599)
    await turn(world, 0)
    world.clock.now += timedelta(seconds=1)
    await turn(world)
    assert len(receiver.seen) == 2


async def test_while_postgres_is_away_the_loop_goes_on(world: World, receiver: Receiver) -> None:
    class Away:
        def __getattr__(self, name: str) -> Any:
            return getattr(world.service.deps.telling, name)

        async def settle(self, *_: Any) -> None:
            raise Unavailable("away")

    await set_up(world, receiver, kinds=["bounce.classified"])
    await bounce(world)
    deps = replace(world.service.deps, telling=Away())
    stop = asyncio.Event()
    task = asyncio.create_task(webhooks(deps, stop))
    await eventually(lambda: bool(receiver.seen))
    await asyncio.sleep(0.05)
    assert not task.done()
    stop.set()
    await task
    assert len(receiver.seen) == 1


async def test_an_outage_of_postgres_cancels_no_call_under_way(world: World, receiver: Receiver) -> None:
    asked_again = asyncio.Event()

    class Away:
        claims = 0

        def __getattr__(self, name: str) -> Any:
            return getattr(world.service.deps.telling, name)

        async def claim(self, *given: Any) -> Any:
            self.claims += 1
            if self.claims == 1:
                return await world.service.deps.telling.claim(*given)
            asked_again.set()
            raise Unavailable("away")

    class Slow:
        async def call(self, *given: Any) -> Any:
            await asked_again.wait()
            return await world.service.deps.caller.call(*given)

    made = await set_up(world, receiver, kinds=["bounce.classified"])
    await bounce(world)
    stop = asyncio.Event()
    task = asyncio.create_task(webhooks(replace(world.service.deps, telling=Away(), caller=Slow()), stop))
    await asked_again.wait()
    stop.set()
    await task
    assert len(receiver.seen) == 1
    assert [entry["status"] for entry in await attempts(world, made)] == [204]
