"""Reports about rules, as facts come in: what decided, what was outdone, what nobody reads, who disagrees."""

import asyncio
from typing import Any
from uuid import uuid4

from libs.contracts.delivery import Receipt, ReceiptRecorded
from libs.contracts.outcomes import Mode
from services.bounce.domain.facts import Fact, Vendor
from services.bounce.loops import retention
from services.bounce.ports import NewFact
from tests.flows.bounce_policy import DAY, GONE, hash_of, numbers, rows, said, trusting
from tests.flows.bounces import NOW, World, world
from tests.waiting import eventually

__all__ = ["world"]

TOMATOES = "550 The greenhouse of {}@customer.example went off to count tomatoes 17"
DENIED = "550 5.4.1 Recipient address rejected: Access denied outlook.com"


async def told_by(world: World, vendor: str, name: str, detail: str, *, tenant: int = 1, **opinion: Any) -> None:
    """A vendor's webhook, as delivery publishes it."""
    receipt = Receipt(
        provider=vendor, provider_event_id=str(next(numbers)), message=f"{name}.1", attempt=1, kind="bounced",
        at=world.clock.now, address_hash=hash_of(name), detail=detail, **opinion,
    )  # fmt: skip
    await world.hear(ReceiptRecorded(receipts=(receipt,)), tenant=tenant)


async def test_a_vendors_own_class_is_kept_with_the_fact(world: World) -> None:
    opinion = {"vendor_class": "Permanent/NoEmail", "vendor_category": "unknown-user", "vendor_permanent": True}
    await told_by(world, "ses", "ann", DENIED, **opinion)
    (fact,) = (await world.get("/v1/bounces"))["items"]
    assert (fact["vendor"], fact["vendor_class"], fact["vendor_category"]) == (
        "ses",
        "Permanent/NoEmail",
        "unknown-user",
    )
    assert fact["rule"]


async def test_a_rule_shows_its_hits_by_day_and_the_last_one(world: World) -> None:
    trusting(world)
    await said(world, ["ann", "bob"], at=NOW - DAY)
    await said(world, ["cid"])
    (newest, *_) = (await world.get("/v1/bounces"))["items"]
    hits = await world.get(f"/v1/rules/{newest['rule']}/hits")
    assert [(day["day"], day["decided"]) for day in hits["days"]] == [("2027-02-28", 2), ("2027-03-01", 1)]
    assert (hits["decided"], hits["last_bounce"], hits["last_at"]) == (3, newest["id"], "2027-03-01T09:30:00Z")
    only_today = await world.get(f"/v1/rules/{newest['rule']}/hits", days=1)
    assert only_today["decided"] == 1
    assert (await world.get(f"/v1/rules/{newest['rule']}/hits", key="other"))["decided"] == 0


async def test_who_manages_the_rules_sees_what_they_do_for_every_tenant(world: World) -> None:
    trusting(world)
    await said(world, ["ann"], at=NOW - DAY)
    await said(world, ["bob", "cid"], tenant=2)
    await said(world, ["dan"], TOMATOES.format("dan"), tenant=2)
    await said(world, ["eve"], TOMATOES.format("eve"))
    opinion = {"vendor_class": "hard_bounce", "vendor_category": "inactive", "vendor_permanent": True}
    for tenant in (1, 2):
        await told_by(world, "ses", f"fay{tenant}", GONE, tenant=tenant, **opinion)
    rule = (await world.get("/v1/bounces", "other", category="unknown-user"))["items"][0]["rule"]

    async def seen(key: str) -> dict[str, Any]:
        hits = await world.get(f"/v1/rules/{rule}/hits", key)
        (unread,) = (await world.get("/v1/reports/unread-texts", key))["items"]
        dead = (await world.get("/v1/reports/dead-rules", key, days=1, limit=1000))["items"]
        (others,) = (await world.get("/v1/reports/disagreements", key))["items"]
        (agreed,) = (await world.get("/v1/reports/agreements", key))["items"]
        outdone = (await world.get("/v1/reports/outdone-rules", key))["items"]
        assert (await world.get(f"/v1/rules/{rule}", key))["hits"]["decided"] == hits["decided"]
        return {
            "hits": hits["decided"],
            "newest": hits["last_bounce"],
            "unread": unread["count"],
            "dead": rule in {one["rule"] for one in dead},
            "others": (others["count"], agreed["facts"]),
            "outdone": outdone[0]["count"],
        }

    theirs, all_ = await seen("other"), await seen("key")
    assert (theirs["hits"], theirs["unread"], theirs["others"], theirs["outdone"]) == (3, 1, (1, 1), 3)
    assert (all_["hits"], all_["unread"], all_["others"], all_["outdone"]) == (5, 2, (2, 2), 5)
    own = await seen("reader")  # a key of the operating tenant without scopes for rules
    assert (own["hits"], own["unread"], own["others"]) == (2, 1, (1, 1))
    assert not all_["dead"]


