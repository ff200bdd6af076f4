"""People change rules: no edit is lost, all problems are reported at once, and nobody else may."""

from typing import Any

from libs.contracts.audit import ActionRecorded
from services.bounce.domain.rules.rule import MOST_TEXTS
from tests.flows.bounces import World, report, world
from tests.flows.test_bounce_rules import HOUSE, WORDS, publish, put

__all__ = ["world"]


async def errors(answer: Any, status: int = 422) -> dict[str, str]:
    assert answer.status_code == status, answer.text
    return {error["pointer"]: error["detail"] for error in answer.json()["errors"]}


async def test_a_lost_update_is_refused(world: World) -> None:
    assert (await put(world, "our-house-rule")).headers["etag"] == '"1"'
    assert (await put(world, "our-house-rule")).status_code == 428
    changed = await put(world, "our-house-rule", '"1"', priority=500)
    assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
    late = await put(world, "our-house-rule", '"1"', priority=600)
    assert (late.status_code, late.json()["current"]) == (412, '"2"')
    assert (await world.get("/v1/rules/our-house-rule"))["priority"] == 500
    assert (await world.post("/v1/rules", {"id": "our-house-rule", **HOUSE})).status_code == 409


async def test_its_history_says_who_changed_what(world: World) -> None:
    await put(world, "our-house-rule", state="draft")
    await put(world, "our-house-rule", '"1"', priority=500)
    async with world.client() as client:
        assert (await client.post("/v1/rules/our-house-rule:retire")).json()["state"] == "retired"
        assert (await client.post("/v1/rules/our-house-rule:retire")).json()["version"] == 3  # it is already retired
    page = await world.get("/v1/rules/our-house-rule/history", limit=2)
    assert [(item["version"], item["state"]) for item in page["items"]] == [(3, "retired"), (2, "live")]
    rest = await world.get("/v1/rules/our-house-rule/history", cursor=page["next_cursor"])
    assert [(item["version"], item["changed_by"]) for item in rest["items"]] == [(1, "key")]
    actions = [event for event in await world.said() if isinstance(event, ActionRecorded)]
    assert [action.action for action in actions] == ["rule.put", "rule.put", "rule.retire"]
    assert actions[1].before is not None
    assert actions[1].after is not None
    assert ("priority" in actions[1].before, actions[1].after["priority"]) == (False, 500)
    back = await put(world, "our-house-rule", '"3"')
    assert (back.status_code, (await put(world, "our-house-rule", '"3"', state="draft")).status_code) == (409, 200)


async def test_shipped_rules_are_read_and_never_edited(world: World) -> None:
    shown = await world.get("/v1/rules/unknown-user-code")
    assert (shown["layer"], shown["in_force"], shown["author"]) == ("shipped", 0, "depesche")
    refused = await put(world, "unknown-user-code")
    assert refused.status_code == 409
    assert "switches_off" in refused.json()["detail"]
    async with world.client() as client:
        assert (await client.post("/v1/rules/unknown-user-code:retire")).status_code == 409
        assert (await client.post("/v1/rules/nobody-knows-it:retire")).status_code == 404


async def test_a_rule_takes_the_place_of_a_shipped_one(world: World) -> None:
    said = report(world.path, words="550 5.1.1 lalala")
    assert (await world.hand_in(said))["outcome"] == "unknown-user"
    own = {"category": "policy", "enhanced": "5.1.1", "contains": [], "examples": [], "priority": 1}
    assert (await put(world, "ours-instead", switches_off="unknown-user-code", **own)).status_code == 201
    refused = await errors(await publish(world))
    assert any(pointer.startswith("/rules/unknown-user-code/examples/") for pointer in refused)
    names = sorted({pointer.split("/")[2] for pointer in refused})
    published = await publish(world, acknowledged=names)
    assert published.status_code == 201, published.text
    assert {taken["acknowledged"] for taken in published.json()["regression"]["taken"]} == {True}
    assert (await world.hand_in(said + b" "))["outcome"] == "policy"
    shown = await world.get("/v1/rules/unknown-user-code")
    assert (shown["in_force"], shown["switched_off_by"]) == (None, "ours-instead")


async def test_a_switch_is_a_rule_without_words(world: World) -> None:
    made = await world.post("/v1/rules", {"id": "off", "state": "live", "switches_off": ["no-such-rule"]})
    assert made.status_code == 201, made.text
    assert await errors(await publish(world)) == {
        "/rules/off/switches_off": "there is no rule no-such-rule to switch off"
    }


