"""The line through the ledger: store, lease, claim, call, record, and the accounts at each step."""

import time
from base64 import b64decode
from dataclasses import replace
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from libs.clock import FixedClock
from libs.contracts.outcomes import Lane
from libs.contracts.reasons import Reason
from services.delivery.domain.breaker import BreakerPolicy
from services.delivery.domain.intake import new_request
from services.delivery.domain.outcomes import Ambiguous, Deferred, Rejected, Sent
from services.delivery.domain.steering import Suppression
from services.delivery.loops.sender import LaneSender
from tests.flows.delivery_world import KEYRING, World, now, requested

SENT, FAILED, SKIPPED, SUPPRESSED, UNKNOWN = 2, 3, 4, 5, 6


async def test_a_request_becomes_messages_and_settles_once(world: World) -> None:
    release = await world.release(["push"])
    keys = [f"customer:{n}" for n in range(30)]
    for key in keys:
        world.tokens.add(key, "push")
    envelope = await world.request(release, keys)
    await world.send_all()
    assert await world.account(envelope.data.request_id) == {"recipients": 30, "sent": 30}
    assert await world.statuses() == {(SENT, 0): 30}
    assert len(world.provider.calls) == 30
    assert len(await world.events("request.settled")) == 1
    transitions = [t for event in await world.events("message.recorded") for t in event["transitions"]]
    assert len(transitions) == 30
    assert await world.value("select count(*) from work") == 0


async def test_a_device_reads_its_apps_language_and_a_device_without_one_its_owners(world: World) -> None:
    ada = world.tokens.add("customer:1", "push", "push", locale="de")
    ada["addresses"][0]["locale"] = "fr"
    await world.request(await world.release(["push"]), ["customer:1"])
    await world.send_all()
    assert [row[0] for row in await world.fetch("select locale from message order by address_id")] == ["fr", "de"]


@pytest.mark.parametrize("tenants", ["Pacific/Kiritimati", "UTC", None])
async def test_it_is_night_where_the_tenant_is_for_recipients_without_a_zone(world: World, tenants: str | None) -> None:
    """UTC is the zone of a tenant that set none."""
    release = await world.release(["push"], obeys_quiet_hours=True, default_zone=tenants)
    there = now().astimezone(ZoneInfo("Pacific/Kiritimati"))
    hours = {"from": f"{there - timedelta(hours=2):%H:%M}", "to": f"{there + timedelta(hours=2):%H:%M}"}
    world.tokens.add("customer:1", "push", quiet_hours=hours | {"zone": "Europe/Berlin", "zone_from": "default"})
    world.tokens.add("customer:2", "push", quiet_hours=hours | {"zone": "Europe/Berlin"})
    envelope = await world.request(release, ["customer:1", "customer:2"])
    await world.send_all()
    waits = {"pending": 1, "sent": 1} if tenants == "Pacific/Kiritimati" else {"sent": 2}
    assert await world.account(envelope.data.request_id) == {"recipients": 2} | waits


async def test_a_redelivered_request_is_stored_once(world: World) -> None:
    release = await world.release(["push"])
    world.tokens.add("customer:1", "push")
    envelope = requested(release, ["customer:1"], now())
    for _ in range(3):
        await world.ledger.accept([new_request(envelope, KEYRING)] * 2)
    await world.send_all()
    assert len(world.provider.calls) == 1


@pytest.mark.parametrize(
    ("outcome", "becomes"),
    [
        (Deferred(Reason.PROVIDER_UNAVAILABLE, "503"), (SUPPRESSED, Reason.SUPPRESSED_BOUNCE)),
        (Ambiguous(Reason.TIMED_OUT, "no answer"), (UNKNOWN, Reason.TIMED_OUT)),  # it may have been sent
    ],
)
async def test_who_is_suppressed_between_two_attempts_is_not_called_again(
    world: World, outcome: Any, becomes: tuple[int, Reason]
) -> None:
    recipient = world.tokens.add("customer:1", "push")
    bars = b64decode(recipient["addresses"][0]["hash"])
    world.provider.answer = lambda _: outcome
    await world.request(await world.release(["push"]), ["customer:1"], on_unknown="resend")
    await world.send_all()
    await world.ledger.suppress([Suppression(1, 1, bars, 0, int(Reason.SUPPRESSED_BOUNCE), 1, True)])
    await world.execute("update work set due_at = now() - interval '1 s'")
    await world.send_all()
    assert len(world.provider.calls) == 1
    assert await world.statuses() == {becomes: 1}


