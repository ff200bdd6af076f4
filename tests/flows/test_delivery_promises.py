"""Further promises of the ledger: plans, holds, quiet hours, resends, throttles, cancelling."""

import base64
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from libs.clock import FixedClock
from libs.contracts.outcomes import Channel, Mode
from libs.contracts.reasons import Reason
from libs.storage.database import Database
from services.delivery.adapters.postgres.operations import PostgresOperations
from services.delivery.adapters.postgres.reads import PostgresReads
from services.delivery.domain.outcomes import Ambiguous, Deferred, Rejected, Sent
from services.delivery.domain.standing import explain
from services.delivery.domain.steering import Hold, HoldKind, KnownRelease, Suppression
from tests.flows.delivery_world import KEYRING, TENANT, World

SENT, FAILED, SKIPPED, SUPPRESSED, UNKNOWN = 2, 3, 4, 5, 6
NIGHT = datetime.now(UTC).replace(hour=23, minute=30)
DEAD = Rejected(Reason.DEVICE_UNREGISTERED, "UNREGISTERED", code=404, retire=True)


@pytest.fixture
async def clock() -> FixedClock:
    return FixedClock(datetime.now(UTC).replace(hour=12))


def hold(kind: HoldKind, target: str, clock: FixedClock) -> Hold:
    return Hold(TENANT, Mode.LIVE, kind, target, 0, True, None, "test", clock())


def on(channel: Channel, outcome: Any) -> Any:
    return lambda message: outcome if message.address.startswith(channel.word) else Sent()


async def test_the_next_step_follows_only_when_every_message_of_one_has_failed(world: World) -> None:
    release = await world.release(["push"], ["email"])
    world.tokens.add("customer:dead", "push", "push", "email")
    world.tokens.add("customer:half", "push", "push", "email")
    alive = world.tokens.recipients["customer:half"]["addresses"][0]["value"]
    world.provider.answer = lambda m: Sent() if m.address == alive else on(Channel.PUSH, DEAD)(m)
    envelope = await world.request(release, ["customer:dead", "customer:half"])
    await world.send_all()
    called = [call.tag for call in world.provider.calls]
    assert len(called) == 5  # four devices, and one mail for the customer whose devices are all dead
    assert await world.account(envelope.data.request_id) == {"recipients": 2, "extra": 3, "sent": 2, "failed": 3}
    assert len(await world.events("request.settled")) == 1


async def test_a_suppressed_address_falls_back_too_and_is_never_called(world: World) -> None:
    release = await world.release(["email"], ["sms"])
    recipient = world.tokens.add("customer:1", "email", "sms")
    bars = base64.b64decode(recipient["addresses"][0]["hash"])
    await world.ledger.suppress([Suppression(TENANT, 1, bars, 0, int(Reason.SUPPRESSED_BOUNCE), 1, True)])
    envelope = await world.request(release, ["customer:1"])
    await world.send_all()
    assert [call.tag.rpartition(".")[2] for call in world.provider.calls] == [str(recipient["addresses"][1]["id"])]
    account = await world.account(envelope.data.request_id)
    assert account == {"recipients": 1, "extra": 1, "sent": 1, "suppressed": 1}


async def test_a_complaint_bars_marketing_but_not_the_order(world: World) -> None:
    recipient = world.tokens.add("customer:1", "email", consents={"email": True})
    bars = base64.b64decode(recipient["addresses"][0]["hash"])
    await world.ledger.suppress([Suppression(TENANT, 1, bars, 1, int(Reason.SUPPRESSED_COMPLAINT), 1, True)])
    marketing = await world.release(["email"], communication="sale", marketing=True, topic="sale")
    order = await world.release(["email"], communication="order")
    for release in (marketing, order):
        await world.request(release, ["customer:1"])
    await world.send_all()
    assert await world.statuses() == {(SUPPRESSED, Reason.SUPPRESSED_COMPLAINT): 1, (SENT, 0): 1}


async def test_marketing_needs_a_recorded_yes_on_that_channel(world: World) -> None:
    release = await world.release(["push", "email"], marketing=True, topic="sale")
    world.tokens.add("customer:yes", "push", "email", consents={"email": True})
    world.tokens.add("customer:no", "push", "email", consents={"email": False})
    await world.request(release, ["customer:yes", "customer:no"])
    await world.send_all()
    assert await world.statuses() == {(SENT, 0): 1, (SKIPPED, Reason.NO_CONSENT): 1}


async def test_quiet_hours_defer_until_they_end_and_expiry_ends(world: World, clock: FixedClock) -> None:
    release = await world.release(["push"], obeys_quiet_hours=True)
    quiet = {"from": "22:00", "to": "07:00", "zone": "UTC"}
    world.tokens.add("customer:1", "push", quiet_hours=quiet)
    clock.now = NIGHT
    patient = await world.request(release, ["customer:1"])
    hasty = await world.request(release, ["customer:1"], expires_at=NIGHT + timedelta(hours=1))
    await world.send_all()
    assert world.provider.calls == []
    clock.now = NIGHT + timedelta(hours=8)
    await world.send_all()
    assert await world.account(patient.data.request_id) == {"recipients": 1, "sent": 1}
    assert await world.account(hasty.data.request_id) == {"recipients": 1, "skipped": 1}
    assert (SKIPPED, Reason.EXPIRED) in await world.statuses()


