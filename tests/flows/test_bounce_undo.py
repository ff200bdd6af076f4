"""People's decisions over HTTP, and what they see: an undo, a breaker, figures."""

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from libs.contracts.audit import ActionRecorded
from libs.contracts.bounce import SuppressionChanged
from libs.contracts.delivery import MessageRejected, Receipt, ReceiptRecorded, Rejection
from libs.contracts.outcomes import Mode
from services.bounce.domain.rereading import BY_FORM
from services.bounce.ports import Reached
from tests.flows.bounce_policy import DAY, GONE, HOUR, all_said, barred, careful, hash_of, numbers, said, trusting
from tests.flows.bounces import NOW, World, world

__all__ = ["world"]

BLOCKED = "554 5.7.1 Service unavailable; client host [8.8.4.4] blocked using a list of outlook.com"


async def test_a_thousand_addresses_are_undone_with_a_preview_and_an_audit(world: World) -> None:
    names = [f"u{n}" for n in range(1_050)]
    trusting(world)
    await said(world, ["before"], at=NOW - 2 * HOUR)
    await said(world, names)
    await said(world, ["elsewhere"], "550 5.1.1 no such user at mx.outlook.com")
    complaint = Receipt(
        provider="gmail", provider_event_id="1", message="m.1", attempt=1, kind="complained", at=NOW,
        address_hash=hash_of("cross"),
    )  # fmt: skip
    await world.hear(ReceiptRecorded(receipts=(complaint,)))
    await world.post("/v1/suppressions", {"address": "hand@example.com", "note": "by hand"})
    world.clock.advance(HOUR)
    body = {"provider": "gmail", "since": (NOW - HOUR).isoformat(), "note": "gmail was wrong", "preview": True}
    seen = (await world.post("/v1/suppressions:undo", body)).json()
    assert (seen["preview"], seen["lifted"], seen["void"], len(seen["examples"])) == (True, 1_050, 1_050, 20)
    assert seen["groups"] == [
        {
            "category": "unknown-user",
            "provider": "gmail",
            "rule": "unknown-user-words",
            "policy": "trusted-provider",
            "count": 1_050,
        }
    ]
    assert seen["examples"][0]["said"] == GONE
    assert len(await barred(world)) == 1_054

    done = (await world.post("/v1/suppressions:undo", body | {"preview": False})).json()
    assert (done["lifted"], done["void"]) == (1_050, 1_050)
    assert sorted(await barred(world))[:2] == ["before", "cross"]
    assert len(await barred(world)) == 4
    events = await all_said(world)
    lifted = [e for e in events if isinstance(e, SuppressionChanged) and not e.active]
    assert {e.note for e in lifted} == {"gmail was wrong"}
    assert {e.version for e in lifted} == {2}
    told = [e for e in events if isinstance(e, ActionRecorded) and e.action == "suppressions.undo"]
    assert [e.after["lifted"] for e in told] == [1_000, 50]
    assert {(e.actor, e.before["provider"], e.note) for e in told} == {("key", "gmail", "gmail was wrong")}
    again = (await world.post("/v1/suppressions:undo", body)).json()
    assert (again["lifted"], again["void"]) == (0, 0)


@pytest.mark.parametrize(("asked", "stands"), [({"rule_set": BY_FORM}, True), ({"category": "complaint"}, False)])
async def test_a_complaint_is_undone_only_by_its_name(world: World, asked: dict[str, str], stands: bool) -> None:
    complaint = Receipt(
        provider="gmail", provider_event_id="1", message="m.1", attempt=1, kind="complained", at=NOW,
        address_hash=hash_of("cross"),
    )  # fmt: skip
    await world.hear(ReceiptRecorded(receipts=(complaint,)))
    world.clock.advance(HOUR)
    body = {**asked, "since": (NOW - HOUR).isoformat(), "note": "they were wrong"}
    seen = (await world.post("/v1/suppressions:undo", body | {"preview": True})).json()
    done = (await world.post("/v1/suppressions:undo", body)).json()
    assert (done["lifted"], done["void"]) == (seen["lifted"], seen["void"]) == ((0, 0) if stands else (1, 1))
    assert await barred(world) == (["cross"] if stands else [])


