"""Orders that arrive together share a queue row; what happens to one of them does not affect the others."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from libs.clock import FixedClock
from libs.contracts.envelope import Envelope
from libs.contracts.outcomes import Lane, Mode
from libs.contracts.reasons import Reason
from services.delivery.adapters.postgres import apart
from services.delivery.adapters.postgres.operations import PostgresOperations
from services.delivery.adapters.postgres.partitions import PostgresPartitions
from services.delivery.adapters.postgres.reads import PostgresReads
from services.delivery.domain.intake import new_request
from services.delivery.domain.outcomes import Deferred, Sent
from services.delivery.domain.steering import Hold, HoldKind
from services.delivery.domain.work import Group, Prepared
from services.delivery.loops.prepare import prepare
from services.delivery.loops.routes import route
from tests.flows.delivery_world import KEYRING, World, requested

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
SENT, SKIPPED, UNKNOWN = 2, 4, 6
ROWS = "select count(*) from work"


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(NOON)


async def orders(world: World, count: int = 3, **changes: Any) -> list[Envelope]:
    """Accept `count` orders of one recipient each, together."""
    release = await world.release(["push"])
    envelopes = []
    for n in range(count):
        world.tokens.add(f"customer:{n}", "push")
        envelopes.append(requested(release, [f"customer:{n}"], world.clock(), **changes))
    await world.ledger.accept([new_request(envelope, KEYRING) for envelope in envelopes])
    return envelopes


def hold(envelope: Envelope, clock: FixedClock) -> Hold:
    cause = str(envelope.data.cause_id)
    return Hold(1, Mode.LIVE, HoldKind.CAUSE, cause, 0, True, None, "test", clock())


async def called(world: World) -> Group:
    """Lease, prepare and claim, like a worker that dies before it records."""
    group = Group(Lane.BULK, await world.ledger.lease(Lane.BULK, (10, 100), 30.0), 0.0)
    prepared = await prepare(world.line(), group)
    await route(world.line(), prepared, 0.0)
    await world.ledger.claim(prepared)
    return group


async def run_out(world: World) -> None:
    await world.execute("update work set leased_until = now() - interval '1 s' where leased_until > '-infinity'")


@pytest.mark.parametrize(("lane", "rows"), [("transactional", 3), ("bulk", 1)])
async def test_orders_share_rows_of_a_chunk_each_and_are_all_sent(world: World, lane: str, rows: int) -> None:
    envelopes = await orders(world, 45, lane=lane)
    assert await world.value(ROWS) == rows
    await world.send_all(Lane.parse(lane))
    assert await world.statuses() == {(SENT, 0): 45}
    assert await world.value(ROWS) == 0
    settled = {event["request_id"] for event in await world.events("request.settled")}
    assert settled == {str(envelope.data.request_id) for envelope in envelopes}


async def test_waiting_orders_are_counted_and_explained_one_by_one(world: World, clock: FixedClock) -> None:
    envelopes = await orders(world)
    reads = PostgresReads(world.database, KEYRING)
    assert (await reads.backlog())[int(Lane.BULK)][:3] == (1, 3, 0)
    wanted = [envelope.data.recipients[0].notification_id for envelope in envelopes]
    standings = await reads.standings((1, Mode.LIVE), wanted)
    assert [len(standing.work) for standing in standings] == [1, 1, 1]
    days = PostgresPartitions(world.database, clock, retention_days=90, body_days=30)
    assert set((await days.always_empty()).values()) == {0}


async def test_a_hold_stops_the_order_that_it_names(world: World, clock: FixedClock) -> None:
    envelopes = await orders(world)
    operations = PostgresOperations(world.database, KEYRING)
    await operations.place(hold(envelopes[1], clock), [])
    await world.send_all()
    assert await world.statuses() == {(SENT, 0): 2}
    assert await world.value(f"{ROWS} where held") == 1
    await operations.lift(hold(envelopes[1], clock), [])
    await world.send_all()
    assert await world.statuses() == {(SENT, 0): 3}


async def test_a_hold_that_comes_between_lease_and_claim_stops_its_order_too(world: World, clock: FixedClock) -> None:
    envelopes = await orders(world)
    operations = PostgresOperations(world.database, KEYRING)
    group = Group(Lane.BULK, await world.ledger.lease(Lane.BULK, (10, 100), 30.0), 0.0)
    await operations.place(hold(envelopes[1], clock), [])
    assert await operations.cancel((1, Mode.LIVE), envelopes[2].data.cause_id, clock(), []) == 1
    prepared = await prepare(world.line(), group)
    await route(world.line(), prepared, 0.0)
    claimed = await world.ledger.claim(prepared)
    assert [message.recipient for message in claimed.messages] == ["customer:0"]
    assert await world.value(f"{ROWS} where held") == 1
    await world.send_all()
    assert (SKIPPED, Reason.CANCELLED) in await world.statuses()


async def test_what_a_dead_worker_called_is_unknown_and_each_order_goes_its_own_way(world: World) -> None:
    envelopes = await orders(world, on_unknown="resend")
    await called(world)
    await run_out(world)
    assert (await world.ledger.recover(10)).unknown == 3
    assert await world.value(f"{ROWS} where together is null and attempt = 2 and crashes = 1") == 3
    await world.send_all()
    assert await world.statuses() == {(SENT, 0): 3}
    for envelope in envelopes:
        assert await world.account(envelope.data.request_id) == {"recipients": 1, "sent": 1}


async def test_a_chunk_that_nobody_called_is_taken_apart_and_loses_nobody(world: World) -> None:
    await orders(world)
    await world.ledger.lease(Lane.BULK, (10, 100), 30.0)
    await run_out(world)
    assert (await world.ledger.recover(10)).unknown == 0
    assert await world.value(f"{ROWS} where together is null and attempt = 1 and crashes = 1") == 3
    await world.send_all()
    assert await world.statuses() == {(SENT, 0): 3}


async def test_an_order_that_is_final_is_not_taken_up_again(world: World, clock: FixedClock) -> None:
    """One has its result, then the worker dies with the other two."""
    envelopes = await orders(world, secret=True)
    await called(world)
    first = envelopes[0].data
    await world.execute("update message set status = 2 where request_id = $1", first.request_id)
    await world.execute("update request set pending = 0, sent = 1, body = null where id = $1", first.request_id)
    await run_out(world)
    assert (await world.ledger.recover(10)).unknown == 2
    assert await world.statuses() == {(SENT, 0): 1, (UNKNOWN, Reason.WORKER_CRASHED): 2}


async def test_who_must_wait_gets_a_row_of_his_own(world: World, clock: FixedClock) -> None:
    await orders(world)
    world.tokens.away = lambda: True
    await world.send_all()
    assert await world.value(f"{ROWS} where together is null and reason = $1", int(Reason.RECIPIENTS_UNAVAILABLE)) == 3
    world.tokens.away = lambda: False
    world.provider.answer = lambda m: Deferred(Reason.THROTTLED, "429", 5.0) if m.attempt == 1 else Sent()
    clock.advance(timedelta(minutes=2))
    await world.send_all()
    assert await world.value(ROWS) > 0
    clock.advance(timedelta(minutes=2))
    await world.send_all()
    assert await world.statuses() == {(SENT, 0): 3}


async def test_taking_apart_reads_no_more_than_shared_rows(world: World) -> None:
    plan = "\n".join(row[0] for row in await world.fetch(f"explain {apart._EXPIRED}", 20))
    assert "Seq Scan on work" not in plan


async def test_a_worker_whose_lease_has_run_out_claims_nothing(world: World) -> None:
    """It stalled while preparing, and another one leased the row: that one calls, whoever claims first."""
    await orders(world)
    line = world.line()
    prepared = []
    for _ in range(2):
        rows = await world.ledger.lease(Lane.BULK, (10, 10), 30.0)
        prepared.append(await prepare(line, Group(Lane.BULK, rows, 0.0)))
        await world.execute("update work set leased_until = '-infinity'")
    late, current = prepared

    async def told(group: Prepared) -> tuple[int, int]:
        claimed = await world.ledger.claim(group)
        return len(claimed.messages), claimed.lost

    assert await told(late) == (0, 3)
    assert await told(current) == (3, 0)
    assert await told(current) == (0, 3)