@pytest.mark.parametrize("kind", list(HoldKind))
async def test_a_hold_stops_and_lifting_it_loses_nothing(world: World, clock: FixedClock, kind: HoldKind) -> None:
    release = await world.release(["push"])
    world.tokens.add("customer:1", "push")
    operations = PostgresOperations(world.database, KEYRING)
    before = await world.request(release, ["customer:1"])
    targets = {"cause": str(before.data.cause_id), "release": str(release.id), "sender": "1", "tenant": "1"}
    stop = hold(kind, targets[kind.value], clock)
    await operations.place(stop, [])
    after = await world.request(release, ["customer:1"], cause=before.data.cause_id, part=1)
    await world.send_all()
    assert world.provider.calls == []
    assert await world.value("select count(*) from work where held") == 2
    standing = (await PostgresReads(world.database, KEYRING).standings((1, Mode.LIVE), [ids(before)]))[0]
    assert explain(standing, clock()).reason is Reason.HELD
    await operations.lift(stop, [])
    await world.send_all()
    accounts = [await world.account(envelope.data.request_id) for envelope in (before, after)]
    assert sorted(accounts, key=str) == [{"recipients": 1, "sent": 1}, {"recipients": 1, "skipped": 1}]


@pytest.mark.parametrize(("tenant", "mode"), [(TENANT, Mode.TEST), (2, Mode.LIVE)])
async def test_a_hold_leaves_another_tenants_and_modes_work_alone(
    world: World, clock: FixedClock, tenant: int, mode: Mode
) -> None:
    await world.request(await world.release(["push"]), ["customer:1"])
    ours = hold(HoldKind.TENANT, str(TENANT), clock)
    theirs = replace(ours, tenant=tenant, mode=mode, target=str(tenant))
    operations = PostgresOperations(world.database, KEYRING)
    await operations.place(theirs, [])
    assert await world.value("select count(*) from work where held") == 0
    await operations.place(ours, [])
    await operations.lift(theirs, [])
    assert await world.value("select count(*) from work where held") == 1


@pytest.mark.parametrize(("tenant", "mode"), [(TENANT, Mode.TEST), (2, Mode.LIVE)])
async def test_a_hold_on_a_sender_spares_namesakes(world: World, clock: FixedClock, tenant: int, mode: Mode) -> None:
    world.tokens.add("customer:1", "push")
    theirs = replace(hold(HoldKind.SENDER, "1", clock), tenant=tenant, mode=mode)
    await PostgresOperations(world.database, KEYRING).place(theirs, [])
    envelope = await world.request(await world.release(["push"]), ["customer:1"])
    await world.send_all()
    assert await world.account(envelope.data.request_id) == {"recipients": 1, "sent": 1}


def ids(envelope: Any) -> Any:
    return envelope.data.recipients[0].notification_id


async def test_a_cancelled_cause_is_not_called_any_more(world: World, clock: FixedClock) -> None:
    release = await world.release(["push"])
    for n in range(3):
        world.tokens.add(f"customer:{n}", "push")
    world.provider.answer = lambda message: Deferred(Reason.THROTTLED, "429", 60.0)
    envelope = await world.request(release, ["customer:0"])
    await world.send_all()
    later = await world.request(release, ["customer:1", "customer:2"], cause=envelope.data.cause_id, part=1)
    operations = PostgresOperations(world.database, KEYRING)
    assert await operations.cancel((1, Mode.LIVE), envelope.data.cause_id, clock(), []) == 2
    await world.send_all()
    assert len(world.provider.calls) == 1
    assert await world.account(envelope.data.request_id) == {"recipients": 1, "skipped": 1}
    assert await world.account(later.data.request_id) == {"recipients": 2, "skipped": 2}


@pytest.mark.parametrize(("on_unknown", "calls"), [("leave", 1), ("resend", 2)])
async def test_on_unknown_decides_whether_it_is_sent_again(
    world: World, clock: FixedClock, on_unknown: str, calls: int
) -> None:
    release = await world.release(["push"])
    world.tokens.add("customer:1", "push")
    world.provider.answer = lambda m: Ambiguous(Reason.TIMED_OUT, "no answer") if m.attempt == 1 else Sent()
    envelope = await world.request(release, ["customer:1"], on_unknown=on_unknown)
    await world.send_all()
    assert await world.account(envelope.data.request_id) == {"recipients": 1, "unknown": 1}
    clock.advance(timedelta(minutes=1))
    await world.send_all()
    assert len(world.provider.calls) == calls
    assert len({call.tag for call in world.provider.calls}) == 1  # the device shows one message


