"""Erasure in bounce: what arrives late about an erased recipient is stored without name and words, and still counts."""

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from libs.contracts.bounce import BounceClassified, SuppressionChanged
from libs.contracts.delivery import MessageRejected, Receipt, ReceiptRecorded, Rejection
from libs.contracts.tokens import RecipientErased
from libs.ids import first_id_at, message_id
from tests.flows.bounce_policy import DAY, HOUR, hash_of, rows
from tests.flows.bounces import MESSAGE, NOW, World, report, world

__all__ = ["world"]

ERASED = RecipientErased(recipient="customer:ann", at=NOW)


async def refused(world: World, *, sent_at: datetime, known: bytes = hash_of("ann")) -> None:
    """A refusal, heard now, of a message that was requested then."""
    rejection = Rejection(
        message=message_id(first_id_at(sent_at), 7), recipient="customer:ann", attempt=1, channel="email", sender=3,
        address_id=7, address_hash=known, final=True, text="550 5.1.1 <ann@mail.example> no such user here",
        at=world.clock.now, from_domain="shop.example",
    )  # fmt: skip
    await world.hear(MessageRejected(request_id=uuid4(), rejections=(rejection,), communication="news"))


async def stored(world: World) -> list[Any]:
    return await rows(world, "select recipient, text, template from bounce order by at, id")


async def test_a_bounce_that_arrives_after_the_erasure_is_nameless_and_still_bars(world: World) -> None:
    await world.hear(ERASED)
    world.clock.advance(2 * DAY)
    await refused(world, sent_at=NOW - HOUR)
    assert [tuple(row) for row in await stored(world)] == [(None, "", None)]
    (placed,) = await world.suppressions()
    assert (placed.recipient, placed.active) == (None, True)
    (event,) = [event for event in await world.said() if isinstance(event, BounceClassified)]
    assert (event.recipient, event.text) == (None, "")


async def test_a_recipient_who_came_back_has_a_name_again(world: World) -> None:
    await world.hear(ERASED)
    await refused(world, sent_at=NOW + timedelta(minutes=1))
    assert [row["recipient"] for row in await stored(world)] == ["customer:ann"]


async def arrive_after_delivery_forgot(world: World, raw: bytes) -> dict[str, Any]:
    """A bounce mail of a message whose recipient was erased: delivery knows that, and no name."""
    entry = next(iter(world.ledger.values()))
    entry |= {"recipient": None, "erased": True}
    return await world.hand_in(raw)


async def test_nothing_is_kept_of_a_mail_about_somebody_whom_delivery_has_erased(world: World) -> None:
    await arrive_after_delivery_forgot(world, report(world.path, words="550 5.1.1 Kim Example has moved"))
    assert await rows(world, "select from mail where raw is not null") == []
    assert [tuple(row) for row in await stored(world)] == [(None, "", None)]
    (placed,) = await world.suppressions()
    assert placed.active
    assert "Kim Example" not in str(await world.said())


async def test_a_late_receipt_about_an_erased_recipient_bars_and_leaves_no_words(world: World) -> None:
    receipt = Receipt(
        provider="ses", provider_event_id="e-1", message=MESSAGE, attempt=1, kind="bounced", at=NOW,
        address_hash=hash_of("ann"), detail="550 5.1.1 Ann Example: no such user", erased=True,
    )  # fmt: skip
    await world.hear(ReceiptRecorded(receipts=(receipt,)))
    assert [tuple(row) for row in await stored(world)] == [(None, "", None)]
    assert len(await world.suppressions()) == 1


AUTOMATIC = (
    b"Subject: Re: your order\r\nAuto-Submitted: auto-replied\r\n\r\nI am Kim Example, on holiday until May.\r\n"
)


@pytest.mark.parametrize("erased_first", [True, False])
async def test_an_automatic_reply_is_erased_with_its_author(world: World, erased_first: bool) -> None:
    """It makes no fact, by which other mails are found."""
    raw = f"To: {world.path}\r\nFrom: kim@customer.example\r\n".encode() + AUTOMATIC
    if erased_first:
        mail = await arrive_after_delivery_forgot(world, raw)
    else:
        mail = await world.hand_in(raw)
        assert len(await rows(world, "select from mail where raw is not null")) == 1
        await world.hear(RecipientErased(recipient="customer:1042", at=NOW))
    assert (mail["state"], await rows(world, "select from bounce")) == ("read", [])
    assert await rows(world, "select from mail where raw is not null or about is not null") == []


async def test_a_second_mail_with_the_same_evidence_is_erased_too(world: World) -> None:
    for words in ("550 5.1.1 User unknown", "550 5.1.1 User unknown, says Kim Example"):
        await world.hand_in(report(world.path, words=words))
    assert len(await rows(world, "select from mail where raw is not null")) == 2
    await world.hear(RecipientErased(recipient="customer:1042", at=NOW))
    assert await rows(world, "select from mail where raw is not null") == []


@pytest.mark.parametrize(("sent_ago", "queued"), [(HOUR, 0), (-HOUR, 1)])
async def test_what_was_on_its_way_to_webhooks_is_not_queued_after_the_erasure(
    world: World, sent_ago: timedelta, queued: int
) -> None:
    hook = {"url": "https://crm.example/hook", "kinds": ["bounce.classified", "suppression.changed"]}
    await world.post("/v1/webhooks", hook)
    await world.hear(ERASED)
    message = message_id(first_id_at(NOW - sent_ago), 7)
    await world.hear(
        SuppressionChanged(
            suppression_id=uuid4(), address_hash=hash_of("ann"), scope="all", reason="hard_bounce", active=True,
            version=1, at=NOW + HOUR, message_id=message, note="Ann called", recipient="customer:ann",
        )
    )  # fmt: skip
    assert len(await rows(world, "select from webhook_event")) == queued


async def test_a_bounce_mail_that_arrives_after_the_erasure_loses_its_bytes(world: World) -> None:
    recipient = next(iter(world.ledger.values()))["recipient"]
    await world.hear(RecipientErased(recipient=recipient, at=NOW))
    mail = await world.hand_in(report(world.path))
    assert mail["state"] == "read"
    assert await rows(world, "select from mail where raw is not null") == []
    assert [row["recipient"] for row in await stored(world)] == [None]
