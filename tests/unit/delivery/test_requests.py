"""Accepting a request: what is refused, how it is sealed and erased, and how it is cut into chunks."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest

from libs.contracts.delivery import NotificationRequested, RequestedRecipient
from libs.contracts.envelope import Envelope
from libs.contracts.outcomes import Mode
from libs.errors import Invalid
from libs.ids import notification_id, request_id, uuid7
from libs.keyring import Keyring, NotOpenable
from libs.rendering import compile_release
from libs.rendering.contents import SmsContent
from libs.rendering.schema import RECIPIENT_FIELDS
from services.delivery.domain import bodies
from services.delivery.domain.bodies import Body
from services.delivery.domain.intake import chunks, new_request
from services.delivery.domain.planning import Recipient
from services.delivery.domain.variables import variables_of

KEYRING = Keyring(b"a root secret for tests, 32 bytes and more")
NOON = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)


def requested(count: int = 3, **changes: Any) -> Envelope:
    cause, release = uuid7(), uuid7()
    keys = changes.pop("keys", [f"customer:{n}" for n in range(count)])
    fields: dict[str, Any] = {
        "request_id": request_id(cause, release, 0),
        "cause_id": cause,
        "cause_kind": "event",
        "release_id": release,
        "communication": "c",
        "lane": "bulk",
        "on_unknown": "leave",
        "expires_at": NOON,
        "event": {"data": {"total": 19}},
        "recipients": tuple(
            RequestedRecipient(key=key, notification_id=notification_id(cause, "c", key), variables={"code": "7"})
            for key in keys
        ),
    }
    data = NotificationRequested(**(fields | changes))
    return Envelope(id=uuid7(), type="t", source="s", time=NOON, tenant=1, mode=Mode.LIVE, key="k", data=data)


def test_a_body_opens_only_for_its_own_request() -> None:
    request = new_request(requested(), KEYRING)
    body = Body(KEYRING, request.id, request.body)
    slot = body.slot(1)
    assert slot is not None
    assert (slot.recipient, slot.variables) == ("customer:1", {"code": "7"})
    assert slot.notification_id == request.command.recipients[1].notification_id
    assert body.event == {"data": {"total": 19}}
    assert b"customer:1" not in request.body
    with pytest.raises(NotOpenable):
        Body(KEYRING, UUID(int=1), request.body).slot(1)


@pytest.mark.parametrize("erased", [[0], [1, 19, 20], list(range(20, 40)), [44], list(range(44)), list(range(45))])
def test_erased_slots_are_empty_and_all_others_stay(erased: list[int]) -> None:
    request = new_request(requested(45), KEYRING)
    body = Body(KEYRING, request.id, request.body)
    for ordinal in erased:  # one at a time, as people ask for it, besides all at once
        body = Body(KEYRING, request.id, body.without([ordinal]))
    for left in (body, Body(KEYRING, request.id, Body(KEYRING, request.id, request.body).without(erased))):
        assert len(left) == 45
        slots = [left.slot(ordinal) for ordinal in range(45)]
        assert [slot and slot.recipient for slot in slots] == [
            None if ordinal in erased else f"customer:{ordinal}" for ordinal in range(45)
        ]
        assert (left.event is None) == (len(erased) == 45)
        assert [left.notification_id(ordinal) for ordinal in range(45)] == [
            one.notification_id for one in request.command.recipients
        ]


def somebody(**changes: Any) -> Recipient:
    fields: dict[str, Any] = {"id": 1, "first_name": "Ada", "last_name": None, "locale": "de-AT", "zone": None}
    return Recipient(**(fields | {"attributes": {}, "quiet_hours": None, "consents": {}, "addresses": []} | changes))


def seen_by_texts(recipient: Recipient, event: dict[str, Any]) -> dict[str, Any]:
    request = new_request(requested(1, event=event), KEYRING)
    body = Body(KEYRING, request.id, request.body)
    slot = body.slot(0)
    assert slot is not None
    return variables_of(body, slot, recipient, {})


def test_texts_see_every_field_of_the_recipient_that_publishing_allows() -> None:
    assert seen_by_texts(somebody(), {})["recipient"].keys() == RECIPIENT_FIELDS


@pytest.mark.parametrize(("zone", "reads"), [("Asia/Tokyo", "07:30"), ("Europe/Vienna", "23:30"), (None, "22:30")])
def test_a_message_that_is_sent_shows_the_recipients_time(zone: str | None, reads: str) -> None:
    text = "{{ event.data.at | date: '%H:%M' }}"
    templates = {"t": {"channel": "sms", "locales": {"de": {"text": text}}}}
    release = compile_release({"default_locale": "de", "templates": templates})
    seen = seen_by_texts(somebody(zone=zone), {"data": {"at": "2026-02-28T22:30:00Z"}})
    assert release.render("t", "de-AT", seen).content == SmsContent(reads)


def test_erasing_the_only_recipient_erases_the_event() -> None:
    alone = new_request(requested(1), KEYRING)
    assert Body(KEYRING, alone.id, Body(KEYRING, alone.id, alone.body).without([0])).event is None


def test_a_group_of_slots_opens_only_at_its_own_position() -> None:
    request = new_request(requested(40), KEYRING)
    event, notifications, groups, together = msgspec.msgpack.decode(request.body)
    swapped = msgspec.msgpack.encode((event, notifications, groups[::-1], together))
    with pytest.raises(NotOpenable):
        Body(KEYRING, request.id, swapped).slot(0)


def test_an_old_body_with_separately_sealed_slots_is_read_and_erased() -> None:
    request = new_request(requested(3), KEYRING)
    slots = [
        KEYRING.seal("seal", f'["customer:{n}",{{"code":"{n}"}}]'.encode(), request.id.bytes + n.to_bytes(4))
        for n in range(3)
    ]
    event, notifications, *_ = msgspec.msgpack.decode(request.body)
    before = Body(KEYRING, request.id, msgspec.msgpack.encode((event, notifications, [slots[0], b"", slots[2]])))
    assert before.slot(1) is None
    for body in (before, Body(KEYRING, request.id, before.without([1]))):
        slots = [body.slot(n) for n in range(3)]
        assert [slot and (slot.recipient, slot.variables) for slot in slots] == [
            ("customer:0", {"code": "0"}),
            None,
            ("customer:2", {"code": "2"}),
        ]
        assert body.event == {"data": {"total": 19}}
    assert Body(KEYRING, request.id, before.without([0])).slot(0) is None


def test_a_recipient_is_indexed_by_eight_keyed_bytes() -> None:
    request = new_request(requested(), KEYRING)
    sign = bodies.mark(KEYRING, 1, 1, "customer:2")
    assert request.marks[16:24] == sign
    assert bodies.mark(KEYRING, 2, 1, "customer:2") != sign


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"keys": ["customer:1", "customer:1"]}, "/recipients"),
        ({"recipients": ()}, "/recipients"),
        ({"request_id": uuid7()}, "/request_id"),
        ({"lane": "express"}, "/lane"),
        ({"on_unknown": "guess"}, "/on_unknown"),
        ({"expires_at": datetime(2027, 1, 1)}, "/expires_at"),  # noqa: DTZ001 - that is the fault
        ({"recipients": (RequestedRecipient(key="customer:1", notification_id=UUID(int=1 << 100)),)}, "/recipients"),
    ],
)
def test_an_invalid_command_is_refused_with_its_pointer(changes: dict[str, Any], pointer: str) -> None:
    with pytest.raises(Invalid) as refused:
        new_request(requested(**changes), KEYRING)
    assert pointer in {error.pointer for error in refused.value.errors}


@pytest.mark.parametrize(("lane", "count", "sizes"), [("bulk", 1000, [500, 500]), ("transactional", 45, [20, 20, 5])])
def test_a_request_is_cut_into_the_chunks_of_its_lane(lane: str, count: int, sizes: list[int]) -> None:
    request = new_request(requested(count, lane=lane), KEYRING)
    assert [len(chunk.ordinals) for chunk in chunks(request)] == sizes
