"""The embedded bus in two lanes: urgent events wait for nothing, and no batch blocks an event loop for long."""

import asyncio
from collections.abc import Sequence

from msgspec import structs
from prometheus_client import REGISTRY

from libs.contracts.access import TenantChanged
from libs.contracts.envelope import Envelope
from libs.messaging.bus import Subscriber
from libs.messaging.figures import OutboxFigures
from libs.messaging.outbox import FIRST_LANE, SECOND_LANE, Outgoing
from libs.messaging.postgres import Relay
from libs.storage.database import Database
from tests.flows.test_relay import Listener, access, count, publish, tenant
from tests.waiting import eventually

__all__ = ["access"]  # the fixture


async def test_what_hurries_does_not_wait_behind_what_may_wait(access: Database) -> None:
    listener = Listener("listener")
    going_on, busy = asyncio.Event(), asyncio.Event()

    async def slow(batch: Sequence[Envelope]) -> None:
        if any(envelope.data.number < 100 for envelope in batch):
            busy.set()
            await going_on.wait()
        await listener(batch)

    await publish(access, *(structs.replace(tenant(n), lane=SECOND_LANE) for n in range(20)))
    stop = asyncio.Event()
    running = asyncio.create_task(Relay(access, [Subscriber("x", TenantChanged.TYPE, slow)]).run(stop))
    await busy.wait()
    await publish(access, tenant(100))
    await eventually(lambda: listener.taken, 120)
    assert listener.taken == [100]
    going_on.set()
    stop.set()
    await running
    assert sorted(listener.taken) == [*range(20), 100]


async def test_two_relays_share_the_lanes(access: Database) -> None:
    urgent, later = Listener("urgent"), Listener("later")
    stop = asyncio.Event()
    relays = [
        Relay(access, [listener.subscriber()], [lane])
        for listener, lane in ((urgent, FIRST_LANE), (later, SECOND_LANE))
    ]
    running = [asyncio.create_task(relay.run(stop)) for relay in relays]
    await publish(access, *(structs.replace(tenant(n), lane=n % 2) for n in range(20)))
    await eventually(lambda: len(urgent.taken + later.taken) == 20, 120)
    stop.set()
    await asyncio.gather(*running)
    assert urgent.taken == [*range(0, 20, 2)]
    assert later.taken == [*range(1, 20, 2)]
    assert await count(access, "outbox") == 0


async def test_a_batch_is_bounded_by_its_bytes(access: Database) -> None:
    listener = Listener("listener")
    large = TenantChanged(number=1, name="x" * 100_000, default_locale="de", version=1)
    for n in range(40):
        name = "x" * (300_000 if n == 20 else 100_000)  # one is larger than a whole batch
        await publish(access, Outgoing(structs.replace(large, number=n, name=name), key=str(n), tenant=1, mode=1))
    relay = Relay(access, [listener.subscriber()])
    while await relay.publish_once():
        pass
    assert sorted(listener.taken) == list(range(40))
    assert max(listener.batches) == 2


async def test_how_far_an_outbox_is_behind_is_measured_in_seconds_over_both_lanes(access: Database) -> None:
    await publish(access, tenant(1), structs.replace(tenant(2), lane=SECOND_LANE))
    async with access.acquire() as connection:
        await connection.execute(
            "update outbox set created_at = now() - interval '1 hour' where lane = $1", SECOND_LANE
        )
    await OutboxFigures("lanes", access).look()
    lag, waiting = (
        REGISTRY.get_sample_value(f"depesche_outbox_{name}", {"service": "lanes"})
        for name in ("lag_seconds", "waiting")
    )
    assert lag is not None
    assert 3_600 <= lag < 36_000
    assert waiting == 2
