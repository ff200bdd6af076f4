"""Replays over HTTP and a real Postgres: requested, run in the background, compared, cancelled."""

import asyncio
from datetime import timedelta
from typing import Any

from libs.contracts.audit import ActionRecorded
from libs.contracts.outcomes import Mode
from libs.contracts.tokens import RecipientErased
from services.bounce.handlers.replays import run_next
from services.bounce.loops import replays
from services.bounce.ports import Reached
from tests.flows.bounce_policy import DAY, GONE, all_said, barred, hash_of, rows, said, trusting
from tests.flows.bounces import NOW, World, world
from tests.waiting import eventually

__all__ = ["world"]

FULL = "452 4.2.2 The email account that you tried to reach is over quota gsmtp"
BODY: dict[str, Any] = {"since": (NOW - 30 * DAY).isoformat()}


async def played(world: World, body: dict[str, Any]) -> dict[str, Any]:
    """Request a replay and run it to its end."""
    asked = await world.post("/v1/replays", BODY | body)
    assert asked.status_code == 202, asked.text
    assert await run_next(world.service.deps, asyncio.Event())
    shown = await world.get(asked.headers["location"].removeprefix("/bounce"))
    assert shown["state"] == "done", shown
    return dict(shown)


async def changes(world: World, replay: dict[str, Any], **query: Any) -> list[dict[str, Any]]:
    return list((await world.get(f"/v1/replays/{replay['id']}/changes", **query))["items"])


async def test_a_replay_of_what_is_in_force_bars_what_is_barred(world: World) -> None:
    trusting(world)
    await world.service.deps.contacts.read([Reached(1, Mode.LIVE, hash_of("cid"), NOW - 3 * DAY)])
    await said(world, ["ann", "bob", "cid"], at=NOW - DAY)
    for day in (3, 2, 1):
        await said(world, ["dan"], FULL, at=NOW - day * DAY)
    world.clock.advance(timedelta(minutes=1))
    shown = await played(world, {})
    result = shown["result"]
    assert sorted(await barred(world)) == ["ann", "bob", "dan"]
    assert (result["before"]["barred_all"], result["before"]["barred_marketing"]) == (2, 1)
    assert (result["facts"], result["addresses"], result["appear"], result["vanish"]) == (6, 4, 0, 0)
    assert (shown["facts_done"], shown["facts_total"]) == (6, 6)
    assert {"category": "mailbox-full", "provider": "gmail", "before": 3, "after": 3} in result["categories"]
    assert await changes(world, shown) == []


async def test_other_numbers_show_who_would_be_barred(world: World) -> None:
    trusting(world)
    for day in (2, 1):
        await said(world, ["ann", "bob"], FULL, at=NOW - day * DAY)
    await said(world, ["cid"], GONE, at=NOW - DAY)
    world.clock.advance(timedelta(minutes=1))
    shown = await played(world, {"settings": {"score_days": 2, "trusted_providers": ["yahoo"]}})
    assert (shown["result"]["appear"], shown["result"]["vanish"]) == (2, 1)
    assert shown["result"]["appearing"] == [{"category": "mailbox-full", "provider": "gmail", "count": 2}]
    listed = await changes(world, shown)
    assert [(c["recipient"], c["appears"], c["scope"]) for c in listed] == [
        ("customer:ann", True, "marketing"),
        ("customer:bob", True, "marketing"),
        ("customer:cid", False, "all"),
    ]
    assert (listed[0]["text"], listed[0]["becomes"]["policy"], listed[2]["was"]["policy"]) == (
        FULL,
        "score",
        "trusted-provider",
    )
    assert len(await changes(world, shown, appears="false")) == 1
    page = await world.get(f"/v1/replays/{shown['id']}/changes", limit=2)
    rest = await world.get(f"/v1/replays/{shown['id']}/changes", cursor=page["next_cursor"])
    assert page["items"] + rest["items"] == listed
    assert await barred(world) == ["cid"]


LISTS = {"id": "closed-lists", "category": "policy", "contains": ["no such account gsmtp"], "state": "live"}


async def test_what_rules_would_change_is_seen_before_they_are_published(world: World) -> None:
    trusting(world)
    await said(world, ["ann", "bob"], at=NOW - DAY)
    assert (await world.post("/v1/rules", LISTS)).status_code == 201
    world.clock.advance(timedelta(minutes=1))
    shown = await played(world, {"rules": "working"})
    (move,) = shown["result"]["moves"]
    assert (move["was"]["category"], move["becomes"], move["count"]) == (
        "unknown-user",
        {"category": "policy", "rule": "closed-lists"},
        2,
    )
    assert (shown["result"]["vanish"], shown["result"]["after"]["barred_all"]) == (2, 0)
    assert {"category": "policy", "provider": "gmail", "before": 0, "after": 2} in shown["result"]["categories"]
    (ann, _) = await changes(world, shown)
    assert (ann["recipient"], ann["text"], ann["becomes"]["rule"]) == ("customer:ann", GONE, "closed-lists")
    assert len(await barred(world)) == 2

    publication = {"note": "closed lists", "replay": shown["id"]}
    unknown = publication | {"replay": "00000000-0000-0000-0000-000000000001"}
    assert (await world.post("/v1/rule-sets", unknown)).status_code == 422
    more = {"id": "more", "category": "policy", "contains": ["something else altogether"], "state": "live"}
    assert (await world.post("/v1/rules", more)).status_code == 201
    assert (await world.post("/v1/rule-sets", publication)).status_code == 409
    assert (await world.post("/v1/rules/more:retire", {})).status_code == 200
    published = await world.post("/v1/rule-sets", publication)
    assert published.status_code == 201, published.text
    told = [event for event in await all_said(world) if isinstance(event, ActionRecorded)]
    assert (told[-1].after or {})["vanish"] == 2
    by_number = await played(world, {"rules": 0})
    assert by_number["result"]["appear"] == 2
    assert (await world.post("/v1/replays", BODY | {"rules": 7})).status_code == 404


