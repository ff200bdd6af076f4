"""Erasure in bounce: what arrives late about an erased recipient is stored without name and words, and still counts."""

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from libs.contracts.bounce import BounceClassified
from libs.contracts.delivery import MessageRejected, Rejection
from libs.contracts.tokens import RecipientErased
from libs.ids import first_id_at, message_id
from tests.flows.bounce_policy import DAY, HOUR, hash_of, rows
from tests.flows.bounces import NOW, World, report, world

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


async def test_a_bounce_mail_that_arrives_after_the_erasure_loses_its_bytes(world: World) -> None:
    recipient = next(iter(world.ledger.values()))["recipient"]
    await world.hear(RecipientErased(recipient=recipient, at=NOW))
    mail = await world.hand_in(report(world.path))
    assert mail["state"] == "read"
    assert await rows(world, "select from mail where raw is not null") == []
    assert [row["recipient"] for row in await stored(world)] == [None]
