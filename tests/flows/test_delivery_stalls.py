"""A worker that stalls beyond its lease and comes back, or never does: what it learned counts, and what is no longer
its own is left alone."""

from datetime import timedelta
from typing import Any

import pytest

from libs.clock import FixedClock
from libs.contracts.outcomes import Lane, Mode, Status
from libs.contracts.reasons import Reason
from services.delivery.adapters.postgres.reads import PostgresReads
from services.delivery.domain.work import GiveBack, Group, Message, Prepared, Result
from services.delivery.loops.prepare import prepare
from services.delivery.loops.routes import route
from tests.flows.delivery_world import KEYRING, World, now

SENT, UNKNOWN = 2, 6
WORK = "select count(*) from work"


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(now())


async def ordered(world: World, on_unknown: str) -> Any:
    world.tokens.add("customer:1", "push")
    envelope = await world.request(await world.release(["push"]), ["customer:1"], on_unknown=on_unknown)
    return envelope.data.request_id


async def prepared(world: World) -> Prepared:
    """Lease what is due, as a worker of its own, and prepare it up to the claim."""
    group = Group(Lane.BULK, await world.ledger.lease(Lane.BULK, (10, 100), 30.0), 0.0)
    made = await prepare(world.line(), group)
    await route(world.line(), made, 0.0)
    return made


async def calling(world: World) -> Message:
    (message,) = (await world.ledger.claim(await prepared(world))).messages
    return message


async def recovered(world: World) -> None:
    """Let the leases run out."""
    await world.execute("update work set leased_until = now() - interval '1 s' where leased_until > '-infinity'")
    assert (await world.ledger.recover(10)).rows == 1


async def test_a_late_answer_settles_what_was_taken_for_lost(world: World) -> None:
    request = await ordered(world, "leave")
    message = await calling(world)
    await recovered(world)
    assert await world.account(request) == {"recipients": 1, "unknown": 1}
    await world.ledger.record([Result(message, Status.SENT, Reason.NONE, "ref")], [message.row])
    assert await world.account(request) == {"recipients": 1, "sent": 1}
    assert await world.statuses() == {(SENT, 0): 1}


async def test_who_had_no_answer_does_not_take_the_resend_from_the_queue(world: World) -> None:
    request = await ordered(world, "resend")
    message = await calling(world)
    await recovered(world)
    await world.ledger.record([Result(message, Status.UNKNOWN, Reason.TIMED_OUT)], [message.row])
    await world.send_all()
    assert await world.account(request) == {"recipients": 1, "sent": 1}
    assert [call.attempt for call in world.provider.calls] == [2]


@pytest.mark.parametrize(("answer", "duplicates"), [(Status.SENT, 1), (Status.FAILED, 0)])
async def test_a_late_answer_to_an_overtaken_attempt_moves_no_account(
    world: World, answer: Status, duplicates: int
) -> None:
    """The resend is on its way: only it decides. Two accepted attempts are a duplicate."""
    request = await ordered(world, "resend")
    late = await calling(world)
    await recovered(world)
    again = await calling(world)
    await world.ledger.record([Result(late, answer, Reason.NONE, "late")], [late.row])
    assert await world.account(request) == {"recipients": 1, "pending": 1}
    assert await world.value(WORK) == 1
    await world.ledger.record([Result(again, Status.SENT, Reason.NONE, "again")], [again.row])
    assert await world.account(request) == {"recipients": 1, "sent": 1}
    assert await world.value("select provider_ref from message") == "again"
    assert await world.value("select status from attempt") == answer
    (shown,) = await PostgresReads(world.database, KEYRING).messages((0, Mode.LIVE), [again.key])
    assert shown.duplicates == duplicates


async def test_what_a_worker_had_recorded_before_it_died_is_not_sent_again(world: World) -> None:
    for name in ("recorded", "lost"):
        world.tokens.add(f"customer:{name}", "push")
    keys = ["customer:recorded", "customer:lost"]
    envelope = await world.request(await world.release(["push"]), keys, on_unknown="resend")
    claimed = (await world.ledger.claim(await prepared(world))).messages
    (known,) = [message for message in claimed if message.recipient == "customer:recorded"]
    await world.ledger.record([Result(known, Status.SENT, Reason.NONE, "ref")], [])
    await recovered(world)
    assert await world.statuses() == {(SENT, 0): 1, (UNKNOWN, Reason.WORKER_CRASHED): 1}
    await world.send_all()
    assert await world.account(envelope.data.request_id) == {"recipients": 2, "sent": 2}
    assert len(world.provider.calls) == 1


async def test_what_was_recovered_is_not_claimed_by_who_had_it_before(world: World) -> None:
    await ordered(world, "leave")
    late = await prepared(world)
    await recovered(world)
    claimed = await world.ledger.claim(late)
    assert (claimed.messages, claimed.lost) == ([], 1)
    await world.send_all()
    assert await world.statuses() == {(SENT, 0): 1}


async def test_what_another_worker_leased_is_not_given_back_by_who_had_it_before(
    world: World, clock: FixedClock
) -> None:
    """Else a third one leases it as well, while the second calls."""
    await ordered(world, "leave")
    late = await prepared(world)
    await recovered(world)
    current = await prepared(world)
    (row,) = late.group.rows
    await world.ledger.give_back([GiveBack(row, clock(), Reason.RECIPIENTS_UNAVAILABLE)])
    clock.advance(timedelta(seconds=1))
    assert await world.ledger.lease(Lane.BULK, (10, 100), 30.0) == []
    assert len((await world.ledger.claim(current)).messages) == 1


@pytest.mark.parametrize("place", [0, 2])
async def test_who_may_have_killed_two_workers_is_leased_alone(world: World, clock: FixedClock, place: int) -> None:
    """Whatever its place in the queue; the others are leased together, as always."""
    requests = [await ordered(world, "leave") for _ in range(3)]
    for number, request in enumerate(requests):
        due_at = clock() - timedelta(seconds=10 - number)
        crashes = 2 if number == place else 0
        await world.execute("update work set due_at = $2, crashes = $3 where request_id = $1", request, due_at, crashes)
    leased = [{row.request.id for row in await world.ledger.lease(Lane.BULK, (10, 100), 30.0)} for _ in range(3)]
    assert sorted(map(len, leased)) == [0, 1, 2]
    assert {requests[place]} in leased