async def test_a_release_that_was_retired_sends_nothing_more_whatever_comes_late(world: World) -> None:
    release = await world.release(["push"])
    world.tokens.add("customer:1", "push")
    fields = (release.id, 1, 1, release.communication, 1, "")
    await world.ledger.know([KnownRelease(*fields, False)])
    await world.ledger.know([KnownRelease(*fields, True)])  # published, arriving late
    await world.request(release, ["customer:1"])
    await world.send_all()
    assert await world.statuses() == {(SKIPPED, Reason.RELEASE_INACTIVE): 1}


async def test_an_erased_customer_is_wiped_and_not_written_to(world: World) -> None:
    release = await world.release(["push"])
    for key in ("customer:1", "customer:2"):
        world.tokens.add(key, "push")
    envelope = await world.request(release, ["customer:1", "customer:2"])
    assert await world.ledger.erase([(1, Mode.LIVE, "customer:1", world.clock())]) == 1
    assert await world.ledger.erase([(1, Mode.LIVE, "customer:1", world.clock())]) == 0
    await world.send_all()
    assert await world.account(envelope.data.request_id) == {"recipients": 2, "sent": 1, "skipped": 1}
    assert (SKIPPED, Reason.RECIPIENT_ERASED) in await world.statuses()


async def test_an_unusable_sender_waits_and_says_so(world: World, clock: FixedClock) -> None:
    release = await world.release(["push"])
    object.__setattr__(release.plan[0].channels[0], "sender", 99)
    world.tokens.add("customer:1", "push")
    envelope = await world.request(release, ["customer:1"])
    await world.send_all()
    standing = (await PostgresReads(world.database, KEYRING).standings((1, Mode.LIVE), [ids(envelope)]))[0]
    explained = explain(standing, clock())
    assert (explained.state, explained.reason) == ("waiting", Reason.SENDER_MISCONFIGURED)
    assert explained.until is not None


async def test_a_dead_workers_calls_are_unknown_and_its_untouched_chunks_go_on(world: World) -> None:
    release = await world.release(["push"])
    for n in range(2):
        world.tokens.add(f"customer:{n}", "push")
    called = await world.request(release, ["customer:0"])
    await world.send_all()
    await world.request(release, ["customer:1"])
    # as left by a worker that dies between call and record
    await world.execute("update message set status = 1, recorded_at = null")
    await world.execute("update request set sent = 0, pending = 1, settled_at = null where sent = 1")
    await world.execute(
        "insert into work (request_id, lane, due_at, ordinals, calling, lease, leased_until)"
        " values ($1, 1, now(), '{0}', true, 1, now() - interval '1 s')",
        called.data.request_id,
    )
    await world.execute("update work set leased_until = now() - interval '1 s', lease = 1 where not calling")
    assert (await world.ledger.recover(10)).unknown == 1
    await world.send_all()
    assert await world.statuses() == {(UNKNOWN, Reason.WORKER_CRASHED): 1, (SENT, 0): 1}


async def test_who_kills_the_worker_six_times_alone_has_failed_and_takes_nobody_along(world: World) -> None:
    release = await world.release(["push"])
    for n in range(3):
        world.tokens.add(f"customer:{n}", "push")
    envelope = await world.request(release, [f"customer:{n}" for n in range(3)])
    expired = "update work set lease = lease + 1, leased_until = now() - interval '1 s'"
    for _ in range(6):
        await world.execute(expired)
        await world.ledger.recover(10)
    assert await world.value("select count(*) from work") == 3  # singles, each with its own count
    for _ in range(6):
        await world.execute(f"{expired} where ordinals = '{{1}}'")
        await world.ledger.recover(10)
    await world.send_all()
    assert await world.account(envelope.data.request_id) == {"recipients": 3, "sent": 2, "failed": 1}
    assert await world.statuses() == {(SENT, 0): 2, (FAILED, Reason.INTERNAL): 1}


class Meanwhile:
    """A database in which something happens after a reader's first statement."""

    def __init__(self, database: Database, happens: Callable[[], Awaitable[None]]) -> None:
        self.database = database
        self.happens = happens

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Any]:
        async with self.database.acquire() as connection:
            yield self._interrupted(connection)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Any]:
        async with self.database.snapshot() as connection:
            yield self._interrupted(connection)

    def _interrupted(self, connection: Any) -> Any:
        statements = itertools.count()

        async def fetch(query: str, *values: Any) -> Any:
            rows = await connection.fetch(query, *values)
            if next(statements) == 0:
                await self.happens()
            return rows

        return SimpleNamespace(fetch=fetch)


async def test_who_asks_while_it_is_claimed_is_not_told_that_another_request_has_it(world: World) -> None:
    release = await world.release(["push"])
    envelope = await world.request(release, ["customer:nobody"])
    reads = PostgresReads(cast(Database, Meanwhile(world.database, world.send_all)), KEYRING)
    notification = envelope.data.recipients[0].notification_id
    (asked,) = await reads.standings((TENANT, Mode.LIVE), [notification])
    assert explain(asked, world.clock()).state == "waiting"
    (asked,) = await reads.standings((TENANT, Mode.LIVE), [notification])
    assert explain(asked, world.clock()).reason is Reason.NO_RECIPIENT
