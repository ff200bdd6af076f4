"""Mails that waited together are read together: each ends as it would have alone."""

import asyncio

import asyncpg

from libs.contracts.bounce import BounceClassified
from libs.contracts.outcomes import Mode
from services.bounce.domain.evidence import evidence_id
from services.bounce.domain.facts import Fact
from services.bounce.domain.policy import Decision
from services.bounce.ports import NewFact
from tests.flows.bounces import KIM, MESSAGE, NOW, World, report, shown_state, until, world

__all__ = ["world"]


async def test_what_waited_together_is_judged_one_by_one(world: World) -> None:
    world.away = True
    told = {
        "gone": report(world.path),
        "gone, said otherwise": report(world.path, words="550 5.1.1 No mailbox here by that name"),
        "disabled": report(world.path, status="5.2.1", words="550 5.2.1 The account has been disabled"),
        "full": report(world.path, status="5.2.2", words="552 5.2.2 Mailbox full"),
        "delayed": report(world.path, action="delayed", status="4.2.0", words="450 4.2.0 Greylisted"),
    }
    mails = {name: await world.hand_in(raw) for name, raw in told.items()}
    forged = await world.hand_in(report("b-1-2-forged@bounces.example"))
    assert {mail["state"] for mail in mails.values()} == {"waiting"}
    assert forged["state"] == "backscatter"
    world.away = False
    for mail in mails.values():
        await until(world, lambda id=mail["id"]: shown_state(world, id, "read"))
    outcomes = {name: (await world.get(f"/v1/mails/{mail['id']}"))["outcome"] for name, mail in mails.items()}
    assert outcomes == {
        "gone": "unknown-user",
        "gone, said otherwise": "unknown-user",
        "disabled": "inactive",
        "full": "mailbox-full",
        "delayed": "greylist, delayed",
    }
    facts = [event for event in await world.said() if isinstance(event, BounceClassified)]
    assert sorted(fact.category for fact in facts) == ["inactive", "mailbox-full", "unknown-user"]
    (barred,) = await world.suppressions()
    assert (barred.version, barred.active, barred.address_hash) == (1, True, world.hash_of(KIM))


async def test_a_fact_says_why(world: World) -> None:
    words = f"550 5.1.1 <{KIM}>: Recipient address rejected: User unknown (queue 4FzK8s2M9q)"
    await world.hand_in(report(world.path, words=words))
    (fact,) = (await world.get("/v1/bounces"))["items"]
    assert fact["rule"] == fact["matched"][0] == "unknown-user-and-code"
    assert "unknown-user-code" in fact["matched"]
    assert fact["confidence"] > 0.9
    assert fact["template"].endswith("Recipient address rejected: User unknown (queue <id>)")
    assert KIM not in fact["template"]
    assert len(fact["rule_set"]) == 16
    assert fact["provider"] is None


async def test_what_another_transaction_adds_meanwhile_is_counted_by_that_one_alone(world: World) -> None:
    theirs, ours = (refusal(world, attempt) for attempt in (1, 2))
    connection = await asyncpg.connect(world.dsn)
    try:
        async with connection.transaction():
            await connection.execute(
                "insert into bounce.bounce (id, tenant, mode, at, category, permanent, origin, address_hash)"
                " values ($1, 1, 1, $2, 'unknown-user', true, 'mail', $3)",
                *(theirs.id, theirs.at, theirs.address_hash),
            )
            recording = asyncio.create_task(world.service.deps.facts.record([theirs, ours], NOW))
            await asyncio.sleep(0.3)
            assert not recording.done()  # it waits for the first one
        await recording
        assert await connection.fetchval("select sum(facts) from bounce.figure where grain = 1") == 1
        assert await connection.fetchval("select sum(count) from bounce.pulse where provider = 'gmail'") == 1
    finally:
        await connection.close()
    (said,) = [event for event in await world.said() if isinstance(event, BounceClassified)]
    assert said.bounce_id == ours.id


async def test_a_row_of_facts_is_written_once_with_its_decision(world: World) -> None:
    await world.service.deps.facts.record([refusal(world, attempt) for attempt in (1, 2)], NOW)
    connection = await asyncpg.connect(world.dsn)
    try:
        rows = await connection.fetch("select policy, decision, ctid::text as place from bounce.bounce order by 3")
    finally:
        await connection.close()
    assert [row["place"] for row in rows] == ["(0,1)", "(0,2)"]  # an updated row moves
    assert {(row["policy"], row["decision"]) for row in rows} == {("trusted-provider", int(Decision.BARS))}


def refusal(world: World, attempt: int) -> NewFact:
    fact = Fact("unknown-user", True, 550, "5.1.1", "550 5.1.1 User unknown", provider="gmail", rule_set="r")
    hashed = world.hash_of(KIM)
    return NewFact(
        evidence_id(MESSAGE, attempt, fact.category), 1, Mode.LIVE, NOW, fact, "session", hashed, MESSAGE, attempt, None
    )
