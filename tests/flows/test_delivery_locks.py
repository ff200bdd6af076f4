"""Transactions that meet at the same rows: all of them lock in one order, so that none waits for one that waits for it.

All but the last test stop two real transactions between two of their locks: a row in between is locked by the test.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from libs.contracts.outcomes import Lane, Mode, ReceiptKind, Status
from libs.contracts.reasons import Reason
from libs.ids import uuid7
from libs.keyring import Keyring
from services.delivery.adapters.postgres.operations import PostgresOperations
from services.delivery.adapters.postgres.reads import PostgresReads
from services.delivery.domain.callbacks import ReceiptNews
from services.delivery.domain.intake import new_request
from services.delivery.domain.steering import Hold, HoldKind
from services.delivery.domain.work import GiveBack, Group, Message, Prepared, Result
from services.delivery.loops.prepare import prepare
from services.delivery.loops.routes import route
from tests.flows.delivery_world import KEYRING, World, now, requested

SCOPE = (1, Mode.LIVE)
WORK = "select id from work where id = $1 for update"
MESSAGE = "select from message where notification_id = $1 for update"
ATTEMPT = "select from attempt where notification_id = $1 for update"
SLOW_ROWS = """
create function slow() returns trigger language plpgsql as 'begin perform pg_sleep(0.001); return new; end';
create trigger slow before insert or update on message for each row execute function slow();
create trigger slow before update on request for each row execute function slow();
"""


@asynccontextmanager
async def locked(world: World, query: str, *values: Any) -> AsyncIterator[None]:
    """Lock rows until the end of the block."""
    async with world.database.transaction() as connection:
        assert len(await connection.fetch(query, *values)) == 1
        yield


async def stopped(world: World, *tasks: asyncio.Task[Any]) -> None:
    """Return once each of these transactions waits for a lock or has ended."""
    waiting = "select count(distinct pid) from pg_locks where not granted"
    while await world.value(waiting) < sum(not task.done() for task in tasks):  # noqa: ASYNC110 - Postgres sets no event
        await asyncio.sleep(0.01)


async def orders(world: World, count: int) -> tuple[list[UUID], list[int]]:
    """Accept requests of one cause; return their ids, and those of their queue rows, in the same order."""
    release, cause = await world.release(["push"]), uuid7()
    for n in range(count):
        world.tokens.add(f"customer:{n}", "push")
    envelopes = [requested(release, [f"customer:{n}"], now(), cause=cause, part=n) for n in range(count)]
    envelopes.sort(key=lambda envelope: envelope.data.request_id)
    for envelope in envelopes:
        await world.ledger.accept([new_request(envelope, KEYRING)])
    rows = await world.fetch("select request_id, id from work order by id")
    return [row[0] for row in rows], [row[1] for row in rows]


async def due_in_turn(world: World, ids: list[int]) -> None:
    """Make these rows due in this order."""
    for place, id_ in enumerate(ids):
        await world.execute("update work set due_at = $2 where id = $1", id_, now() - timedelta(seconds=60 - place))


async def prepared(world: World) -> Prepared:
    group = Group(Lane.BULK, await world.ledger.lease(Lane.BULK, (10, 100), 30.0), 0.0)
    made = await prepare(world.line(), group)
    await route(world.line(), made, 0.0)
    return made


async def claimed(world: World) -> list[Message]:
    return sorted((await world.ledger.claim(await prepared(world))).messages, key=lambda message: message.key)


async def test_placing_a_hold_waits_for_rows_in_the_order_of_those_who_give_them_back(world: World) -> None:
    """It has seen three rows unleased, which are leased and given back while it waits for another one."""
    _, (first, low, middle, high) = await orders(world, 4)
    await due_in_turn(world, [first, high, low, middle])  # the queue's order is not that of the ids
    async with AsyncExitStack() as ahead, AsyncExitStack() as between:
        await ahead.enter_async_context(locked(world, WORK, first))
        placing = asyncio.create_task(operations(world).place(everything(), []))
        await stopped(world, placing)
        rows = await world.ledger.lease(Lane.BULK, (10, 100), 30.0)
        assert [row.queued.id for row in rows] == [low, middle, high]
        await between.enter_async_context(locked(world, WORK, middle))
        backs = [GiveBack(row, now(), Reason.RECIPIENTS_UNAVAILABLE) for row in rows]
        giving = asyncio.create_task(world.ledger.give_back(backs))
        await stopped(world, placing, giving)
        await ahead.aclose()
        await stopped(world, placing, giving)
        await between.aclose()
        assert (await placing)[1]
        await giving
    assert world.ledger.deadlocks == 0


async def test_cancelling_locks_the_work_before_its_requests_as_the_sender_does(world: World) -> None:
    """A row is leased, claimed and recorded while cancelling waits for another one."""
    (open_, sent), (first, later) = await orders(world, 2)
    await due_in_turn(world, [first, later])
    cause = await world.value("select distinct cause_id from request")
    async with AsyncExitStack() as ahead:
        await ahead.enter_async_context(locked(world, WORK, first))
        cancelling = asyncio.create_task(operations(world).cancel(SCOPE, cause, now(), []))
        await stopped(world, cancelling)
        (message,) = await claimed(world)
        recording = asyncio.create_task(world.ledger.record([accepted(message)], [message.row]))
        await stopped(world, cancelling, recording)
        await ahead.aclose()
        await asyncio.gather(cancelling, recording)
    assert world.ledger.deadlocks == 0
    cancelled = await world.fetch("select id from request where cancelled_at is not null")
    assert [row[0] for row in cancelled] == [open_]
    await world.send_all()
    assert await world.account(open_) == {"recipients": 1, "skipped": 1}
    assert await world.account(sent) == {"recipients": 1, "sent": 1}


@pytest.mark.parametrize("by", ["answer", "receipt"])
async def test_a_late_answer_locks_no_message_after_those_of_its_batch(world: World, by: str) -> None:
    """It is about a message that was sent again, and comes together with one about a message of a higher id. The
    resend's answer is recorded at the same time, together with the other message's."""
    release = await world.release(["push"])
    for name in "ab":
        world.tokens.add(f"customer:{name}", "push")
    await world.request(release, ["customer:a", "customer:b"], on_unknown="resend")
    low, high = await claimed(world)
    await world.ledger.record([Result(low, Status.UNKNOWN, Reason.TIMED_OUT, again_at=now())], [])
    await world.execute("update work set due_at = now() - interval '1 s'")
    (again,) = await claimed(world)
    assert (again.key, again.row.attempt) == (low.key, 2)
    async with AsyncExitStack() as between:
        await between.enter_async_context(locked(world, ATTEMPT, low.notification_id))
        if by == "answer":
            late = asyncio.create_task(world.ledger.record([accepted(low), accepted(high)], []))
        else:
            late = asyncio.create_task(world.ledger.receive([delivered(low), delivered(high)]))
        await stopped(world, late)
        recording = asyncio.create_task(world.ledger.record([accepted(again), accepted(high)], [again.row, high.row]))
        await stopped(world, late, recording)
        await between.aclose()
        await asyncio.gather(late, recording)
    assert world.ledger.deadlocks == 0
    assert await world.statuses() == {(Status.SENT, 0): 2}
    shown = await PostgresReads(world.database, KEYRING).messages(SCOPE, [low.key, high.key])
    assert {row.notification_id: row.duplicates for row in shown} == {low.notification_id: 1, high.notification_id: 0}


async def test_twins_claimed_and_recorded_at_once_never_lock_each_other_out(world: World, database: str) -> None:
    """Groups of requests for the same people, in opposite orders, claimed and recorded at the same moment: every row
    takes a millisecond, so that the statements certainly overlap."""
    owner = await asyncpg.connect(database, server_settings={"search_path": "delivery"})
    await owner.execute(SLOW_ROWS)
    await owner.close()
    release = await world.release(["push"])
    keys = [f"customer:{n}" for n in range(60)]
    for key in keys:
        world.tokens.add(key, "push")
    line = world.line()
    rounds = 2
    for _ in range(rounds):
        cause = uuid7()
        for part in range(4):
            order = keys if part % 2 else keys[::-1]
            envelope = requested(release, order, now(), cause=cause, part=part)
            await world.ledger.accept([new_request(envelope, KEYRING)])
        groups = [Group(Lane.BULK, await world.ledger.lease(Lane.BULK, (1, 1), 30.0), 0.0) for _ in range(4)]
        prepared = [await prepare(line, group) for group in groups]
        for one_ in prepared:
            await route(line, one_, 0.0)
        claimed = await asyncio.gather(*map(world.ledger.claim, prepared))
        assert sum(len(made.messages) for made in claimed) == 60
        results = [Result(m, Status.SENT, Reason.NONE, "ref") for made in claimed for m in made.messages]
        finished = {r.message.row.id: r.message.row for r in results}
        await asyncio.gather(*(world.ledger.record(order, []) for order in (results, results[::-1])))
        await world.ledger.record([], list(finished.values()))
    assert world.ledger.deadlocks == 0
    assert await world.value("select sum(sent) || '/' || sum(skipped) from request") == f"{60 * rounds}/{180 * rounds}"
    assert await world.value("select count(*) from request where settled_at is null") == 0


async def test_erasing_locks_messages_before_their_requests_as_the_sender_does(world: World) -> None:
    """Two answers of one request are recorded while its first recipient is erased."""
    release = await world.release(["push"])
    for name in "ab":
        world.tokens.add(f"customer:{name}", "push")
    await world.request(release, ["customer:a", "customer:b"])
    low, high = await claimed(world)
    async with AsyncExitStack() as between:
        await between.enter_async_context(locked(world, MESSAGE, high.notification_id))
        recording = asyncio.create_task(world.ledger.record([accepted(low), accepted(high)], [low.row, high.row]))
        await stopped(world, recording)
        erasing = asyncio.create_task(world.ledger.erase([(*SCOPE, low.recipient, now())]))
        await stopped(world, recording, erasing)
        await between.aclose()
        await asyncio.gather(recording, erasing)
    assert world.ledger.deadlocks == 0
    assert await erasing == 1
    assert await world.value("select recipient_id from message where notification_id = $1", low.notification_id) is None


def operations(world: World) -> PostgresOperations:
    return PostgresOperations(world.database, Keyring(b"k" * 32))


def everything() -> Hold:
    return Hold(1, Mode.LIVE, HoldKind.TENANT, "1", 0, True, None, "test", now())


def accepted(message: Message) -> Result:
    return Result(message, Status.SENT, Reason.NONE, "ref")


def delivered(message: Message) -> ReceiptNews:
    event = f"{message.notification_id}:{message.row.attempt}"
    kind = ReceiptKind.DELIVERED
    return ReceiptNews("model", event, *message.key, message.row.attempt, kind, now(), Reason.NONE)