async def test_everything_that_is_wrong_is_said_at_once(world: World) -> None:
    answer = await put(
        world,
        "our-house-rule",
        contains=["*", "fine words"],
        regex=["over (quota", "x{1,99999}", "fine"],
        category="sad",
        provider="gmial",
        enhanced="5.1",
        reply="7xx",
        priority=5_000,
        stage="lunch",
    )
    found = await errors(answer)
    assert set(found) == {
        *("/contains/0", "/regex/0", "/regex/1", "/category", "/provider", "/enhanced/0", "/reply/0"),
        *("/priority", "/stage/0"),
    }
    assert "position 5" in found["/regex/0"]
    assert "position 1" in found["/regex/1"]
    assert "write {1,40}" in found["/regex/1"]
    assert "gmail" in found["/provider"]


HOSTILE: list[tuple[str, Any, str | None]] = [
    ("contains", ["x" * 501], "/contains/0"),
    ("contains", ["word"] * (MOST_TEXTS + 1), "/contains"),
    ("contains", ["kim@x.example"], "/contains/0"),
    ("starts", "550", "/starts"),
    ("regex", "(?:" + "|".join(map(str, range(10_000))) + ")", "/regex/0"),
    ("regex", "(a+)+b", "/regex/0"),
    ("regex", "(?:x?x?){0,99}y", "/regex/0"),
    ("regex", r"a$b", "/regex/0"),
    ("regex", r"\u00e9x", "/regex/0"),
    ("examples", ["x"] * 51, "/examples"),
    ("examples", [{"text": "x", "reply": "many"}], "/examples/0"),
    ("switches_off", ["our-house-rule"], "/switches_off/0"),
    ("layer", "shipped", "/layer"),
    ("regex", "x{0,9}y{1,9}z", None),
]


async def test_hostile_rules_are_refused_with_their_place(world: World) -> None:
    for field, value, pointer in HOSTILE:
        answer = await put(world, "our-house-rule", **{field: value})
        if pointer is None:
            assert answer.status_code == 201, (field, answer.text)
        else:
            found = await errors(answer)
            assert any(place.startswith(pointer) for place in found), (field, found)


async def test_only_the_operating_tenants_live_keys_change_rules(world: World) -> None:
    await put(world, "our-house-rule")
    for key in ("other", "test"):
        assert (await put(world, "mine", key=key)).status_code == 403
        for path in ("/v1/rules/our-house-rule:retire", "/v1/rule-sets", "/v1/rule-sets/0:roll-back"):
            assert (await world.post(path, {"note": "mine now"}, key)).status_code == 403
        assert (await world.get("/v1/rules/our-house-rule", key))["id"] == "our-house-rule"


async def test_lists_are_narrowed_and_paged(world: World) -> None:
    await put(world, "our-house-rule", provider="gmail")
    await put(world, "at-once", layer="emergency", category="throttled")
    shipped = await world.get("/v1/rules", layer="shipped", limit=1000)
    whole: list[str] = []
    cursor = None
    while True:
        page = await world.get("/v1/rules", limit=50, **({"cursor": cursor} if cursor else {}))
        whole += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert whole == sorted([*(item["id"] for item in shipped["items"]), "our-house-rule", "at-once"])

    async def found(**query: str) -> list[str]:
        return [item["id"] for item in (await world.get("/v1/rules", **query))["items"]]

    assert await found(layer="emergency") == ["at-once"]
    assert await found(layer="organisation", state="live", category="policy", provider="gmail") == ["our-house-rule"]
    assert await found(layer="organisation", state="draft") == []
    assert await found(text="HOUSE rule", layer="organisation") == ["our-house-rule"]
    async with world.client() as client:
        for query in ("cursor=WzFd", "cursor=rubbish", "text=%00", "layer=none"):
            assert (await client.get(f"/v1/rules?{query}")).status_code == 422, query


async def test_examples_are_shown_at_save_and_refused_at_publishing(world: World) -> None:
    text = "552 5.2.2 the mailbox is full"
    made = await put(world, "our-house-rule", examples=[text, WORDS])
    (lost,) = made.json()["lost"]
    assert (lost["number"], lost["text"], lost["now"]["category"]) == (0, text, "mailbox-full")
    await put(world, "second", contains="nobody says this", examples=["another text"])
    found = await errors(await publish(world))
    assert {"/rules/our-house-rule/examples/0", "/rules/second/examples/0"} <= set(found)
    assert (await world.get("/v1/rule-sets"))["items"][0]["number"] == 0
    assert (await world.hand_in(report(world.path, words=WORDS)))["outcome"] == "unknown-user"


