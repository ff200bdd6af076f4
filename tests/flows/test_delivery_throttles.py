"""Throttles: a sender's rate is shared by all its work, urgent messages have a reserve, and nobody waits for ever."""

from datetime import UTC, datetime, timedelta

import pytest

from libs.clock import FixedClock
from libs.contracts.outcomes import Lane
from libs.contracts.reasons import Reason
from services.delivery.domain.outcomes import Deferred, Sent
from tests.flows.delivery_world import World


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(datetime.now(UTC).replace(hour=12))


async def test_the_throttle_is_shared_and_leaves_room_for_what_is_urgent(world: World) -> None:
    release = await world.release(["push"])
    keys = [f"customer:{n}" for n in range(30)]
    for key in keys:
        world.tokens.add(key, "push")
    await world.execute("insert into throttle values (1, 1, 1, 0.001, 10, 10, now())")
    await world.request(release, keys)
    await world.send_all()
    assert len(world.provider.calls) == 8  # a fifth of the bucket is reserved for the transactional lane
    await world.request(release, keys[:2], lane="transactional")
    await world.send_all(Lane.TRANSACTIONAL)
    assert len(world.provider.calls) == 10
    assert await world.value("select sum(pending) from request") == 22
    assert await world.value("select count(*) from work where reason = $1", int(Reason.THROTTLED)) == 1


async def test_a_retry_that_a_throttle_puts_off_is_sent_later(world: World, clock: FixedClock) -> None:
    world.tokens.add("customer:1", "push")
    world.provider.answer = lambda m: Deferred(Reason.THROTTLED, "429", 0.0) if m.attempt == 1 else Sent()
    envelope = await world.request(await world.release(["push"]), ["customer:1"])
    await world.send_all()
    await world.execute("insert into throttle values (1, 1, 1, 0.001, 1, 0, now())")
    for bucket, account in ((0, {"pending": 1}), (1, {"sent": 1})):
        await world.execute("update throttle set available = $1", bucket)
        clock.advance(timedelta(minutes=2))
        await world.send_all()
        assert await world.account(envelope.data.request_id) == {"recipients": 1} | account


@pytest.mark.parametrize("burst", [1.0, 1.2])
async def test_a_sender_of_one_message_at_a_time_sends_campaigns_too(world: World, burst: float) -> None:
    release = await world.release(["push"])
    world.tokens.add("customer:1", "push")
    await world.execute("insert into throttle values (1, 1, 1, 0.001, $1, $1, now())", burst)
    await world.request(release, ["customer:1"])
    await world.send_all()
    assert len(world.provider.calls) == 1
