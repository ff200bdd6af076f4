"""What every timeline and audit store promises: repeats and reordering change nothing.

A store's tests inherit these and provide the fixture `timeline` or `audit`.
"""

import itertools
from datetime import timedelta
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from libs.contracts.audit import ActionRecorded
from libs.contracts.delivery import (
    MessageRecorded,
    MessageRejected,
    ReceiptRecorded,
)
from libs.contracts.envelope import Envelope
from libs.contracts.orders_notification import Decision
from libs.contracts.outcomes import Mode, ReceiptKind, Status
from libs.contracts.reasons import Reason
from libs.ids import first_id_at
from services.history.domain.documents import document_of
from services.history.domain.facts import address_key
from services.history.ports import ActionSearch, Audit, Search, Timeline
from tests.conformance.history_events import (
    BACK,
    CAUSE,
    DELIVERED,
    KIM,
    MESSAGE,
    NOON,
    NOTIFICATION,
    REFUSED,
    SENT,
    bounced,
    decided,
    heard,
    moved,
    recorded,
)

STRANGERS: list[dict[str, Any]] = [{"tenant": 2}, {"mode": Mode.TEST}]


def search(**wanted: Any) -> Search:
    return Search(wanted.pop("tenant", 1), wanted.pop("mode", Mode.LIVE), **wanted)


async def tell(timeline: Timeline, envelope: Envelope) -> None:
    match envelope.data:
        case MessageRecorded():
            await timeline.record_messages([envelope])
        case ReceiptRecorded():
            await timeline.record_receipts([envelope])
        case MessageRejected():
            await timeline.record_rejections([envelope])


