"""A rule is created, published, and judges the next mail; nothing else changes."""

from typing import Any

import httpx

from libs.contracts.audit import ActionRecorded
from tests.flows.bounces import World, report, world

__all__ = ["world"]

HOUSE: dict[str, Any] = {
    "category": "policy",
    "contains": "house rule",
    "examples": ["550 5.1.1 User unknown, by a house rule of ours"],
    "state": "live",
}
WORDS = "550 5.1.1 User unknown: a house rule"


async def put(world: World, id: str, etag: str | None = None, key: str = "key", **fields: Any) -> httpx.Response:
    async with world.client(key) as client:
        headers = {"if-match": etag} if etag else {}
        return await client.put(f"/v1/rules/{id}", json={**HOUSE, **fields}, headers=headers)


async def publish(world: World, note: str = "a house rule", **fields: Any) -> httpx.Response:
    return await world.post("/v1/rule-sets", {"note": note, **fields})


async def test_the_next_mail_is_judged_by_a_published_rule(world: World) -> None:
    before = await world.hand_in(report(world.path, words=WORDS))
    assert before["outcome"] == "unknown-user"
    made = await world.post("/v1/rules", {"id": "our-house-rule", **HOUSE})
    assert made.status_code == 201, made.text
    assert (made.headers["etag"], made.json()["in_force"], made.json()["lost"]) == ('"1"', None, [])
    between = await world.hand_in(report(world.path, words=WORDS + " 2"))
    assert between["outcome"] == "unknown-user"
    published = await publish(world)
    assert published.status_code == 201, published.text
    assert (published.json()["number"], published.json()["count"]) == (1, 1)
    after = await world.hand_in(report(world.path, words=WORDS + " 3"))
    assert after["outcome"] == "policy"
    facts = (await world.get("/v1/bounces"))["items"]
    (fact,) = [fact for fact in facts if fact["category"] == "policy"]
    assert (fact["rule"], fact["rule_set"]) == ("our-house-rule", published.json()["digest"])
    assert (await world.get("/v1/rules/our-house-rule"))["in_force"] == 1
    actions = [event for event in await world.said() if isinstance(event, ActionRecorded)]
    assert [(action.action, action.object) for action in actions] == [
        ("rule.put", "our-house-rule"),
        ("rule-set.publish", "1"),
    ]
    assert actions[1].after is not None
    assert actions[1].after["added"] == ["our-house-rule"]
