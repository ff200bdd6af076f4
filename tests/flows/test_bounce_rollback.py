"""A wrong rule is published, suppresses a thousand addresses, and is rolled back with all of its effects
and no others.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import uuid5

from libs.contracts.delivery import MessageRejected, Rejection
from libs.contracts.envelope import decode
from libs.contracts.outcomes import Mode
from libs.ids import message_id
from services.bounce.handlers.rolling_back import look_after, undo_effects
from tests.flows.bounce_policy import rows
from tests.flows.bounces import NOTIFICATION, World, world
from tests.flows.test_bounce_rules import publish, put

__all__ = ["world"]

FULL = "552 5.2.2 <kim@x.example>: The mailbox is full, over quota"
GONE = "550 5.1.1 <kim@x.example>: No such user here"
# a good rule would agree: the mailbox does not exist
BOTH = "550 5.1.1 <kim@x.example>: No such user here, see the help page"
TOLD = "select sum(entries) as count from bounce.outbox"
WRONG: dict[str, Any] = {"category": "unknown-user", "contains": ["over quota", "help page"], "examples": []}


def address_of(world: World, name: str, number: int) -> bytes:
    return world.hash_of(f"{name}{number}@x.example")


async def refuse(world: World, name: str, texts: Sequence[str], *, tenant: int = 1, mode: Mode = Mode.LIVE) -> None:
    """Refuse each text once, for different addresses."""
    rejections = [
        Rejection(
            message=message_id(uuid5(NOTIFICATION, f"{name}{tenant}{mode}"), number),
            recipient=f"customer:{name}{number}",
            attempt=1,
            channel="email",
            sender=1,
            address_id=number,
            address_hash=address_of(world, name, number),
            final=True,
            text=text,
            at=world.clock(),
        )
        for number, text in enumerate(texts, start=1)
    ]
    await world.hear(MessageRejected(request_id=NOTIFICATION, rejections=tuple(rejections)), tenant=tenant, mode=mode)


async def barred(world: World, key: str = "key") -> set[tuple[str | None, str | None]]:
    """Return recipient and rule of every suppression."""
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = await world.get(
            "/v1/suppressions", key, active=True, limit=500, **({"cursor": cursor} if cursor else {})
        )
        found += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return {(item["recipient"], item["rule"]) for item in found}


async def roll_back(world: World, number: int, **fields: Any) -> dict[str, Any]:
    answer = await world.post(f"/v1/rule-sets/{number}:roll-back", {"note": "it took full for dead", **fields})
    assert answer.status_code == (200 if fields.get("preview") else 201), answer.text
    return dict(answer.json())


async def test_a_thousand_addresses_come_back_and_nobody_else(world: World) -> None:
    await refuse(world, "earlier", [GONE] * 3)
    assert (await put(world, "quota-is-dead", **WRONG)).status_code == 201
    published = await publish(world, "dead by quota", acknowledged=await takes(world))
    assert published.status_code == 201, published.text
    await refuse(world, "full", [FULL] * 1_000)
    await refuse(world, "full", [FULL] * 4, tenant=2)
    await refuse(world, "full", [FULL] * 2, mode=Mode.TEST)
    await refuse(world, "gone", [GONE] * 20)
    await refuse(world, "both", [BOTH] * 5)
    await world.post("/v1/suppressions", {"address": "by-hand@x.example", "note": "asked by phone"})
    before = await barred(world)
    assert len(before) == 3 + 1_000 + 20 + 5 + 1
    world.clock.advance(timedelta(minutes=5))

    seen = await roll_back(world, 0, preview=True, undo_effects=True)
    assert (seen["rule_set"], seen["effects"]["lifted"]) == (None, 1_006)
    assert {group["rule"] for group in seen["effects"]["groups"]} == {"quota-is-dead"}
    assert seen["effects"]["examples"][0]["said"]
    assert await barred(world) == before

    done = await roll_back(world, 0, undo_effects=True)
    assert (done["rule_set"]["number"], done["rule_set"]["restores"]) == (2, 0)
    assert (done["effects"]["lifted"], done["effects"]["void"]) == (1_006, 1_006)
    after = await barred(world)
    assert before - after == {(f"customer:full{n}", "quota-is-dead") for n in range(1, 1_001)}
    assert ("customer:both1", "quota-is-dead") in after  # the shipped rules suppress it too
    assert await barred(world, "other") == await barred(world, "test") == set()

    (told,) = await rows(world, f"{TOLD} where type = 'suppression.changed'")
    assert told["count"] == 1_035 + 1_006
    undone = await rows(world, "select payload from bounce.outbox where type = 'action.recorded' and entries = 1")
    actions = [decode("action.recorded", row["payload"]) for row in undone]
    lifts = [action.after["lifted"] for action in actions if action.action == "suppressions.undo"]
    assert (sum(lifts), max(lifts)) == (1_006, 1_000)
    assert [action.note for action in actions if action.action == "rule-set.roll-back"] == ["it took full for dead"]
    # void facts are no evidence, and the next such reply is read as before
    await refuse(world, "again", [FULL])
    (fact,) = (await world.get("/v1/bounces", recipient="customer:again1"))["items"]
    assert (fact["category"], fact["decision"]) == ("mailbox-full", "waits")


async def takes(world: World) -> list[str]:
    """Return the shipped rules whose examples a publication would take over."""
    refused = await publish(world, "asks only")
    assert refused.status_code == 422, refused.text
    return sorted({error["pointer"].split("/")[2] for error in refused.json()["errors"]})


async def test_a_rule_that_was_switched_off_is_made_good_as_well(world: World) -> None:
    """The deciding rule is then another one, which nobody has changed."""
    text = "550 5.1.1 User unknown: house rule"
    assert (await put(world, "our-house-rule", category="policy", contains="house rule")).status_code == 201
    assert (await publish(world)).status_code == 201
    await refuse(world, "policy", [text])
    assert await barred(world) == set()
    async with world.client() as client:
        assert (await client.post("/v1/rules/our-house-rule:retire")).status_code == 200
    assert (await publish(world, "we need it no more")).status_code == 201
    await refuse(world, "house", [text] * 3)
    await refuse(world, "gone", [GONE] * 2)
    assert len(await barred(world)) == 5
    done = await roll_back(world, 1, undo_effects=True)
    assert done["effects"]["lifted"] == 3
    assert {recipient for recipient, _ in await barred(world)} == {"customer:gone1", "customer:gone2"}


async def test_what_the_model_read_in_place_of_a_rule_is_made_good_too(world: World) -> None:
    """The rule protected these addresses; without it, only the model reads these words."""
    text = "550 our directory knows no kim"
    assert (await put(world, "ours", category="policy", contains="directory knows", examples=[])).status_code == 201
    assert (await publish(world)).status_code == 201
    await refuse(world, "policy", [text])
    async with world.client() as client:
        assert (await client.post("/v1/rules/ours:retire")).status_code == 200
    assert (await publish(world, "we need it no more")).status_code == 201
    await refuse(world, "guessed", [text] * 3)
    (fact,) = (await world.get("/v1/bounces", recipient="customer:guessed1"))["items"]
    assert fact["rule_set"].startswith("model:"), "a rule reads it now: find other words"
    await refuse(world, "gone", [GONE] * 2)
    assert len(await barred(world)) == 5
    seen = await roll_back(world, 1, preview=True, undo_effects=True)
    assert seen["effects"]["lifted"] == 3
    done = await roll_back(world, 1, undo_effects=True)
    assert done["effects"]["lifted"] == 3
    assert {recipient for recipient, _ in await barred(world)} == {"customer:gone1", "customer:gone2"}


async def test_what_a_replica_judges_late_is_undone_too(world: World) -> None:
    assert (await put(world, "quota-is-dead", **WRONG)).status_code == 201
    await publish(world, "dead by quota", acknowledged=await takes(world))
    late = await world.service.deps.rulebook.current()
    await roll_back(world, 0, undo_effects=True)

    class Late:
        async def current(self) -> Any:
            return late

    deps = world.service.deps
    object.__setattr__(deps, "rulebook", Late())
    await refuse(world, "late", [FULL])
    assert len(await barred(world)) == 1
    assert await look_after(deps, -1) == 1  # set 2, which rolled back, is looked after for some minutes
    assert await barred(world) == set()
    world.clock.advance(timedelta(hours=1))
    assert await look_after(deps, -1) == 2  # nothing more is to come


async def test_without_undo_the_addresses_stay_and_it_can_be_asked_for_later(world: World) -> None:
    assert (await put(world, "quota-is-dead", **WRONG)).status_code == 201
    await publish(world, "dead by quota", acknowledged=await takes(world))
    await refuse(world, "full", [FULL] * 3)
    assert (await roll_back(world, 0))["effects"]["lifted"] == 0
    assert len(await barred(world)) == 3
    assert (await roll_back(world, 0, undo_effects=True))["effects"]["lifted"] == 3
    record = await world.service.deps.rule_sets.newest()
    assert record is not None
    assert not await undo_effects(world.service.deps, record)
    assert await barred(world) == set()


async def test_there_is_no_way_back_to_a_set_that_never_was(world: World) -> None:
    answer = await world.post("/v1/rule-sets/9:roll-back", {"note": "back to the future"})
    assert (answer.status_code, "no rule set 9" in answer.json()["detail"]) == (404, True)