async def test_what_was_undone_is_no_proof_any_more(world: World) -> None:
    careful(world)
    await said(world, ["ann"])
    world.clock.advance(HOUR)
    body = {"category": "unknown-user", "since": (NOW - HOUR).isoformat(), "note": "a rule was wrong"}
    done = (await world.post("/v1/suppressions:undo", body)).json()
    assert (done["lifted"], done["void"]) == (0, 1)
    await said(world, ["ann"], at=NOW + 2 * DAY)
    assert await barred(world) == []


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"since": NOW.isoformat(), "note": "why"}, "/provider"),
        ({"since": "2029-01-01T00:00:00Z", "provider": "gmail", "note": "why"}, "/since"),
        ({"since": NOW.isoformat(), "category": "no-such", "note": "why"}, "/category"),
        ({"since": NOW.isoformat(), "provider": "gmail", "note": "x"}, "/note"),
        ({"since": "2027-03-01T00:00:00", "provider": "gmail", "note": "why"}, "/since"),
    ],
)
async def test_an_undo_that_is_too_wide_or_wrong_says_so(world: World, body: dict[str, Any], pointer: str) -> None:
    world.clock.advance(HOUR)
    answer = await world.post("/v1/suppressions:undo", body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"].endswith(pointer)


async def tripped(world: World, tenant: int = 1) -> dict[str, Any]:
    """Make a provider refuse 250 times in a minute."""
    await said(world, [f"u{n}" for n in range(250)], tenant=tenant)
    (shown,) = (await world.get("/v1/breakers"))["items"]
    return dict(shown)


async def test_an_operator_drops_what_was_parked(world: World) -> None:
    breaker = await tripped(world)
    assert (breaker["state"], breaker["provider"], breaker["refused"], breaker["parked"]) == ("open", "gmail", 250, 250)
    assert await barred(world) == []
    assert (await world.post(f"/v1/breakers/{breaker['id']}:drop", {"note": "outage"})).json() == {"count": 250}
    assert (await world.get("/v1/breakers"))["items"][0]["dropped"] == 250
    assert (await world.post(f"/v1/breakers/{uuid4()}:drop", {"note": "outage"})).status_code == 404
    assert await barred(world) == []


async def test_an_operator_believes_the_provider(world: World) -> None:
    breaker = await tripped(world)
    world.clock.advance(timedelta(minutes=1))
    assert (await world.post(f"/v1/breakers/{breaker['id']}:release", {"note": "an old list"})).json() == {"count": 250}
    assert len(await barred(world)) == 250
    await world.service.deps.breakers.watch(world.clock.now)
    assert len(await barred(world)) == 250
    await said(world, ["one-more"])
    assert len(await barred(world)) == 251
    (shown,) = (await world.get("/v1/breakers"))["items"]
    assert (shown["state"], shown["released"]) == ("believed", 250)
    told = [e for e in await all_said(world) if isinstance(e, ActionRecorded)]
    assert [(e.action, e.after) for e in told] == [("breaker.release", {"count": 250, "provider": "gmail"})]


async def test_another_tenant_sees_the_breaker_but_not_whom_it_parked(world: World) -> None:
    breaker = await tripped(world)
    (shown,) = (await world.get("/v1/breakers", key="other"))["items"]
    assert (shown["id"], shown["parked"]) == (breaker["id"], 0)
    answer = await world.post(f"/v1/breakers/{breaker['id']}:drop", {"note": "not mine"}, key="other")
    assert answer.json() == {"count": 0}
    assert (await world.get("/v1/breakers"))["items"][0]["parked"] == 250
    assert (await world.get("/v1/breakers", key="test"))["items"] == []


async def test_a_campaign_makes_many_bounces_and_no_breaker_opens(world: World) -> None:
    contacts = world.service.deps.contacts

    async def campaign(start: datetime, mails: int, gone: int) -> None:
        sent = [Reached(1, Mode.LIVE, hash_of(f"c{n % 50}"), start) for n in range(mails)]
        await contacts.accepted(sent)
        await said(world, [f"g{next(numbers)}" for _ in range(gone)], at=start + timedelta(minutes=3))

    await campaign(NOW - 2 * DAY, 9_000, 90)
    await campaign(NOW, 60_000, 900)
    assert (await world.get("/v1/breakers"))["items"] == []
    await campaign(NOW + 3 * HOUR, 9_000, 900)
    assert len((await world.get("/v1/breakers"))["items"]) == 1


async def test_blocks_are_counted_by_sender_and_touch_no_address(world: World) -> None:
    for _ in range(4):
        await said(world, ["ann", "bob"], BLOCKED, domain="outlook.com")
    assert await barred(world) == []
    world.clock.advance(HOUR)
    (row,) = (await world.get("/v1/reputation", sender=3))["items"]
    assert (row["about"], row["provider"], row["count"]) == ("8.8.4.4", "microsoft", 8)
    assert row["category"] in ("reputation-block", "policy")
    assert (await world.get("/v1/reputation", sender=4))["items"] == []


async def test_figures_add_up_to_the_facts(world: World) -> None:
    await said(world, ["ann", "bob", "cid"])
    await said(world, ["ann"], at=NOW + 2 * DAY)
    await said(world, ["dan"], "452 4.2.2 mailbox full gsmtp", at=NOW + 2 * DAY)
    await said(world, ["eve"], "nobody knows what this means", at=NOW + 2 * DAY)
    await said(world, ["other"], tenant=2)
    world.clock.now = NOW + 3 * DAY
    (listed,) = (await world.get("/v1/suppressions", recipient="customer:bob"))["items"]
    await world.post(f"/v1/suppressions/{listed['id']}:lift", {"note": "he wrote"})
    found = await world.get("/v1/statistics", by=["category"], until=(NOW + 4 * DAY).isoformat())
    totals = {"facts": 6, "first": 5, "repeated": 1, "suppressed": 3, "lifted": 1, "parked": 0, "undetermined": 1}
    assert found["totals"] == totals
    assert found["undetermined_share"] == pytest.approx(1 / 6, abs=1e-4)
    assert found["breakers"] == []
    by_day = {(row["bucket"][:10], row["category"]): row["facts"] for row in found["rows"]}
    first, third, fourth = ((NOW + n * DAY).date().isoformat() for n in (0, 2, 3))
    assert by_day == {
        (first, "unknown-user"): 3, (third, "unknown-user"): 1, (third, "mailbox-full"): 1, (third, "undetermined"): 1,
        (fourth, "unknown-user"): 0,
    }  # fmt: skip
    whole = await world.get(
        "/v1/statistics", grain="none", by=["provider", "from_domain", "communication"], category="unknown-user"
    )
    (row,) = whole["rows"]
    assert (row["bucket"], row["provider"], row["from_domain"], row["communication"]) == (
        None, "gmail", "shop.example", "news"
    )  # fmt: skip
    assert (row["facts"], row["suppressed"], row["lifted"]) == (4, 3, 1)
    hours = await world.get("/v1/statistics", grain="hour", since=NOW.isoformat(), until=(NOW + HOUR).isoformat())
    assert [row["facts"] for row in hours["rows"]] == [3]


async def test_what_a_person_bars_and_lifts_again_is_no_figure_of_bounces(world: World) -> None:
    """Its beginning is not counted, so its end was more ends than beginnings, of no category."""
    placed = await world.post("/v1/suppressions", {"address": "ann@x.example", "note": "she asked"})
    lifted = await world.post(f"/v1/suppressions/{placed.json()['id']}:lift", {"note": "she asked again"})
    world.clock.advance(HOUR)
    figures = await world.get("/v1/statistics", by=["category"])
    assert (lifted.status_code, figures["totals"]["lifted"], figures["rows"]) == (200, 0, [])


async def test_figures_of_a_category_that_is_none_are_refused(world: World) -> None:
    """They would be zero, as if nothing had bounced for that reason."""
    async with world.client() as client:
        refused = await client.get("/v1/statistics", params={"category": "mailbox-ful"})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "category")


