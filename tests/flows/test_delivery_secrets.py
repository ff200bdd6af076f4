"""One-time codes reach the plan's next step if a provider gives up on what it accepted, and are kept no longer."""

from datetime import timedelta
from typing import Any

import pytest

from libs.clock import FixedClock
from libs.contracts.outcomes import Lane, ReceiptKind
from libs.contracts.reasons import Reason
from services.delivery.adapters.postgres.partitions import PostgresPartitions
from services.delivery.domain.callbacks import ReceiptNews
from tests.flows.delivery_world import World, now

SENT, FAILED = 2, 3
KEPT = "select count(*) from request where body is not null"


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(now())


async def code_sent(world: World, *steps: list[str]) -> Any:
    release = await world.release(*steps)
    world.tokens.add("customer:1", "sms", "email")
    expires = world.clock() + timedelta(minutes=15)
    envelope = await world.request(release, ["customer:1"], secret=True, expires_at=expires)
    await world.send_all(Lane.BULK)
    return envelope.data.request_id


async def undelivered(world: World) -> None:
    """The provider accepted the text, and says later that the number does not exist."""
    notification, address = (await world.fetch("select notification_id, address_id from message"))[0]
    news = ReceiptNews("m", "e1", notification, address, 1, ReceiptKind.FAILED, world.clock(), Reason.PROVIDER_GAVE_UP)
    assert (await world.ledger.receive([news])).new == 1


async def swept(world: World) -> None:
    await PostgresPartitions(world.database, world.clock, retention_days=90, body_days=30).retire()


async def test_a_code_that_came_back_undelivered_goes_out_by_the_next_step(world: World) -> None:
    request = await code_sent(world, ["sms"], ["email"])
    await undelivered(world)
    await world.send_all(Lane.BULK)
    rows = await world.fetch("select plan_step, status from message order by plan_step")
    assert [tuple(row) for row in rows] == [(0, FAILED), (1, SENT)]
    assert await world.account(request) == {"recipients": 1, "extra": 1, "failed": 1, "sent": 1}


async def test_a_code_is_wiped_once_it_has_expired(world: World, clock: FixedClock) -> None:
    await code_sent(world, ["sms"], ["email"])
    await swept(world)
    assert await world.value(KEPT) == 1
    clock.advance(timedelta(minutes=16))
    await swept(world)
    assert await world.value(KEPT) == 0
    await undelivered(world)
    await world.send_all(Lane.BULK)
    assert await world.statuses() == {(FAILED, int(Reason.PROVIDER_GAVE_UP)): 1}


async def test_a_code_without_a_further_step_is_wiped_as_soon_as_it_is_sent(world: World) -> None:
    await code_sent(world, ["sms"])
    assert await world.value(KEPT) == 0