async def test_rules_in_shadow_are_told_of_and_change_nothing(world: World) -> None:
    await put(world, "our-house-rule", state="shadow", switches_off="unknown-user-code")
    assert (await publish(world)).status_code == 201
    assert (await world.hand_in(report(world.path, words=WORDS)))["outcome"] == "unknown-user"
    (fact,) = (await world.get("/v1/bounces"))["items"]
    assert fact["shadow"] == ["our-house-rule"]
    assert "our-house-rule" not in fact["matched"]
    assert fact["decision"] == "bars"


async def test_an_emergency_rule_goes_out_alone_and_at_once(world: World) -> None:
    await put(world, "half-done", contains="mailbox", examples=["not there at all"])
    await put(world, "at-once", layer="emergency", category="throttled", contains="user unknown")
    assert (await publish(world)).status_code == 422
    published = await publish(world, "an outage", emergency=True)
    assert published.status_code == 201, published.text
    assert [rule["id"] for rule in published.json()["rules"]] == ["at-once"]
    assert published.json()["regression"]["taken"]
    assert (await world.hand_in(report(world.path, words=WORDS)))["outcome"] == "throttled"
    (action,) = [e for e in await world.said() if isinstance(e, ActionRecorded) and e.action == "rule-set.publish"]
    assert action.after is not None
    assert action.after["emergency"]


async def test_nothing_new_is_not_published(world: World) -> None:
    assert (await publish(world)).status_code == 409
    await put(world, "our-house-rule")
    assert (await publish(world)).status_code == 201
    assert (await publish(world)).status_code == 409
    page = await world.get("/v1/rule-sets", limit=1)
    assert [(item["number"], item["count"]) for item in page["items"]] == [(1, 1)]
    rest = await world.get("/v1/rule-sets", cursor=page["next_cursor"])
    assert [item["number"] for item in rest["items"]] == [0]
    assert (await world.get("/v1/rule-sets/1"))["rules"][0]["document"]["contains"] == ["house rule"]


async def test_a_reply_is_tried_by_the_rules_in_force_and_by_the_draft(world: World) -> None:
    before = await world.said()
    rule = {"id": "our-house-rule", **HOUSE, "state": "draft"}
    answer = await world.post("/v1/rules:test", {"text": WORDS, "rule": rule})
    assert answer.status_code == 200, answer.text
    now, draft = answer.json()["in_force"], answer.json()["draft"]
    assert (now["rule_set"], now["category"], draft["rule_set"], draft["category"]) == (
        *(0, "unknown-user"),
        *(None, "policy"),
    )
    assert (draft["matched"][0]["rule"], draft["matched"][0]["by"]) == (
        "our-house-rule",
        [{"pointer": "/contains/0", "says": "house rule"}],
    )
    assert [one["rule"] for one in now["matched"]] == [one["rule"] for one in draft["matched"][1:]]
    assert all(one["by"] for one in now["matched"])
    mail = await world.post("/v1/rules:test", {"mail": report("x@y.example", words=WORDS).decode(), "rule": rule})
    assert (mail.json()["draft"]["rule"], mail.json()["draft"]["reply_code"]) == ("our-house-rule", 550)
    assert await world.said() == before
    broken = await world.post("/v1/rules:test", {"text": "x", "rule": {**rule, "regex": "a+"}})
    assert list(await errors(broken)) == ["/rule/regex/0"]
    too_wide = await world.post("/v1/rules:test", {"text": "x", "rule": {**rule, "contains": "kim@x.example"}})
    assert list(await errors(too_wide)) == ["/rule/contains/0"]
    assert (await world.post("/v1/rules:test", {"text": "x", "mail": "y"})).status_code == 422
    assert (await world.post("/v1/rules:test", {"text": ""}, "other")).status_code == 200


async def test_rules_hold_for_every_tenant_and_mode(world: World) -> None:
    await put(world, "our-house-rule")
    await publish(world)
    for key in ("other", "test"):
        answer = await world.post("/v1/rules:test", {"text": WORDS}, key)
        assert answer.json()["in_force"]["rule"] == "our-house-rule"


async def test_what_is_no_text_is_refused(world: World) -> None:
    for body in (b'{"note": "a\\u0000b"}', b'{"regex": "\\ud800"}', b'{"contains": "\xff\xfe"}', b'{"contains": {}}'):
        async with world.client() as client:
            headers = {"content-type": "application/json"}
            answer = await client.put("/v1/rules/hostile", content=body, headers=headers)
        assert answer.status_code in (400, 422), answer.text