async def test_the_same_fact_again_is_counted_once(world: World) -> None:
    rejection = Rejection(
        message="m.1", recipient="customer:ann", attempt=1, channel="email", sender=3, address_id=1,
        address_hash=hash_of("ann"), final=True, text=GONE, at=NOW,
    )  # fmt: skip
    for _ in range(3):
        await world.hear(MessageRejected(request_id=uuid4(), rejections=(rejection,)))
    world.clock.advance(HOUR)
    assert (await world.get("/v1/statistics"))["totals"]["facts"] == 1


async def test_adjacent_spans_count_each_block_and_fact_once_and_say_what_they_cover(world: World) -> None:
    midnight = NOW.replace(hour=0, minute=0, second=0, microsecond=0)
    for day in range(3):
        await said(world, ["ann"], BLOCKED, domain="outlook.com", at=midnight + day * DAY + HOUR)
    world.clock.now = midnight + 4 * DAY

    async def count(begin: datetime, end: datetime) -> tuple[int, int, datetime]:
        span = {"since": begin.isoformat(), "until": end.isoformat()}
        blocks = (await world.get("/v1/reputation", **span))["items"]
        figures = await world.get("/v1/statistics", grain="none", **span)
        return sum(row["count"] for row in blocks), figures["totals"]["facts"], datetime.fromisoformat(figures["until"])

    for day in range(3):
        begin, end = midnight + day * DAY, midnight + (day + 1) * DAY
        assert await count(begin, end) == (1, 1, end)
    assert await count(midnight, midnight + timedelta(minutes=1)) == (1, 1, midnight + DAY)  # days are counted whole