async def test_a_rule_that_always_comes_second_is_reported_with_who_wins(world: World) -> None:
    trusting(world)
    await said(world, ["ann", "bob"])
    (fact, _) = (await world.get("/v1/bounces"))["items"]
    second = fact["matched"][1]
    report = (await world.get("/v1/reports/outdone-rules"))["items"]
    (line,) = [item for item in report if item["rule"] == second]
    assert (line["count"], line["winners"]) == (2, [{"rule": fact["rule"], "count": 2}])
    assert fact["rule"] not in {item["rule"] for item in report}
    await said(world, ["cid"], "550 5.7.1 Relay access denied, blocked by policy")
    report = (await world.get("/v1/reports/outdone-rules"))["items"]
    assert len(report) > 1
    first = await world.get("/v1/reports/outdone-rules", limit=1)
    rest = await world.get("/v1/reports/outdone-rules", cursor=first["next_cursor"])
    assert first["items"] + rest["items"] == report


async def test_rules_without_a_hit_are_listed_until_they_have_one(world: World) -> None:
    before = {item["rule"] for item in (await world.get("/v1/reports/dead-rules", limit=1000))["items"]}
    await said(world, ["ann"], GONE, at=NOW - 40 * DAY)
    (fact,) = (await world.get("/v1/bounces"))["items"]
    after = {item["rule"] for item in (await world.get("/v1/reports/dead-rules", limit=1000))["items"]}
    assert before - after == set(fact["matched"])
    month = (await world.get("/v1/reports/dead-rules", days=30, limit=1000))["items"]
    (again,) = [item for item in month if item["rule"] == fact["rule"]]
    assert again["last_bounce"] == fact["id"]
    page = await world.get("/v1/reports/dead-rules", limit=3)
    more = await world.get("/v1/reports/dead-rules", limit=3, cursor=page["next_cursor"])
    assert len({item["rule"] for item in page["items"] + more["items"]}) == 6


async def test_what_no_rule_reads_is_grouped_and_becomes_a_rule(world: World) -> None:
    for name in ("ann", "bob", "cid"):
        await said(world, [name], TOMATOES.format(name))
    await said(world, ["dan"], "550 lalala")
    await said(world, ["eve"], GONE)
    first, second = (await world.get("/v1/reports/unread-texts"))["items"]
    assert (first["count"], first["template"]) == (3, "550 The greenhouse of <address> went off to count tomatoes 17")
    assert (second["count"], second["text"], second["read_by"]) == (1, "550 lalala", None)
    made = await world.post(f"/v1/reports/unread-texts/{first['template_id']}:rule", {"category": "inactive"})
    assert made.status_code == 201, made.text
    rule = made.json()
    assert (rule["contains"], rule["category"], rule["state"]) == (["went off to count tomatoes"], "inactive", "draft")
    assert (rule["examples"][0]["text"], rule["lost"], made.headers["etag"]) == (first["text"], [], '"1"')
    again = await world.post(f"/v1/reports/unread-texts/{first['template_id']}:rule", {"category": "inactive"})
    assert again.status_code == 409
    page = await world.get("/v1/reports/unread-texts", limit=1)
    rest = await world.get("/v1/reports/unread-texts", limit=1, cursor=page["next_cursor"])
    assert [item["template_id"] for item in rest["items"]] == [second["template_id"]]


