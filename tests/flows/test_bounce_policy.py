"""Policy over a real database: what is remembered of addresses, and what suppresses them."""

import itertools
from collections.abc import Sequence
from datetime import date, datetime
from uuid import UUID, uuid4

import pytest

from libs.contracts.delivery import MessageRejected, Receipt, ReceiptRecorded, Rejection
from libs.contracts.outcomes import Mode
from services.bounce.domain.policy import Contact
from services.bounce.ports import Reached
from tests.flows.bounce_policy import DAY, GONE, HOUR, barred, careful, hash_of, numbers, rows, said
from tests.flows.bounces import NOW, World, world

__all__ = ["world"]


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
    (fact,) = await world.said()  # tokens consumes it, and stores a no that a newer yes may overrule
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
    assert (bool(shown["rule"] and shown["rule_set"]), len(shown["proofs"])) == (True, 2)


async def test_two_proofs_in_one_batch_are_two(world: World) -> None:
    careful(world)
    both = tuple(
        Rejection(
            message=f"{UUID(int=next(numbers))}.1", recipient="customer:ann", attempt=1, channel="email", sender=3,
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


def days(*found: int) -> list[date]:
    return [date(2027, 3, n) for n in found]


@pytest.mark.parametrize("order", list(itertools.permutations([1, 3, 9]))[::2])
async def test_acceptances_are_days_in_whichever_order_they_come(world: World, order: Sequence[int]) -> None:
    contacts = world.service.deps.contacts
    for day in order:
        mail = Reached(1, Mode.LIVE, hash_of("ann"), datetime(2027, 3, day, 12, tzinfo=NOW.tzinfo))
        await contacts.accepted([mail, mail])
        await contacts.accepted([mail])
    assert await contact(world) == (days(9, 3, 1), None)


async def contact(world: World) -> tuple[list[date], date | None]:
    ((day, accepted, read_on),) = await rows(world, "select day, accepted, read_on from contact")
    return list(Contact(day, accepted, read_on).accepted_days()), read_on


async def test_old_acceptances_fall_out_and_a_long_pause_begins_anew(world: World) -> None:
    contacts = world.service.deps.contacts
    for ago in (200, 61, 30, 0):
        await contacts.accepted([Reached(1, Mode.LIVE, hash_of("ann"), NOW - ago * DAY)])
    await contacts.accepted([Reached(1, Mode.LIVE, hash_of("ann"), NOW - 90 * DAY)])
    await contacts.read([Reached(1, Mode.LIVE, hash_of("ann"), NOW - n * DAY) for n in (5, 2, 7)])
    today = NOW.date()
    assert await contact(world) == ([today, today - 30 * DAY, today - 61 * DAY], today - 2 * DAY)
    assert await contacts.forget_before(today - DAY, NOW) == 0
    assert await contacts.forget_before(today + DAY, NOW) == 1


async def test_a_known_day_is_not_written_again(world: World) -> None:
    contacts = world.service.deps.contacts
    for _ in range(3):
        await contacts.accepted([Reached(1, Mode.LIVE, hash_of("ann"), NOW)])
        await contacts.read([Reached(1, Mode.LIVE, hash_of("bob"), NOW)])
    assert {row[0] for row in await rows(world, "select xmax::text from contact")} == {"0"}