async def test_a_replay_sees_its_own_tenant_and_mode_alone(world: World) -> None:
    await said(world, ["ann"], tenant=2)
    world.clock.advance(timedelta(minutes=1))
    shown = await played(world, {})
    assert shown["result"]["facts"] == 0
    async with world.client("other") as client:
        assert (await client.get(f"/v1/replays/{shown['id']}")).status_code == 404
        assert (await client.get(f"/v1/replays/{shown['id']}/changes")).status_code == 404
        assert (await client.post(f"/v1/replays/{shown['id']}:cancel")).status_code == 404
        assert (await client.get("/v1/replays")).json()["items"] == []


async def test_what_is_undone_or_hearsay_is_not_played(world: World) -> None:
    await said(world, ["ann"])
    await rows(world, "update bounce set void = true")
    world.clock.advance(timedelta(minutes=1))
    assert (await played(world, {}))["result"]["facts"] == 0


async def test_a_cancelled_replay_ends(world: World) -> None:
    await said(world, ["ann"])
    world.clock.advance(timedelta(minutes=1))
    asked = (await world.post("/v1/replays", BODY)).json()
    replay = await world.service.deps.replays.lease(NOW)
    assert replay is not None
    cancelled = (await world.post(f"/v1/replays/{asked['id']}:cancel", {})).json()
    assert cancelled["state"] == "cancelled"
    assert not await world.service.deps.replays.advance(replay, 1, 1, [])
    await world.service.deps.replays.conclude(replay, NOW, {}, None)
    assert (await world.get(f"/v1/replays/{asked['id']}"))["state"] == "cancelled"
    assert not await run_next(world.service.deps, asyncio.Event())


async def test_a_replay_whose_runner_stopped_is_begun_anew(world: World) -> None:
    trusting(world)
    await said(world, ["ann"], at=NOW - DAY)
    world.clock.advance(timedelta(minutes=1))
    asked = (await world.post("/v1/replays", BODY | {"settings": {"trusted_providers": []}})).json()
    stopping = asyncio.Event()
    stopping.set()
    assert await run_next(world.service.deps, stopping)
    assert (await world.get(f"/v1/replays/{asked['id']}"))["state"] == "running"
    assert len(await changes(world, asked)) == 1
    assert await run_next(world.service.deps, asyncio.Event())
    done = await world.get(f"/v1/replays/{asked['id']}")
    assert (done["state"], done["result"]["vanish"]) == ("done", 1)
    assert len(await changes(world, asked)) == 1


async def test_a_replay_that_never_ends_is_given_up(world: World) -> None:
    asked = (await world.post("/v1/replays", BODY)).json()
    await rows(world, "update replay set attempts = 5")
    assert await run_next(world.service.deps, asyncio.Event())
    shown = await world.get(f"/v1/replays/{asked['id']}")
    assert (shown["state"], "five times" in shown["problem"]) == ("failed", True)


async def test_the_loop_plays_what_waits_and_a_person_erased_is_nameless_in_it(world: World) -> None:
    trusting(world)
    await said(world, ["ann"], at=NOW - DAY)
    world.clock.advance(timedelta(minutes=1))
    asked = (await world.post("/v1/replays", BODY | {"settings": {"trusted_providers": []}})).json()
    stop = asyncio.Event()
    task = asyncio.create_task(replays(world.service.deps, stop))
    try:

        async def done() -> bool:
            return bool((await world.get(f"/v1/replays/{asked['id']}"))["state"] == "done")

        await eventually(done)
    finally:
        stop.set()
        await task
    await world.hear(RecipientErased(recipient="customer:ann", at=NOW))
    (change,) = await changes(world, asked)
    assert (change["recipient"], change["text"]) == (None, None)


async def test_replays_are_few_at_once_and_listed(world: World) -> None:
    for _ in range(5):
        assert (await world.post("/v1/replays", BODY)).status_code == 202
    assert (await world.post("/v1/replays", BODY)).status_code == 409
    page = await world.get("/v1/replays", limit=3)
    rest = await world.get("/v1/replays", limit=3, cursor=page["next_cursor"])
    assert len({item["id"] for item in page["items"] + rest["items"]}) == 5
    assert await world.service.deps.replays.forget_before(NOW + DAY) == 0


NONSENSE: list[tuple[dict[str, Any], str]] = [
    ({"since": (NOW + DAY).isoformat()}, "/since"),
    ({"since": "2020-01-01T00:00:00Z"}, "/since"),
    ({"settings": {"score_days": 0}}, "/settings/score_days"),
    ({"settings": {"smtp_port": 1}}, "/settings/smtp_port"),
    ({"rules": "best"}, "/rules"),
]


async def test_what_makes_no_sense_is_said(world: World) -> None:
    for body, pointer in NONSENSE:
        answer = await world.post("/v1/replays", BODY | body)
        assert answer.status_code == 422, body
        assert pointer in answer.json()["errors"][0]["pointer"], body