async def test_disagreements_name_who_sees_what_and_agreements_how_often(world: World) -> None:
    agreed = {"vendor_class": "Permanent/NoEmail", "vendor_category": "unknown-user", "vendor_permanent": True}
    await told_by(world, "ses", "ann", GONE, **agreed)
    other = agreed | {"vendor_category": "inactive", "vendor_class": "Permanent/OnAccountSuppressionList"}
    for name in ("bob", "cid"):
        await told_by(world, "ses", name, GONE, **other)
    await told_by(world, "sendgrid", "dan", GONE, **other)
    lines = (await world.get("/v1/reports/disagreements"))["items"]
    assert [(line["who"], line["other"], line["category"], line["count"]) for line in lines] == [
        ("ses", "inactive", "unknown-user", 2),
        ("sendgrid", "inactive", "unknown-user", 1),
    ]
    assert (lines[0]["text"], lines[0]["said"]) == (GONE, "Permanent/OnAccountSuppressionList")
    assert len((await world.get("/v1/reports/disagreements", who="sendgrid"))["items"]) == 1
    page = await world.get("/v1/reports/disagreements", limit=1)
    rest = await world.get("/v1/reports/disagreements", cursor=page["next_cursor"])
    assert page["items"] + rest["items"] == lines
    assert (await world.get("/v1/reports/agreements"))["items"] == [
        {"who": "sendgrid", "facts": 1, "agreeing": 0, "share": 0.0},
        {"who": "ses", "facts": 3, "agreeing": 1, "share": 0.3333},
    ]


async def test_a_rule_in_the_shadow_shows_its_hits_and_reads_nothing(world: World) -> None:
    watched = {"id": "tomatoes", "category": "inactive", "contains": ["count tomatoes"], "state": "shadow"}
    assert (await world.post("/v1/rules", watched)).status_code == 201
    assert (await world.post("/v1/rule-sets", {"note": "only looks"})).status_code == 201
    await said(world, ["ann", "bob"], TOMATOES.format("ann"))
    shown = await world.get("/v1/rules/tomatoes")
    assert shown["hits"] == {"decided": 0, "outdone": 0, "shadow": 2, "last_at": "2027-03-01T09:30:00Z"}
    assert (await world.get("/v1/reports/unread-texts"))["items"][0]["count"] == 2
    assert "tomatoes" not in {r["rule"] for r in (await world.get("/v1/reports/dead-rules", limit=1000))["items"]}
    assert (await world.get("/v1/reports/outdone-rules"))["items"] == []


async def test_what_a_model_read_is_shown_as_its_word_and_a_vendor_may_disagree(world: World) -> None:
    read = Fact("inactive", True, 550, None, "550 gone fishing", confidence=0.97, rule_set="model:06d92e47")
    vendor = Vendor("ses", "Permanent/NoEmail", "unknown-user")
    whom = (hash_of("ann"), "m.1", 1, None)
    await world.service.deps.facts.record(
        [NewFact(uuid4(), 1, Mode.LIVE, NOW, read, "receipt", *whom, vendor=vendor)], NOW
    )
    (fact,) = (await world.get("/v1/bounces"))["items"]
    assert (fact["model_category"], round(fact["model_confidence"], 2), fact["rule"]) == ("inactive", 0.97, None)
    (line,) = (await world.get("/v1/reports/disagreements"))["items"]
    assert (line["who"], line["other"], line["category"], line["rule"]) == ("ses", "unknown-user", "inactive", None)
    assert (await world.get("/v1/reports/unread-texts"))["items"][0]["model_category"] == "inactive"


async def test_the_same_evidence_again_counts_once(world: World) -> None:
    opinion = {"vendor_class": "hard_bounce", "vendor_category": "inactive", "vendor_permanent": True}
    for _ in range(2):
        await told_by(world, "ses", "ann", GONE, **opinion)
    (fact,) = (await world.get("/v1/bounces"))["items"]
    assert (await world.get(f"/v1/rules/{fact['rule']}/hits"))["decided"] == 1
    assert (await world.get("/v1/reports/agreements"))["items"][0]["facts"] == 1


NONSENSE: list[str] = [
    "/v1/reports/outdone-rules?cursor=WyJhIiwiYiJd",
    "/v1/reports/unread-texts?cursor=WzEsIngiLCJ5Il0",
    "/v1/reports/disagreements?cursor=WzEsIngiLCJ5Il0",
    "/v1/reports/dead-rules?cursor=WzFd",
    "/v1/reports/dead-rules?days=0",
    "/v1/rules/a%00b/hits",
]


async def test_what_makes_no_sense_is_said(world: World) -> None:
    for path in NONSENSE:
        async with world.client() as client:
            assert (await client.get(path)).status_code == 422, path


async def test_there_is_no_rule_of_nothing(world: World) -> None:
    nothing = "/v1/reports/unread-texts/00000000-0000-0000-0000-000000000001:rule"
    assert (await world.post(nothing, {})).status_code == 404
    assert (await world.post(nothing, {"category": "no-such"})).status_code == 422
    await said(world, ["ann"], "550 123456")
    (line,) = (await world.get("/v1/reports/unread-texts"))["items"]
    assert (await world.post(f"/v1/reports/unread-texts/{line['template_id']}:rule", {})).status_code == 409


