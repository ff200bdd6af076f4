"""The verdict and the timeline are complete for messages with many attempts or several addresses."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec

from libs.contracts.bounce import BounceClassified
from libs.contracts.delivery import MessageRecorded, Transition
from libs.contracts.orders_notification import Decision, DecisionRecorded
from libs.contracts.outcomes import Status
from libs.contracts.tokens import RecipientChanged
from libs.ids import first_id_at, message_id, notification_id
from tests.flows.histories import KIM, NOW, ORDER, SENT, World, world

RECIPIENTS = 450  # more decisions than a verdict or a page of a timeline looks at

__all__ = ["world"]


async def test_what_was_put_back_a_dozen_times_and_then_sent_was_sent(world: World) -> None:
    put_back = [(Status.SENDING, Status.PENDING, attempt) for attempt in range(1, 13)]
    id_ = await world.told(*put_back, (Status.SENDING, Status.SENT, 13))
    for asked in ({"message": id_}, {"order": ORDER}, {"recipient": KIM}):
        answer = await world.why(**asked)
        assert answer["verdict"] == "sent", asked
        assert sum(fact["kind"] == "transition" for fact in answer["facts"]) == 13


async def test_pages_of_a_timeline_leave_no_address_out(world: World) -> None:
    told = [await sent_to_three(world, minutes) for minutes in (0, 5)]
    for asked in ({"order": ORDER}, {"recipient": KIM}):
        for limit in (1, 2, 3):
            seen = [entry["message"] for entry in await pages(world, limit, **asked) if entry["kind"] == "transition"]
            assert sorted(seen) == sorted(id_ for ids in told for id_ in ids), (asked, limit)


async def test_a_bounce_that_came_later_stands_on_the_page_of_its_message(world: World) -> None:
    first = await world.told(SENT)
    for minutes in (5, 10, 15):
        await world.told(SENT, minutes=minutes)
    bounced = BounceClassified(
        bounce_id=uuid4(), category="mailbox-full", group="soft", address_hash=b"1" * 32, at=NOW + timedelta(hours=1),
        message_id=first, recipient=KIM,
    )  # fmt: skip
    await world.hear(bounced, at=NOW + timedelta(hours=1))
    for asked in ({"order": ORDER}, {"recipient": KIM}):
        entries = await pages(world, 2, **asked)
        assert [entry["message"] for entry in entries if entry["kind"] == "bounce.classified"] == [first], asked


async def test_pages_together_say_what_one_page_says(world: World) -> None:
    """Events refused by ten communications, messages and statements about the customer, in all page lengths."""
    for number in range(6):
        await world.told(SENT, minutes=5 * number)
        cause = first_id_at(NOW + timedelta(minutes=5 * number + 1))
        for name in range(10):
            await world.decided("condition_false", cause=cause, name=f"other-{name}")
        moment = NOW + timedelta(minutes=5 * number + 2)
        changed = RecipientChanged(recipient=KIM, fields=("locale",), version=number, at=moment)
        await world.hear(changed, at=moment)
    for asked in ({"order": ORDER}, {"recipient": KIM}):
        whole = [_said(entry) for entry in await pages(world, 500, **asked)]
        assert len(whole) == 6 * 14 + 6 * ("recipient" in asked), asked
        for limit in range(1, 9):
            assert sorted(map(_said, await pages(world, limit, **asked))) == sorted(whole), (asked, limit)


def _said(entry: dict[str, Any]) -> tuple[str, ...]:
    return entry["at"], entry["kind"], entry["text"], str(entry["message"])


async def test_an_event_for_hundreds_tells_each_recipients_own_story(world: World) -> None:
    everybody = [*(f"customer:{n}" for n in range(RECIPIENTS)), KIM]
    notification = await requested_for(world, everybody)
    world.delivery[str(notification)] = {"state": "held", "reason": "held", "detail": "A hold on tenant 1 stops it."}
    for asked in ({"order": ORDER}, {"event": "e-1"}, {"event": str(first_id_at(NOW))}):
        answer = await world.why(**asked, recipient=KIM)
        assert (answer["verdict"], answer["reason"]) == ("not_yet", "held"), asked
        stranger = await world.why(**asked, recipient="customer:stranger")
        assert (stranger["verdict"], stranger["lost_at"]) == ("no_trace", "decision"), asked
    page = await world.timeline(order=ORDER, recipient=KIM)
    assert [entry["recipient"] for entry in page["items"]] == [KIM, KIM]
    assert page["next_cursor"] is None


async def test_a_message_of_an_event_for_hundreds_has_its_decision(world: World) -> None:
    notification = await requested_for(world, [*(f"customer:{n}" for n in range(RECIPIENTS)), KIM])
    (id_, *_) = await sent_to_three(world, 0)
    assert id_.startswith(str(notification))
    for story in ((await world.why(message=id_))["facts"], (await world.timeline(message=id_))["items"]):
        assert {"transition", "decision"} <= {fact["kind"] for fact in story}, story


async def requested_for(world: World, recipients: list[str]) -> UUID:
    """Record one event that requests a notification for each recipient; return the last one's id."""
    cause = first_id_at(NOW)
    decisions = tuple(
        Decision(
            communication="parcel-shipped",
            outcome="requested",
            recipient=recipient,
            notification_id=notification_id(cause, "parcel-shipped", recipient),
        )
        for recipient in recipients
    )
    told = DecisionRecorded(
        cause_id=cause, event_id="e-1", event_type="parcel.shipped", event_source="shop", received_at=NOW,
        decisions=decisions,
    )  # fmt: skip
    await world.hear(told)
    return notification_id(cause, "parcel-shipped", recipients[-1])


async def sent_to_three(world: World, minutes: float) -> list[str]:
    """Send one notification to three addresses; return the messages' ids."""
    cause = first_id_at(NOW + timedelta(minutes=minutes))
    notification = notification_id(cause, "parcel-shipped", KIM)
    moved = Transition(
        notification_id=notification, address_id=0, recipient=KIM, attempt=1, was="sending", is_="sent", reason="none",
        at=NOW + timedelta(minutes=minutes), channel="push", sender=1,
    )  # fmt: skip
    addresses = (17, 18, 19)
    transitions = tuple(_to(moved, address) for address in addresses)
    recorded = MessageRecorded(
        request_id=uuid4(), cause_id=cause, release_id=uuid4(), communication="parcel-shipped", transitions=transitions
    )
    await world.hear(recorded)
    return [message_id(notification, address) for address in addresses]


def _to(moved: Transition, address: int) -> Transition:
    return msgspec.structs.replace(moved, address_id=address)


async def pages(world: World, limit: int, **asked: str) -> list[dict[str, Any]]:
    """Return all entries, page by page."""
    entries: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = await world.timeline(**asked, limit=limit, **cursor)
        entries += page["items"]
        if page["next_cursor"] is None:
            return entries
        cursor = {"cursor": page["next_cursor"]}
