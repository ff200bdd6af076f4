"""The outage of 14 and 15 December 2020: Gmail answers 550 5.1.1 to good addresses, and none of them stays
suppressed.
"""

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg

from libs.contracts.delivery import MessageRecorded, MessageRejected, Rejection, Transition
from tests.flows.bounces import World, world

__all__ = ["world"]

CONFIRMED, DROPPED = 1, 3
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
FIRST = datetime(2020, 12, 14, 21, 30, tzinfo=UTC)
SECOND = datetime(2020, 12, 15, 22, 10, tzinfo=UTC)
REFUSAL = "550-5.1.1 The account that this mail is for was not found here, please check it for typos. a12si345 - gsmtp"


def hash_of(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


async def handed_over(world: World, names: Iterable[str], at: datetime) -> None:
    """Mails that our relay accepted."""
    transitions = tuple(
        Transition(
            notification_id=uuid4(), address_id=1, recipient=f"customer:{name}", attempt=1, was="sending", is_="sent",
            reason="none", at=at, channel="email", address_hash=hash_of(name),
        )
        for name in names
    )  # fmt: skip
    ids = {"request_id": uuid4(), "cause_id": uuid4(), "release_id": uuid4()}
    await world.hear(MessageRecorded(**ids, communication="news", transitions=transitions))


async def refused(world: World, names: Iterable[str], at: datetime, text: str = REFUSAL) -> None:
    """Gmail's refusals of mails to these names."""
    world.clock.now = at
    rejections = tuple(
        Rejection(
            message=f"{uuid4()}.1", recipient=f"customer:{name}", attempt=1, channel="email", sender=1, address_id=1,
            address_hash=hash_of(name), final=True, text=text, at=at, reply_code=550, enhanced_code="5.1.1",
        )
        for name in names
    )  # fmt: skip
    if rejections:
        await world.hear(MessageRejected(request_id=uuid4(), rejections=rejections, communication="news"))


async def barred(world: World) -> set[bytes]:
    connection = await asyncpg.connect(world.dsn)
    try:
        rows = await connection.fetch("select address_hash from bounce.suppression where active")
    finally:
        await connection.close()
    return {row[0] for row in rows}


async def usual_week(world: World, before: datetime) -> None:
    """A week in which few mailboxes turn out to be gone: three of 3,000 mails an hour."""
    at = before - 7 * DAY
    number = 0
    while at < before:
        if at.hour in (8, 12, 20):
            await handed_over(world, (f"other{n}" for n in range(300)), at)
            await refused(world, (f"gone{number + n}" for n in range(3)), at + 2 * MINUTE)
            number += 3
        at += HOUR


async def outage(world: World, begin: datetime, good: list[str], minutes: int) -> None:
    """It swells for a quarter of an hour; some mails still arrive; at the end it ebbs away."""
    cursor = 0
    for minute in range(minutes):
        at = begin + MINUTE * minute
        share = min(1.0, (minute + 1) / 15, (minutes - minute) / 15)
        count = max(1, round(45 * share))
        names = [good[(cursor + n) % len(good)] for n in range(count)]
        cursor += count
        await handed_over(world, names, at)
        await refused(world, names, at + timedelta(seconds=20))
        if minute % 10 == 0:
            await world.service.deps.breakers.watch(world.clock.now)


async def calm_down(world: World, at: datetime) -> None:
    """Run the loop's checks after it is over."""
    for minute in range(0, 60, 5):
        world.clock.now = at + MINUTE * minute
        await world.service.deps.breakers.watch(world.clock.now)


async def test_no_good_address_stays_barred(world: World) -> None:
    loyal = [f"loyal{n}" for n in range(400)]  # mailed now and then, with deliveries
    new = [f"new{n}" for n in range(400)]  # without any history
    good = [name for pair in zip(loyal, new, strict=True) for name in pair]
    gone = [f"really{n}" for n in range(20)]
    await usual_week(world, FIRST)
    known_dead = await barred(world)
    assert len(known_dead) > 50
    await handed_over(world, loyal, FIRST - 4 * DAY)

    await outage(world, FIRST, good, 90)
    await refused(world, gone, FIRST + 70 * MINUTE)
    assert await barred(world) == known_dead
    await calm_down(world, FIRST + 90 * MINUTE)
    assert all(shown["closed_at"] for shown in await breakers(world))

    await outage(world, SECOND, good, 60)
    await calm_down(world, SECOND + 60 * MINUTE)
    assert await barred(world) == known_dead
    shown = await breakers(world)
    assert len(shown) == 2
    assert all(breaker["closed_at"] for breaker in shown)
    assert shown[0]["doubtful_from"] <= FIRST

    # two days later all is well: existing mailboxes get mail again, the others stay suppressed
    later = SECOND + 2 * DAY
    await handed_over(world, good, later)
    await refused(world, gone, later + MINUTE)
    assert await barred(world) == known_dead | {hash_of(name) for name in gone}
    await world.service.deps.breakers.follow_up(later + 3 * DAY)
    assert await parked(world) == {("loyal", DROPPED): 400, ("new", DROPPED): 400, ("really", CONFIRMED): 20}


async def breakers(world: World) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(world.dsn)
    try:
        return list(await connection.fetch("select * from bounce.breaker order by opened_at"))
    finally:
        await connection.close()


async def parked(world: World) -> dict[tuple[str, int], int]:
    connection = await asyncpg.connect(world.dsn)
    try:
        rows = await connection.fetch(
            "select name, state, count(*) from (select distinct on (recipient) state, "
            "substring(recipient from 'customer:([a-z]+)') as name from bounce.parked "
            "order by recipient, parked_at desc, id desc) as newest group by 1, 2"
        )
    finally:
        await connection.close()
    return {(row[0], row[1]): row[2] for row in rows}