async def test_old_rollups_are_dropped_in_batches_and_nobody_is_told_that_there_were_none(world: World) -> None:
    trusting(world)
    opinion = {"vendor_class": "hard_bounce", "vendor_category": "inactive", "vendor_permanent": True}
    for number, back in enumerate((0, 99, 101, 799, 801)):
        at = NOW - back * DAY
        world.clock.now = at
        for tenant in (1, 2):
            await said(world, [f"ann{number}"], at=at, tenant=tenant)
            await said(world, [f"bob{number}"], TOMATOES.format("bob"), at=at, tenant=tenant)
            await said(world, [f"cid{number}"], "550 5.7.1 Relay access denied", at=at, tenant=tenant)
            await told_by(world, "ses", f"dan{number}-{tenant}", GONE, tenant=tenant, **opinion)
    world.clock.now = NOW
    for table in ("figure", "rule_hit", "unread", "opinion", "health"):  # as if of test traffic
        await rows(world, f"update {table} set mode = {Mode.TEST:d} where tenant = 2")
    stop = asyncio.Event()
    task = asyncio.create_task(retention(world.service.deps, stop))

    async def left(table: str, day: str, more: str = "") -> list[int]:
        found = await rows(world, f"select distinct {day} as day from {table} {more} order by 1 desc")
        return [(NOW.date() - row["day"]).days for row in found]

    async def the_last_is_done() -> bool:
        return await left("health", "day") == [0, 99, 101, 799]

    try:
        await eventually(the_last_is_done)
    finally:
        stop.set()
        await task
    assert await left("figure", "bucket::date", "where grain in (0, 2)") == [0, 99]
    assert await left("figure", "bucket::date", "where grain in (1, 3)") == [0, 99, 101, 799]
    for table in ("rule_hit", "unread", "opinion"):
        assert await left(table, "day") == [0, 99, 101, 799]
    for grain, back, status in (("hour", 99, 200), ("hour", 101, 422), ("day", 799, 200), ("none", 801, 422)):
        async with world.client() as client:
            since = (NOW - back * DAY).isoformat()
            answer = await client.get("/v1/statistics", params={"grain": grain, "since": since})
        assert answer.status_code == status, answer.text
        assert status == 200 or "are kept from" in answer.json()["errors"][0]["detail"]


async def test_a_batch_of_old_rollups_is_bounded(world: World) -> None:
    await rows(
        world,
        f"""insert into figure select 1, {Mode.TEST:d}, 0, '2020-01-01', 'policy', n::text, '', '', 1, 0, 0, 0, 0
           from generate_series(1, 7000) as n""",
    )
    rollups = world.service.deps.rollups
    assert [await rollups.forget_before(NOW, NOW.date()) for _ in range(3)] == [5_000, 2_000, 0]


async def test_figures_are_the_same_with_and_without_the_dimensions_that_nobody_asked_for(world: World) -> None:
    trusting(world)
    await said(world, ["ann", "bob"], at=NOW - DAY)
    await said(world, ["cid"])
    for grain in ("hour", "day", "none"):
        narrow = await world.get("/v1/statistics", grain=grain, by="category")
        wide = await world.get("/v1/statistics", grain=grain, by=["category", "from_domain"])
        only = await world.get("/v1/statistics", grain=grain, by="category", communication="news")
        assert narrow["totals"] == wide["totals"] == only["totals"]
        assert (narrow["totals"]["facts"], narrow["totals"]["suppressed"]) == (3, 3)
        assert [row["from_domain"] for row in wide["rows"]] == ["shop.example"] * len(narrow["rows"])


async def test_figures_of_some_alone_leave_out_whatever_differs_in_one_condition(world: World) -> None:
    trusting(world)
    await said(world, ["ann", "bob"])
    (row,) = (await world.get("/v1/statistics", grain="none", by=["category", "provider", "from_domain"]))["rows"]
    right = {name: row[name] for name in ("category", "provider", "from_domain")} | {"communication": "news"}
    assert (await world.get("/v1/statistics", grain="none", **right))["totals"]["facts"] == 2
    for name in right:
        answer = await world.get("/v1/statistics", grain="none", **(right | {name: "policy"}))
        assert answer["totals"]["facts"] == 0, name