@pytest.mark.parametrize("attempts", [1, 2])
async def test_a_suppression_that_was_lifted_bars_nothing(world: World, attempts: int) -> None:
    recipient = world.tokens.add("customer:1", "push")
    bars = b64decode(recipient["addresses"][0]["hash"])
    placed = Suppression(1, 1, bars, 0, int(Reason.SUPPRESSED_BOUNCE), 1, True)
    await world.ledger.suppress([placed, placed._replace(version=2, active=False)])
    await world.ledger.suppress([placed])  # the older event once more
    world.provider.answer = lambda m: Sent() if m.attempt == attempts else Deferred(Reason.PROVIDER_UNAVAILABLE, "503")
    await world.request(await world.release(["push"]), ["customer:1"])
    await world.send_all()
    await world.execute("update work set due_at = now() - interval '1 s'")
    await world.send_all()
    assert await world.statuses() == {(SENT, 0): 1}


async def test_a_request_settles_only_after_its_resend(world: World) -> None:
    world.provider.answer = lambda m: Ambiguous(Reason.TIMED_OUT, "no answer") if m.attempt == 1 else Sent()
    world.tokens.add("customer:1", "push")
    await world.request(await world.release(["push"]), ["customer:1"], on_unknown="resend")
    await LaneSender(world.line(), Lane.BULK).run_once()  # not all: the resend is soon due
    assert await world.events("request.settled") == []  # nothing is pending, but it will be called again
    await world.execute("update work set due_at = now() - interval '1 s'")
    await world.send_all()
    [settled] = await world.events("request.settled")
    assert (settled["account"]["sent"], settled["account"]["unknown"]) == (1, 0)


async def test_every_outcome_has_its_status_and_the_sum_holds(world: World) -> None:
    release = await world.release(["push"])
    outcomes = {
        "sent": Sent("r1"),
        "dead": Rejected(Reason.DEVICE_UNREGISTERED, "UNREGISTERED", code=404, error="UNREGISTERED", retire=True),
        "lost": Ambiguous(Reason.TIMED_OUT, "no answer"),
    }
    for name in outcomes:
        world.tokens.add(f"customer:{name}", "push")
    world.tokens.add("customer:bare")
    world.provider.answer = lambda message: outcomes[message.address.split(":")[1].split("-")[0]]
    keys = [*(f"customer:{name}" for name in outcomes), "customer:bare", "customer:nobody"]
    envelope = await world.request(release, keys)
    await world.send_all()
    assert await world.account(envelope.data.request_id) == {
        "recipients": 5,
        "sent": 1,
        "failed": 1,
        "skipped": 2,
        "unknown": 1,
    }
    assert await world.statuses() == {
        (SENT, 0): 1,
        (FAILED, Reason.DEVICE_UNREGISTERED): 1,
        (UNKNOWN, Reason.TIMED_OUT): 1,
        (SKIPPED, Reason.NO_ADDRESS): 1,
        (SKIPPED, Reason.NO_RECIPIENT): 1,
    }
    [rejected] = await world.events("message.rejected")
    assert rejected["rejections"][0]["retire"] is True


async def test_a_429_is_tried_again_and_the_first_attempt_is_kept(world: World) -> None:
    release = await world.release(["push"])
    world.tokens.add("customer:1", "push")
    world.provider.answer = lambda m: Deferred(Reason.THROTTLED, "429", 0.0) if m.attempt == 1 else Sent()
    envelope = await world.request(release, ["customer:1"])
    await world.send_all()
    assert await world.account(envelope.data.request_id) == {"recipients": 1, "pending": 1}
    await world.execute("update work set due_at = now() - interval '1 s'")
    await world.send_all()
    assert await world.account(envelope.data.request_id) == {"recipients": 1, "sent": 1}
    assert [(r["attempt"], r["reason"]) for r in await world.fetch("select * from attempt")] == [(1, Reason.THROTTLED)]