class TimelinePromises:
    @pytest.mark.parametrize("order", list(itertools.permutations(range(4)))[::5])
    async def test_repeats_and_reordering_yield_the_same_message(
        self, timeline: Timeline, order: tuple[int, ...]
    ) -> None:
        events = (BACK, SENT, DELIVERED, REFUSED)
        for index in (*order, *reversed(order)):
            await tell(timeline, events[index])
        (message,) = await timeline.messages(search(message=MESSAGE))
        assert [(t.attempt, t.was, t.status) for t in message.transitions] == [
            (1, Status.SENDING, Status.PENDING),
            (2, Status.SENDING, Status.SENT),
        ]
        assert [r.kind for r in message.receipts] == [ReceiptKind.DELIVERED]
        assert [r.text for r in message.rejections] == ["slow down <address>"]
        assert (message.communication, message.subject, message.recipient) == ("parcel-shipped", "A-1042", KIM)
        assert (message.latest.provider_ref, message.latest.locale, message.latest.sender) == ("p-1", "de", 3)

    async def test_a_message_is_found_by_every_search_key(self, timeline: Timeline) -> None:
        await timeline.record_messages([SENT])
        ways: list[dict[str, Any]] = [
            {"recipient": KIM},
            {"subject": "A-1042"},
            {"subject": "A-1042", "recipient": KIM},
            {"message": MESSAGE},
            {"notifications": (NOTIFICATION,)},
            {"causes": (CAUSE,)},
            {"address_key": address_key(b"h" * 32)},
            {"recipient": KIM, "communication": "parcel-shipped"},
        ]
        for way in ways:
            assert [m.id for m in await timeline.messages(search(**way))] == [MESSAGE], way
            for stranger in STRANGERS:
                assert await timeline.messages(search(**way, **stranger)) == [], (way, stranger)
        misses: list[dict[str, Any]] = [
            {"recipient": "customer:2"},
            {"subject": "A-1"},
            {"subject": "A-1042", "recipient": "customer:2"},
            {"recipient": KIM, "communication": "order-confirmation"},
            {"address_key": 7},
            {},
        ]
        for miss in misses:
            assert await timeline.messages(search(**miss)) == [], miss

    async def test_pages_run_from_newest_to_oldest(self, timeline: Timeline) -> None:
        causes = [first_id_at(NOON + timedelta(hours=hour)) for hour in range(6)]
        await timeline.record_messages(
            [recorded(moved(Status.SENDING, Status.SENT, cause=c), cause=c, request=uuid4()) for c in causes]
        )
        first = await timeline.messages(search(recipient=KIM, limit=4))
        rest = await timeline.messages(search(recipient=KIM, limit=4, before=first[-1].notification_id))
        assert [m.cause_id for m in first + rest] == list(reversed(causes))

    async def test_a_chunk_of_five_hundred_is_stored_once_when_repeated(self, timeline: Timeline) -> None:
        transitions = [moved(Status.SENDING, Status.SENT, recipient=f"customer:{n}") for n in range(500)]
        await timeline.record_messages([recorded(*transitions), recorded(*transitions)])
        assert len(await timeline.messages(search(causes=(CAUSE,), limit=1_000))) == 500

    async def test_a_partly_repeated_batch_adds_only_its_new_messages(self, timeline: Timeline) -> None:
        whose = [f"customer:{n}" for n in range(4)]
        told = [recorded(moved(Status.SENDING, Status.SENT, recipient=key), request=uuid4()) for key in whose]
        await timeline.record_messages(told[:2])
        await timeline.record_messages(told[1:])
        found = await timeline.messages(search(causes=(CAUSE,)))
        assert {message.recipient for message in found} == set(whose)
        assert {len(message.transitions) for message in found} == {1}

    async def test_a_recipient_who_returns_after_erasure_is_found(self, timeline: Timeline) -> None:
        await timeline.forget([(1, Mode.LIVE, KIM, NOON - timedelta(hours=1))])
        await timeline.record_messages([SENT])
        assert len(await timeline.messages(search(recipient=KIM))) == 1

    async def test_erasure_removes_the_recipient_from_earlier_and_late_messages(self, timeline: Timeline) -> None:
        gone = [(1, Mode.LIVE, KIM, NOON + timedelta(hours=1))]
        receipt = msgspec.structs.replace(DELIVERED.data.receipts[0], detail="Kim has moved")
        data = msgspec.structs.replace(DELIVERED.data, receipts=(receipt,))
        await timeline.record_messages([BACK])
        await timeline.record_receipts([msgspec.structs.replace(DELIVERED, data=data)])
        await timeline.record_rejections([REFUSED])
        await timeline.forget(gone)
        await timeline.record_messages([SENT])
        assert await timeline.messages(search(recipient=KIM)) == []
        assert await timeline.messages(search(address_key=address_key(b"h" * 32))) == []
        (message,) = await timeline.messages(search(message=MESSAGE))
        assert (message.recipient, message.address_key, len(message.transitions)) == (None, None, 2)
        assert ([r.text for r in message.rejections], [r.detail for r in message.receipts]) == ([""], [None])

    async def test_what_providers_said_is_not_kept_if_it_arrives_after_the_erasure(self, timeline: Timeline) -> None:
        await timeline.record_messages([SENT])
        await timeline.forget([(1, Mode.LIVE, KIM, NOON + timedelta(hours=1))])
        await timeline.record_rejections([REFUSED])
        said = DELIVERED.data.receipts[0]
        # in flight with the name, or published after delivery had erased it
        for number, change in enumerate(({"recipient": KIM}, {"recipient": None, "erased": True})):
            receipt = msgspec.structs.replace(said, provider_event_id=f"e-{number}", detail="Kim has moved", **change)
            data = msgspec.structs.replace(DELIVERED.data, receipts=(receipt,))
            await timeline.record_receipts([msgspec.structs.replace(DELIVERED, data=data)])
        (message,) = await timeline.messages(search(message=MESSAGE))
        assert [r.text for r in message.rejections] == [""]
        assert [r.detail for r in message.receipts] == [None, None]

    async def test_early_receipts_and_rejections_create_no_message(self, timeline: Timeline) -> None:
        await timeline.record_receipts([DELIVERED])
        await timeline.record_rejections([REFUSED])
        assert await timeline.messages(search(message=MESSAGE)) == []
        assert await timeline.messages(search(recipient=KIM)) == []
        await timeline.record_messages([SENT])
        (message,) = await timeline.messages(search(message=MESSAGE))
        assert (len(message.receipts), len(message.rejections)) == (1, 1)


