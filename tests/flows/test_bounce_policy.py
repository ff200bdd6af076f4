"""Policy over a real database: what is remembered of addresses, what bars, how it is undone, what is counted."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from libs.contracts.audit import ActionRecorded
from libs.contracts.bounce import SuppressionChanged
from libs.contracts.delivery import MessageRejected, Receipt, ReceiptRecorded, Rejection
from libs.contracts.outcomes import Mode
from libs.messaging.reading import decoded
from services.bounce.domain.policy import Contact, Policy
from services.bounce.ports import Accepted, Read
from tests.flows.bounces import NOW, World, world

__all__ = ["world"]

GONE = "550 5.1.1 no such account gsmtp"
BLOCKED = "554 5.7.1 Service unavailable; client host [8.8.4.4] blocked using a list of outlook.com"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
_numbers = itertools.count()


def hash_of(name: str) -> bytes:
    return name.encode().ljust(32, b".")


async def said(
    world: World, names: Sequence[str], text: str = GONE, *, at: datetime | None = None, tenant: int = 1, **more: Any
) -> None:
    """Refusals of mails to these, each of a message of its own."""
    moment = at or world.clock.now
    rejections = tuple(
        Rejection(
            message=f"{UUID(int=next(_numbers))}.1", recipient=f"customer:{name}", attempt=1, channel="email", sender=3,
            address_id=1, address_hash=hash_of(name), final=True, text=text, at=moment, from_domain="shop.example",
            **more,
        )
        for name in names
    )  # fmt: skip
    event = MessageRejected(request_id=uuid4(), rejections=rejections, communication="news")
    await world.hear(event, tenant=tenant)


async def rows(world: World, query: str, *arguments: Any) -> list[Any]:
    connection = await asyncpg.connect(world.dsn)
    try:
        await connection.execute("set search_path to bounce")
        return list(await connection.fetch(query, *arguments))
    finally:
        await connection.close()


async def barred(world: World) -> list[str]:
    found = await rows(world, "select address_hash from suppression where active order by 1")
    return [row[0].decode("latin-1").rstrip(".") for row in found]


def careful(world: World) -> None:
    """From now on nobody is trusted."""
    facts = world.service.deps.facts
    object.__setattr__(world.service.deps, "facts", replace(facts, policy=Policy()))


def trusting(world: World) -> None:
    """From now on no breaker opens."""
    facts = world.service.deps.facts
    object.__setattr__(world.service.deps, "facts", replace(facts, band=replace(facts.band, minimum=1_000_000)))


async def test_an_unsubscribe_bars_nothing_here(world: World) -> None:
    mail = await world.hand_in(
        (
            f"From: fbl@isp.example\r\nTo: {world.path}\r\nSubject: opt out\r\nMIME-Version: 1.0\r\n"
            "Content-Type: multipart/report; report-type=feedback-report; boundary=q\r\n\r\n"
            "--q\r\nContent-Type: text/plain\r\n\r\nPlease take me off.\r\n--q\r\n"
            "Content-Type: message/feedback-report\r\n\r\nFeedback-Type: opt-out\r\nVersion: 1\r\n--q--\r\n"
        ).encode()
    )
    assert mail["outcome"] == "unsubscribe"
    (fact,) = await world.said()  # tokens hears it, and keeps a no that a newer yes may overrule
    assert fact.category == "unsubscribe"


async def test_a_second_proof_bars_with_both_as_evidence(world: World) -> None:
    careful(world)
    await said(world, ["ann"])
    await said(world, ["ann"], at=NOW + 3 * HOUR)
    assert await barred(world) == []
    facts = (await world.get("/v1/bounces"))["items"]
    assert {(fact["decision"], fact["policy"]) for fact in facts} == {("waits", "second-proof")}
    await said(world, ["ann"], at=NOW + 25 * HOUR)
    assert await barred(world) == ["ann"]
    (shown,) = (await world.get("/v1/suppressions"))["items"]
    assert (shown["policy"], shown["category"], shown["provider"]) == ("second-proof", "unknown-user", "gmail")
    assert (shown["rule_set"], len(shown["proofs"])) == ("shipped", 2)


async def test_two_proofs_in_one_batch_are_two(world: World) -> None:
    careful(world)
    both = tuple(
        Rejection(
            message=f"{UUID(int=next(_numbers))}.1", recipient="customer:ann", attempt=1, channel="email", sender=3,
            address_id=1, address_hash=hash_of("ann"), final=True, text=GONE, at=at,
        )
        for at in (NOW, NOW - 2 * DAY)
    )  # fmt: skip
    await world.hear(MessageRejected(request_id=uuid4(), rejections=both))
    assert await barred(world) == ["ann"]
    assert len(await world.suppressions()) == 1


async def test_who_reads_is_not_barred_at_once(world: World) -> None:
    opened = Receipt(
        provider="p", provider_event_id="1", message="m.1", attempt=1, kind="opened", at=NOW - 9 * DAY,
        address_hash=hash_of("ann"),
    )  # fmt: skip
    await world.hear(ReceiptRecorded(receipts=(opened,)))
    await said(world, ["ann", "bob"])
    assert await barred(world) == ["bob"]


async def test_three_days_of_a_full_mailbox_bar_marketing_until_then_nothing(world: World) -> None:
    for day in (0, 4, 13):
        world.clock.now = NOW + day * DAY
        assert await world.suppressions() == []
        await said(world, ["ann"], "552 5.2.2 mailbox full gsmtp")
    (placed,) = await world.suppressions()
    assert (placed.scope, placed.reason) == ("marketing", "suppressed_bounce")


def days(*numbers: int) -> list[date]:
    return [date(2027, 3, n) for n in numbers]


@pytest.mark.parametrize("order", list(itertools.permutations([1, 3, 9]))[::2])
async def test_acceptances_are_days_in_whichever_order_they_come(world: World, order: Sequence[int]) -> None:
    contacts = world.service.deps.contacts
    for day in order:
        mail = Accepted(1, Mode.LIVE, hash_of("ann"), datetime(2027, 3, day, 12, tzinfo=NOW.tzinfo))
        await contacts.accepted([mail, mail])
        await contacts.accepted([mail])
    assert await contact(world) == (days(9, 3, 1), None)


async def contact(world: World) -> tuple[list[date], date | None]:
    ((day, accepted, read_on),) = await rows(world, "select day, accepted, read_on from contact")
    return list(Contact(day, accepted, read_on).accepted_days()), read_on


async def test_old_acceptances_fall_out_and_a_long_pause_begins_anew(world: World) -> None:
    contacts = world.service.deps.contacts
    for ago in (200, 61, 30, 0):
        await contacts.accepted([Accepted(1, Mode.LIVE, hash_of("ann"), NOW - ago * DAY)])
    await contacts.accepted([Accepted(1, Mode.LIVE, hash_of("ann"), NOW - 90 * DAY)])
    await contacts.read([Read(1, Mode.LIVE, hash_of("ann"), NOW - n * DAY) for n in (5, 2, 7)])
    today = NOW.date()
    assert await contact(world) == ([today, today - 30 * DAY, today - 61 * DAY], today - 2 * DAY)
    assert await contacts.forget_before(today - DAY, NOW) == 0
    assert await contacts.forget_before(today + DAY, NOW) == 1


async def test_a_known_day_is_not_written_again(world: World) -> None:
    contacts = world.service.deps.contacts
    for _ in range(3):
        await contacts.accepted([Accepted(1, Mode.LIVE, hash_of("ann"), NOW)])
        await contacts.read([Read(1, Mode.LIVE, hash_of("bob"), NOW)])
    assert {row[0] for row in await rows(world, "select xmax::text from contact")} == {"0"}


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
        {"category": "unknown-user", "provider": "gmail", "rule": "", "policy": "trusted-provider", "count": 1_050}
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


async def all_said(world: World) -> list[Any]:
    """Bundles too."""
    found = await rows(world, "select * from outbox order by id")
    events: list[Any] = []
    for row in found:
        good, bad = decoded([row])
        assert not bad
        events += [entry.envelope.data for entry in good]
    return events


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
    """A provider that says no 250 times in a minute."""
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
        sent = [Accepted(1, Mode.LIVE, hash_of(f"c{n % 50}"), start) for n in range(mails)]
        await contacts.accepted(sent)
        await said(world, [f"g{next(_numbers)}" for _ in range(gone)], at=start + timedelta(minutes=3))

    await campaign(NOW - 2 * DAY, 9_000, 90)
    await campaign(NOW, 60_000, 900)
    assert (await world.get("/v1/breakers"))["items"] == []
    await campaign(NOW + 3 * HOUR, 9_000, 900)
    assert len((await world.get("/v1/breakers"))["items"]) == 1


async def test_blocks_are_counted_by_sender_and_touch_no_address(world: World) -> None:
    for _ in range(4):
        await said(world, ["ann", "bob"], BLOCKED)
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


async def test_the_same_fact_again_is_counted_once(world: World) -> None:
    rejection = Rejection(
        message="m.1", recipient="customer:ann", attempt=1, channel="email", sender=3, address_id=1,
        address_hash=hash_of("ann"), final=True, text=GONE, at=NOW,
    )  # fmt: skip
    for _ in range(3):
        await world.hear(MessageRejected(request_id=uuid4(), rejections=(rejection,)))
    world.clock.advance(HOUR)
    assert (await world.get("/v1/statistics"))["totals"]["facts"] == 1