async def test_a_provider_that_raises_leaves_only_its_unanswered_messages_unknown(world: World) -> None:
    release = await world.release(["push", "email"])
    devices, mailboxes = ["answered", "raises", "behind"], [f"mail{n}" for n in range(6)]
    for channel, names in (("push", devices), ("email", mailboxes)):
        for name in names:
            world.tokens.add(f"customer:{name}", channel)
    envelope = await world.request(release, [f"customer:{name}" for name in devices + mailboxes])

    def answer(message: Any) -> Any:
        if "raises" in message.address:
            raise RuntimeError("an answer that no provider should give")
        return Sent("ref")

    world.provider.answer = answer
    world.provider.pause = lambda: 0.01  # mails are still on their way when push raises
    await LaneSender(world.line(), Lane.BULK).run_once()
    account = await world.account(envelope.data.request_id)
    assert account["sent"] + account["unknown"] == 9
    assert 1 <= account["unknown"] <= len(devices)  # in the order of the call: what was answered before is sent
    transitions = [t for event in await world.events("message.recorded") for t in event["transitions"]]
    assert {(t["reason"], t["detail"]) for t in transitions if t["is"] == "unknown"} == {
        ("worker_crashed", "RuntimeError: an answer that no provider should give")
    }


async def test_no_call_begins_that_could_outlive_its_lease(world: World) -> None:
    """A provider may use its whole timeout, and the result must be recorded in time."""
    release = await world.release(["push"])
    world.tokens.add("customer:1", "push")
    await world.request(release, ["customer:1"])
    told: list[float] = []
    send = world.provider.send

    async def listening(*given: Any) -> None:
        told.append(given[2])
        await send(*given)

    world.provider.send = listening  # type: ignore[method-assign]
    longest = world.pace.lease - world.pace.margin - world.senders.timeout
    before = time.monotonic()
    await world.send_all()
    assert before + longest <= told[0] <= time.monotonic() + longest


async def test_who_cannot_be_looked_up_waits_longer_each_time_and_not_beyond_his_expiry(world: World) -> None:
    clock = FixedClock(now().replace(hour=12))
    world = World(world.database, clock)
    release = await world.release(["push"])
    world.tokens.add("customer:1", "push")
    world.tokens.away = lambda: True
    expires_at = clock() + timedelta(seconds=40)
    await world.request(release, ["customer:1"], expires_at=expires_at)
    pauses = []
    while await LaneSender(world.line(), Lane.BULK).run_once() and await world.value("select count(*) from work"):
        pauses.append((await world.value("select due_at from work") - clock()).total_seconds())
        clock.advance(timedelta(seconds=pauses[-1]))
    assert pauses[0] <= 0.5
    assert max(pauses) >= 4
    assert clock() == expires_at
    assert await world.statuses() == {(SKIPPED, Reason.EXPIRED): 1}


@pytest.mark.parametrize(("channel", "reached"), [("webhook", 1), ("push", 0)])
async def test_one_receiver_that_is_away_does_not_stop_the_others(world: World, channel: str, reached: int) -> None:
    """Of webhooks; a provider that is away is not asked further."""
    release = await world.release([channel])
    dead = [f"customer:dead{number}" for number in range(30)]
    for key in (*dead, "customer:alive"):
        world.tokens.add(key, channel)
    world.pace = replace(world.pace, breaker=BreakerPolicy(pause_seconds=600.0))  # not over during this test
    away = Deferred(Reason.PROVIDER_UNAVAILABLE, "no connection")
    world.provider.answer = lambda m: away if "dead" in m.address else Sent()
    sender = LaneSender(world.line(), Lane.BULK)
    for keys in (dead, ["customer:alive"]):
        await world.request(release, keys)
        while await sender.run_once():
            pass
    assert sum(isinstance(call.outcome, Sent) for call in world.provider.calls) == reached