class AuditPromises:
    async def test_decisions_are_found_and_stored_once(self, audit: Audit) -> None:
        requested = Decision(
            communication="parcel-shipped", outcome="requested", recipient=KIM, notification_id=NOTIFICATION
        )
        envelope = decided(requested, Decision(communication="gift", outcome="condition_false"))
        await audit.record_decisions([envelope])
        await audit.record_decisions([envelope])
        ways: list[dict[str, Any]] = [{"subject": "A-1042"}, {"event_id": "e-1"}, {"causes": (CAUSE,)}]
        for way in ways:
            found = await audit.decisions(search(**way))
            assert [(d.communication, d.reason) for d in found] == [
                ("parcel-shipped", Reason.NONE),
                ("gift", Reason.CONDITION_FALSE),
            ]
        for way in [*ways, {"recipient": KIM}]:
            for stranger in STRANGERS:
                assert await audit.decisions(search(**way, **stranger)) == [], (way, stranger)
        (mine,) = await audit.decisions(search(recipient=KIM))
        assert (mine.notification_id, mine.event_type, mine.event_source) == (NOTIFICATION, "parcel.shipped", "shop")

    async def test_of_an_event_with_many_recipients_only_what_concerns_the_one_asked_about_is_found(
        self, audit: Audit
    ) -> None:
        others = [Decision(communication="gift", outcome="requested", recipient=f"customer:{n}") for n in range(20)]
        last = Decision(communication="gift", outcome="requested", recipient=KIM, notification_id=NOTIFICATION)
        nobody = Decision(communication="parcel-shipped", outcome="condition_false")
        await audit.record_decisions([decided(*others, last, nobody)])
        ways: list[dict[str, Any]] = [{"subject": "A-1042"}, {"event_id": "e-1"}, {"causes": (CAUSE,)}]
        for way in ways:
            found = await audit.decisions(search(**way, recipient=KIM, limit=2))
            assert [(d.communication, d.recipient) for d in found] == [("gift", KIM), ("parcel-shipped", None)], way
            assert len(await audit.decisions(search(**way))) == 22, way

    async def test_an_event_without_a_communication_is_recorded_as_a_decision(self, audit: Audit) -> None:
        await audit.record_decisions([decided()])
        (found,) = await audit.decisions(search(event_id="e-1"))
        assert (found.reason, found.communication) == (Reason.NO_COMMUNICATION, None)

    async def test_an_unknown_reason_from_a_newer_publisher_is_preserved_as_internal(self, audit: Audit) -> None:
        await audit.record_decisions([decided(Decision(communication="c", outcome="brand_new", recipient=KIM))])
        (found,) = await audit.decisions(search(recipient=KIM))
        assert found.reason is Reason.INTERNAL

    async def test_documents_are_found_and_stored_once(self, audit: Audit) -> None:
        document = document_of(bounced())
        await audit.record_documents([document])
        await audit.record_documents([document])
        ways: list[dict[str, Any]] = [
            {"recipient": KIM},
            {"message": f"other.1,{MESSAGE}"},
            {"address_key": address_key(b"h" * 32)},
        ]
        for way in ways:
            assert [d.id for d in await audit.documents(search(**way))] == [document.id], way
            for stranger in STRANGERS:
                assert await audit.documents(search(**way, **stranger)) == [], (way, stranger)
        assert (await audit.documents(search(recipient=KIM)))[0].body["category"] == "unknown-user"

    async def test_actions_are_listed_newest_first_and_filtered(self, audit: Audit) -> None:
        for hour in range(4):
            event = ActionRecorded(
                actor=f"key{hour % 2}", action="hold.place", object=f"cause {hour}", at=NOON + timedelta(hours=hour)
            )
            await audit.record_documents([document_of(heard(event))])
        await audit.record_documents([document_of(bounced())])
        everything = await audit.actions(ActionSearch(1, Mode.LIVE, 10))
        assert [d.object for d in everything] == ["cause 3", "cause 2", "cause 1", "cause 0"]
        after = (everything[1].at, everything[1].id)
        assert [d.object for d in await audit.actions(ActionSearch(1, Mode.LIVE, 10, after=after))] == [
            "cause 1",
            "cause 0",
        ]
        assert len(await audit.actions(ActionSearch(1, Mode.LIVE, 10, actor="key1"))) == 2
        for stranger in STRANGERS:
            realm = (stranger.get("tenant", 1), stranger.get("mode", Mode.LIVE), 10)
            for about in (None, "cause 3"):
                assert await audit.actions(ActionSearch(*realm, object=about)) == []

    async def test_erasure_removes_the_recipient_from_earlier_and_late_documents(self, audit: Audit) -> None:
        decision = decided(Decision(communication="c", outcome="requested", recipient=KIM, detail="for Kim"))
        await audit.record_documents([document_of(bounced())])
        await audit.forget([(1, Mode.LIVE, KIM, NOON + timedelta(hours=1))])
        await audit.record_decisions([decision])
        await audit.record_documents([document_of(bounced())])
        assert await audit.decisions(search(recipient=KIM)) == []
        assert await audit.documents(search(recipient=KIM)) == []
        (kept,) = await audit.decisions(search(event_id="e-1"))
        assert (kept.recipient, kept.detail) == (None, None)

    async def test_the_erasures_own_action_names_nobody_whichever_comes_first(self, audit: Audit) -> None:
        """`tokens` publishes both in one transaction; the bus may deliver them in any order."""
        at = NOON + timedelta(hours=1)
        act = ActionRecorded(actor="key1", action="recipient.erase", object=KIM, at=at, before={"locale": "de"})
        await audit.record_documents([document_of(heard(act))])
        await audit.forget([(1, Mode.LIVE, KIM, at)])
        await audit.record_documents([document_of(heard(act))])
        later = msgspec.structs.replace(act, action="recipient.create", at=at + timedelta(days=1))  # she came back
        await audit.record_documents([document_of(heard(later))])
        found = await audit.actions(ActionSearch(1, Mode.LIVE, 10))
        assert [(d.action, d.object, bool(d.body.get("before"))) for d in found] == [
            ("recipient.create", KIM, True),
            ("recipient.erase", None, False),
            ("recipient.erase", None, False),
        ]
