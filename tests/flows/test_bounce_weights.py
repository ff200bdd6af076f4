"""What a person states outweighs what a server said, and no address stays suppressed by evidence that was wrong."""

from datetime import timedelta
from typing import Any

import pytest

from libs.contracts.bounce import SuppressionChanged
from libs.contracts.delivery import Receipt, ReceiptRecorded
from services.bounce.handlers.rolling_back import look_after
from tests.flows.bounce_policy import DAY, GONE, HOUR, all_said, barred, careful, hash_of, rows, said
from tests.flows.bounces import NOW, World, world
from tests.flows.test_bounce_rollback import FULL, WRONG, refuse, roll_back, takes
from tests.flows.test_bounce_rules import publish, put

__all__ = ["world"]

GONE_THERE = "550 5.1.1 no such user here"
FULL_ONLY = "552 5.2.2 mailbox full, over quota gsmtp"


async def undo(world: World, **body: Any) -> dict[str, Any]:
    wanted = {"since": (NOW - DAY).isoformat(), "note": "it was wrong"} | body
    answer = await world.post("/v1/suppressions:undo", wanted)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_what_a_person_bars_stays_where_a_bounce_had_barred_it_already(world: World) -> None:
    address = "kim@example.com"
    await refuse_one(world, world.hash_of(address))
    assert len(await barred(world)) == 1
    placed = (await world.post("/v1/suppressions", {"address": address, "note": "asked by phone"})).json()
    assert (placed["active"], placed["reason"], placed["note"]) == (True, "suppressed_manual", "asked by phone")
    world.clock.advance(HOUR)
    assert (await undo(world, category="unknown-user"))["lifted"] == 0
    assert len(await barred(world)) == 1
    told = [e for e in await all_said(world) if isinstance(e, SuppressionChanged)]
    assert [(e.version, e.active, e.reason) for e in told] == [
        (1, True, "suppressed_bounce"),
        (2, True, "suppressed_manual"),
    ]


async def test_a_complaint_outlives_the_full_mailbox_that_barred_before_it(world: World) -> None:
    await full_for_three_days(world)
    assert await barred(world) == ["kim"]
    await complain(world, "kim", world.clock.now)
    (row,) = await rows(world, "select policy, active from suppression")
    assert (row["policy"], row["active"]) == ("complaint", True)
    world.clock.advance(HOUR)
    await undo(world, category="mailbox-full")
    assert await barred(world) == ["kim"]


async def test_an_address_that_a_complaint_takes_over_is_counted_once(world: World) -> None:
    await full_for_three_days(world)
    await complain(world, "kim", world.clock.now)
    (listed,) = (await world.get("/v1/suppressions"))["items"]
    await world.post(f"/v1/suppressions/{listed['id']}:lift", {"note": "he wrote"})
    world.clock.advance(HOUR)
    totals = (await world.get("/v1/statistics"))["totals"]
    assert (totals["suppressed"], totals["lifted"]) == (1, 1)


async def test_less_does_not_take_the_place_of_more(world: World) -> None:
    await complain(world, "kim", NOW)
    await full_for_three_days(world)
    (row,) = await rows(world, "select policy, version from suppression")
    assert (row["policy"], row["version"]) == ("complaint", 1)


@pytest.mark.parametrize("wrong_first", [True, False])
async def test_nothing_stays_barred_on_a_proof_that_was_undone(world: World, wrong_first: bool) -> None:
    """If either of two bounces was wrong, the other is not a second one."""
    careful(world)
    for again in (False, True):
        domain = "yahoo.com" if again is not wrong_first else None
        await said(world, ["kim"], GONE_THERE if domain else GONE, domain=domain)
        await said(world, ["ann"])
        world.clock.advance(2 * DAY)
    assert await barred(world) == ["ann", "kim"]
    body = {"provider": "yahoo", "preview": True}
    seen = await undo(world, **body)
    assert (seen["lifted"], seen["void"]) == (1, 1)
    done = await undo(world, **body | {"preview": False})
    assert (done["lifted"], done["void"]) == (1, 1)
    assert await barred(world) == ["ann"]


async def test_the_good_proof_of_the_two_counts_on(world: World) -> None:
    careful(world)
    await said(world, ["kim"], GONE_THERE, domain="yahoo.com")
    world.clock.advance(2 * DAY)
    await said(world, ["kim"])
    assert await barred(world) == ["kim"]
    world.clock.advance(2 * DAY)
    await undo(world, provider="yahoo")
    assert await barred(world) == []
    await said(world, ["kim"])  # with the bounce of the second day, it is a second one
    assert await barred(world) == ["kim"]


async def test_what_a_replica_judges_late_is_undone_though_a_set_was_published_since(world: World) -> None:
    assert (await put(world, "quota-is-dead", **WRONG)).status_code == 201
    await publish(world, "dead by quota", acknowledged=await takes(world))
    deps = world.service.deps
    rulebook, late = deps.rulebook, await deps.rulebook.current()
    await roll_back(world, 0, undo_effects=True)
    async with world.client() as client:
        assert (await client.post("/v1/rules/quota-is-dead:retire")).status_code == 200
    assert (await put(world, "ours", category="policy", contains="house rule", examples=[])).status_code == 201
    published = await publish(world, "the good one of the two")
    assert published.status_code == 201, published.text

    class Late:
        async def current(self) -> Any:
            return late

    object.__setattr__(deps, "rulebook", Late())
    await refuse(world, "late", [FULL])
    object.__setattr__(deps, "rulebook", rulebook)
    assert len(await barred(world)) == 1
    settled = await look_after(deps, -1)
    assert await barred(world) == []
    assert settled < 2  # the rolled-back set is followed up for some more minutes
    world.clock.advance(timedelta(hours=1))
    assert await look_after(deps, settled) == 3


async def full_for_three_days(world: World) -> None:
    for _ in range(3):
        await said(world, ["kim"], FULL_ONLY)
        world.clock.advance(DAY)


async def refuse_one(world: World, hashed: bytes) -> None:
    await said(world, ["kim"])
    await execute(world, "update suppression set address_hash = $1", hashed)
    await execute(world, "update bounce set address_hash = $1", hashed)


async def execute(world: World, statement: str, *arguments: Any) -> None:
    await rows(world, f"{statement} returning 1", *arguments)


async def complain(world: World, name: str, at: Any) -> None:
    complaint = Receipt(
        provider="gmail", provider_event_id=f"{name}{at}", message="m.1", attempt=1, kind="complained", at=at,
        address_hash=hash_of(name),
    )  # fmt: skip
    await world.hear(ReceiptRecorded(receipts=(complaint,)))
