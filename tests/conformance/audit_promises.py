"""What audit search promises on every store: the same records and the same counts."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import msgspec
import pytest

from libs.contracts.audit import ActionRecorded
from libs.contracts.bounce import SuppressionChanged
from libs.contracts.delivery import Receipt, ReceiptRecorded
from libs.contracts.envelope import Envelope
from libs.contracts.orders_notification import Decision
from libs.contracts.outcomes import Mode, Status
from libs.contracts.reasons import Reason
from libs.errors import Invalid
from libs.ids import first_id_at, uuid7
from services.history.domain.documents import document_of
from services.history.domain.facts import address_key
from services.history.domain.records import Record
from services.history.domain.search import AuditSearch, Grouping, terms_of
from services.history.ports import Audit
from tests.conformance.history_events import (
    BACK,
    CAUSE,
    KIM,
    MESSAGE,
    NOON,
    NOTIFICATION,
    REFUSED,
    RELEASE,
    SENT,
    bounced,
    decided,
    heard,
    moved,
    recorded,
)

DAY = timedelta(days=1)
REQUESTED = Decision(communication="parcel-shipped", outcome="requested", recipient=KIM, notification_id=NOTIFICATION)
REFUSAL = Decision(
    communication="gift", outcome="condition_false", recipient="customer:2", detail="event.data.total > 5"
)
FAILED = recorded(
    moved(
        Status.SENDING,
        Status.FAILED,
        reason=Reason.ADDRESS_INVALID,
        recipient="customer:7",
        detail="5.1.1 no such user",
    ),
    request=uuid4(),
)
PLACED = ActionRecorded(
    actor="key1", action="hold.place", object="cause 9", at=NOON + timedelta(hours=2), note="wrong price"
)
BARRED = SuppressionChanged(
    suppression_id=uuid4(),
    address_hash=b"h" * 32,
    scope="all",
    reason="suppressed_bounce",
    active=True,
    version=1,
    at=NOON,
)


async def tell_all(audit: Audit) -> None:
    """Record one event of every kind, each twice."""
    for _ in range(2):
        await audit.record_decisions([DECIDED])
        await audit.record_messages([BACK, SENT, FAILED])
        await audit.record_receipts([heard(ReceiptRecorded(receipts=(CAME,)))])
        await audit.record_rejections([REFUSED])
        await audit.record_documents([document_of(event) for event in OTHERS])


CAME = Receipt(
    provider="p", provider_event_id="e1", message=MESSAGE, attempt=2, kind="delivered", at=NOON, recipient=KIM
)
DECIDED = decided(REQUESTED, REFUSAL)
OTHERS: Sequence[Envelope] = (bounced(), heard(PLACED), heard(BARRED))


def asked(q: str | None = None, **filters: Any) -> AuditSearch:
    tenant, mode = filters.pop("tenant", 1), filters.pop("mode", Mode.LIVE)
    since, until = filters.pop("since", NOON - DAY), filters.pop("until", NOON + DAY)
    wanted = {name: value if isinstance(value, tuple) else (value,) for name, value in filters.items()}
    return AuditSearch(tenant, mode, since, until, wanted, terms_of(q))


async def every(audit: Audit, wanted: AuditSearch, limit: int = 100) -> list[Record]:
    page = await audit.search(wanted, limit)
    assert page.after is None
    return page.records


async def kinds(audit: Audit, wanted: AuditSearch) -> list[str]:
    return sorted(record.kind for record in await every(audit, wanted))


FOUND: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["decision"] * 2 + ["document"] * 3 + ["receipt", "rejection"] + ["transition"] * 3),
    ({"kind": ("receipt", "rejection")}, ["receipt", "rejection"]),
    ({"type": "message.recorded"}, ["transition"] * 3),
    ({"type": "bounce.classified"}, ["document"]),
    ({"status": "sent"}, ["transition"]),
    ({"status": ("sent", "failed")}, ["transition"] * 2),
    ({"status": "nonsense"}, []),
    ({"was": "sending", "status": "pending"}, ["transition"]),
    ({"reason": "requested"}, ["decision"]),
    ({"reason": ("condition_false", "address_invalid", "suppressed_bounce")}, ["decision", "document", "transition"]),
    ({"channel": "push"}, ["rejection"] + ["transition"] * 3),
    ({"channel": "push", "status": "failed"}, ["transition"]),
    ({"communication": "parcel-shipped"}, ["decision"] + ["transition"] * 3),
    ({"communication": "nobody-knows-it"}, []),
    ({"cause": str(CAUSE)}, ["decision"] * 2 + ["transition"] * 3),
    ({"release": str(RELEASE)}, ["transition"] * 3),
    ({"notification": str(NOTIFICATION)}, ["decision", "receipt", "rejection"] + ["transition"] * 2),
    ({"message": MESSAGE}, ["document", "receipt", "rejection"] + ["transition"] * 2),
    ({"subject": "A-1042"}, ["decision"] * 2 + ["document"] * 3 + ["receipt", "rejection"] + ["transition"] * 3),
    ({"subject": "A-1042", "kind": "transition"}, ["transition"] * 3),
    ({"recipient": KIM}, ["decision", "document", "receipt", "rejection"] + ["transition"] * 2),
    ({"recipient": (KIM, "customer:7"), "status": ("failed", "sent")}, ["transition"] * 2),
    ({"sender": 3}, ["rejection"] + ["transition"] * 3),
    ({"attempt": 1}, ["rejection"] + ["transition"] * 2),
    ({"locale": "de"}, ["transition"]),
    ({"provider": "p"}, ["receipt"]),
    ({"receipt": "delivered"}, ["receipt"]),
    ({"reply_code": 429}, ["rejection"]),
    ({"final": False}, ["rejection"]),
    ({"category": "unknown-user", "group": "hard"}, ["document"]),
    ({"scope": "all", "active": True}, ["document"]),
    ({"event_id": "e-1"}, ["decision"] * 2),
    ({"event_type": "parcel.shipped", "event_source": "shop"}, ["decision"] * 2),
    ({"actor": "key1", "action": "hold.place", "object": "cause 9"}, ["document"]),
    ({"address_key": address_key(b"h" * 32), "kind": "document"}, ["document"] * 2),
    ({"tenant": 2}, []),
    ({"mode": Mode.TEST}, []),
    ({"since": NOON + timedelta(hours=1)}, ["document"]),
    ({"until": NOON}, []),
    ({"q": "such user"}, ["transition"]),
    ({"q": '"no such user"'}, ["transition"]),
    ({"q": '"user such"'}, []),
    ({"q": "SLOW"}, ["rejection"]),
    ({"q": "5.1.1"}, ["transition"]),
    ({"q": "customer:7"}, ["transition"]),
    ({"q": "slow kim@example.com"}, []),
    ({"q": "slow -down"}, []),
    ({"q": "-slow", "kind": "rejection"}, []),
    ({"q": "-slow", "kind": ("rejection", "receipt")}, ["receipt"]),
    ({"q": "slo*"}, []),
    ({"q": "detail:slow"}, []),
    ({"q": "wrong price"}, ["document"]),
    ({"q": "total OR slow"}, []),
]


class AuditSearchPromises:
    async def test_each_filter_finds_exactly_its_records(self, audit: Audit) -> None:
        await tell_all(audit)
        missed = [(way, found) for way, expected in FOUND if (found := await kinds(audit, asked(**way))) != expected]
        assert not missed, missed

    async def test_a_record_carries_every_field_of_its_event(self, audit: Audit) -> None:
        await tell_all(audit)
        (sent,) = await every(audit, asked(status="sent"))
        assert (sent.message, sent.notification, sent.cause, sent.release) == (MESSAGE, NOTIFICATION, CAUSE, RELEASE)
        assert (sent.at, sent.attempt, sent.was, sent.reason) == (NOON + timedelta(seconds=2), 2, "sending", None)
        assert (sent.channel, sent.sender, sent.locale, sent.provider_ref) == ("push", 3, "de", "p-1")
        assert (sent.recipient, sent.subject, sent.communication) == (KIM, "A-1042", "parcel-shipped")
        (refused,) = await every(audit, asked(kind="rejection"))
        assert (refused.detail, refused.reply_code, refused.final) == ("slow down <address>", 429, False)
        (refusal,) = await every(audit, asked(reason="condition_false"))
        assert (refusal.communication, refusal.event_id, refusal.detail) == ("gift", "e-1", "event.data.total > 5")
        assert refusal.at == NOON
        (bounce,) = await every(audit, asked(type="bounce.classified"))
        assert (bounce.category, bounce.group, bounce.origin, bounce.message) == (
            "unknown-user",
            "hard",
            "mail",
            MESSAGE,
        )
        (barred,) = await every(audit, asked(type="suppression.changed"))
        assert (barred.reason, barred.scope, barred.active) == ("suppressed_bounce", "all", True)
        (placed,) = await every(audit, asked(action="hold.place"))
        assert (placed.body["note"], placed.detail, placed.id) == ("wrong price", "wrong price", str(OTHERS[1].id))

    async def test_pagination_is_stable_while_records_arrive(self, audit: Audit) -> None:
        await _tell_moves(audit, 0, 120)
        wanted = asked(kind="transition", until=NOON + 30 * DAY)
        page = await audit.search(wanted, 50)
        found = page.records
        while page.after is not None:
            await _tell_moves(audit, len(found) + 200, 5)
            page = await audit.search(wanted, 50, page.after)
            found += page.records
        assert [record.at for record in found] == sorted((record.at for record in found), reverse=True)
        assert len({record.id for record in found}) == len(found) == 120
        assert len((await audit.search(wanted, 200)).records) == 130

    async def test_pagination_separates_records_with_equal_timestamps(self, audit: Audit) -> None:
        await audit.record_messages(
            [recorded(*(moved(Status.SENDING, Status.SENT, recipient=f"c:{n}") for n in range(7)))]
        )
        page = await audit.search(asked(), 2)
        ids = [record.id for record in page.records]
        while page.after is not None:
            page = await audit.search(asked(), 2, page.after)
            ids += [record.id for record in page.records]
        assert len(set(ids)) == len(ids) == 7

    @pytest.mark.parametrize(
        "after", [[], ["x"], [1, 2, 3], ["nonsense", 1, "x", None], ["x", "y", "z"], [None, {}, []]]
    )
    async def test_a_malformed_cursor_is_rejected(self, audit: Audit, after: list[Any]) -> None:
        await tell_all(audit)
        with pytest.raises(Invalid, match="start over"):
            await audit.search(asked(), 2, after)

    @pytest.mark.parametrize(
        ("by", "expected"),
        [
            (("status",), [("failed", 1), ("pending", 1), ("sent", 1)]),
            (("reason",), [
                (word, 1)
                for word in ("address_invalid", "condition_false", "requested", "suppressed_bounce", "throttled")
            ]),
            (("channel",), [("push", 4)]),
            (("communication",), [("parcel-shipped", 4), ("gift", 1)]),
            (("type",), [
                ("message.recorded", 3), ("decision.recorded", 2), ("action.recorded", 1), ("bounce.classified", 1),
                ("message.rejected", 1), ("receipt.recorded", 1), ("suppression.changed", 1),
            ]),
            (("kind", "channel"), [("transition", "push", 3), ("rejection", "push", 1)]),
            (("sender", "status"), [(3, "failed", 1), (3, "pending", 1), (3, "sent", 1)]),
        ],
    )  # fmt: skip
    async def test_records_are_counted_by_group(
        self, audit: Audit, by: tuple[str, ...], expected: list[tuple[Any, ...]]
    ) -> None:
        await tell_all(audit)
        groups = await audit.counts(asked(), Grouping(by, ZoneInfo("UTC")))
        assert [(*group.values, group.count) for group in groups] == expected

    async def test_days_follow_the_time_zone_and_are_ordered(self, audit: Audit) -> None:
        # 22:30 and 23:30 UTC on the day before the clocks change: in Berlin the second falls on the next day
        late = datetime(2027, 3, 27, 22, 30, tzinfo=UTC)
        for hours in (0, 1, 2):
            await _move_at(audit, late + timedelta(hours=hours))
        wanted = asked(since=late - DAY, until=late + DAY)
        days = await audit.counts(wanted, Grouping(("day",), ZoneInfo("Europe/Berlin")))
        midnight = datetime(2027, 3, 27, 23, tzinfo=UTC)
        assert [(*group.values, group.count) for group in days] == [(midnight - DAY, 1), (midnight, 2)]
        hours = await audit.counts(wanted, Grouping(("status", "hour"), ZoneInfo("UTC")))
        assert [(*group.values, group.count) for group in hours] == [
            ("sent", late.replace(minute=0) + timedelta(hours=n), 1) for n in range(3)
        ]

    async def test_thousands_of_groups_are_counted_exactly(self, audit: Audit) -> None:
        events = [heard(ActionRecorded(actor=f"key{n % 2_500}", action="a", object="o", at=NOON)) for n in range(5_000)]
        await audit.record_documents([document_of(event) for event in events])
        groups = await audit.counts(asked(), Grouping(("actor",), ZoneInfo("UTC")))
        assert (len(groups), {group.count for group in groups}) == (2_500, {2})

    async def test_erased_recipients_are_not_found_but_still_counted(self, audit: Audit) -> None:
        await tell_all(audit)
        await audit.forget([(1, Mode.LIVE, KIM, NOON + timedelta(hours=1))])
        await tell_all(audit)
        assert await kinds(audit, asked(recipient=KIM)) == []
        assert await kinds(audit, asked(q="slow", kind="rejection")) == []
        (sent,) = await every(audit, asked(status="sent"))
        assert (sent.recipient, sent.address_key, sent.communication) == (None, None, "parcel-shipped")
        (bounce,) = await every(audit, asked(category="unknown-user"))
        assert (bounce.recipient, bounce.object, bounce.group) == (None, None, "hard")

    async def test_a_message_in_flight_at_erasure_is_stored_without_recipient(self, audit: Audit) -> None:
        await audit.forget([(1, Mode.LIVE, KIM, NOON + timedelta(milliseconds=1))])
        await audit.record_messages([SENT])
        (sent,) = await every(audit, asked())
        assert (sent.at > NOON + timedelta(milliseconds=1), sent.recipient) == (True, None)


async def _tell_moves(audit: Audit, first: int, count: int) -> None:
    for number in range(first, first + count):
        await _move_at(audit, NOON + timedelta(minutes=7 * number))


async def _move_at(audit: Audit, at: datetime) -> None:
    cause = first_id_at(at)
    transition = moved(Status.SENDING, Status.SENT, cause=cause, address_id=at.minute + 1)
    event = recorded(msgspec.structs.replace(transition, at=at), cause=cause, request=uuid7())
    await audit.record_messages([event])
