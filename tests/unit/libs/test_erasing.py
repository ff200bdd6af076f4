"""Events without an erased recipient: nothing that names or describes the person is left, and nothing else is lost."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest

from libs.contracts.delivery import NotificationRequested
from libs.contracts.envelope import EVENTS, Event, decode, encode
from libs.contracts.erasing import nameless, recipients_of
from libs.contracts.tokens import RecipientErased

GOLDEN = Path(__file__).parents[2] / "contracts" / "golden"
KEY, OTHER = "customer:planted", "customer:other"
LATER = datetime(2100, 1, 1, tzinfo=UTC)
NAMES = ("recipient", "key", "object")
WORDS = ("text", "detail", "note", "domain", "variables", "before", "after")
ABOUT = {"recipient.changed", "recipient.erased", "device.retired", "bounce.classified", "suppression.changed",
         "action.recorded"}  # fmt: skip
LISTS = {"notification.requested": "recipients", "message.recorded": "transitions", "message.rejected": "rejections",
         "receipt.recorded": "receipts", "decision.recorded": "decisions"}  # fmt: skip
# Codes, numbers and names of our own things: they tell nobody who it was.
TELLS_NOBODY = {
    "communication", "cause_kind", "lane", "on_unknown", "was", "is_", "reason", "channel", "locale", "provider_ref",
    "enhanced_code", "error", "from_domain", "provider", "provider_event_id", "message", "message_id", "kind",
    "vendor_class", "vendor_category", "outcome", "event_id", "event_type", "event_source", "category", "group",
    "origin", "scope", "actor", "action", "fields", "why",
}  # fmt: skip


PEOPLE = [event for event in EVENTS.values() if event.TYPE in ABOUT | set(LISTS)]


def planted(event: type[Event]) -> dict[str, Any]:
    """The golden event, about our person in every place that can be."""
    raw: dict[str, Any] = json.loads((GOLDEN / f"{event.topic()}.json").read_text(encoding="utf-8"))
    entries = raw[LISTS[event.TYPE]] if event.TYPE in LISTS else [raw]
    known = entry_of(event).__struct_fields__
    for entry in entries:
        entry |= {name: KEY for name in NAMES if name in known}
        for name in WORDS:
            if name in known:
                entry[name] = {"n": "planted"} if name in ("variables", "before", "after") else "planted words"
    return raw


def entry_of(event: type[Event]) -> Any:
    return get_args(get_type_hints(event)[LISTS[event.TYPE]])[0] if event.TYPE in LISTS else event


def holds_text(hint: Any) -> bool:
    if get_origin(hint) in (Union, UnionType, tuple):
        return any(holds_text(one) for one in get_args(hint))
    return hint is str or get_origin(hint) is dict


@pytest.mark.parametrize("event", PEOPLE, ids=lambda event: event.TYPE)
def test_nothing_of_an_erased_recipient_is_left(event: type[Event]) -> None:
    told = decode(event.TYPE, json.dumps(planted(event)).encode())
    assert recipients_of(told) == {KEY}
    rest = nameless(told, {KEY: LATER})
    if event is RecipientErased:
        assert rest == told  # it is still to be carried out
        return
    left = encode(rest)
    assert b"planted" not in left
    assert decode(event.TYPE, left) == rest


@pytest.mark.parametrize("event", PEOPLE, ids=lambda event: event.TYPE)
def test_what_began_after_the_erasure_or_is_about_others_stays(event: type[Event]) -> None:
    told = decode(event.TYPE, json.dumps(planted(event)).encode())
    assert nameless(told, {KEY: datetime(2000, 1, 1, tzinfo=UTC)}) == told
    assert nameless(told, {OTHER: LATER}) == told


@pytest.mark.parametrize("event", EVENTS.values(), ids=lambda event: event.TYPE)
def test_every_text_of_an_event_about_people_goes_or_is_known_to_tell_nobody(event: type[Event]) -> None:
    hints = get_type_hints(entry_of(event))
    texts = {name for name, hint in hints.items() if name in entry_of(event).__struct_fields__ and holds_text(hint)}
    if event in PEOPLE:
        assert texts - ({"event"} if event is NotificationRequested else set()) <= {*NAMES, *WORDS, *TELLS_NOBODY}
    else:
        assert "recipient" not in texts, "this event is about people: list it above"


def test_the_other_recipients_of_a_request_keep_their_places_and_the_event() -> None:
    raw = planted(NotificationRequested)
    first = raw["recipients"][0]
    raw["recipients"] = [first, first | {"key": OTHER, "variables": {"size": "9.50"}}]
    told: NotificationRequested = decode(NotificationRequested.TYPE, json.dumps(raw).encode())
    rest = nameless(told, {KEY: LATER})
    assert [(one.key, one.variables) for one in rest.recipients] == [("", None), (OTHER, {"size": "9.50"})]
    assert [one.notification_id for one in rest.recipients] == [one.notification_id for one in told.recipients]
    assert rest.event == told.event
    assert nameless(rest, {OTHER: LATER}).event == {}


def test_an_event_that_happened_in_the_moment_of_the_erasure_goes() -> None:
    told = decode("recipient.changed", json.dumps(planted(EVENTS["recipient.changed"])).encode())
    assert nameless(told, {KEY: told.at}) == msgspec.structs.replace(told, recipient="", note=None)
    assert nameless(told, {KEY: told.at - timedelta(microseconds=1)}) == told


@pytest.mark.parametrize("type_", LISTS)
def test_what_was_accepted_before_the_erasure_goes_however_late_it_is_reported(type_: str) -> None:
    """The golden events' cause is of November 2024, and what they report of March 2026."""
    told = decode(type_, json.dumps(planted(EVENTS[type_])).encode())
    between = datetime(2025, 6, 1, tzinfo=UTC)
    assert b"planted" not in encode(nameless(told, {KEY: between}))
