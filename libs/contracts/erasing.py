"""Events without what names an erased recipient: for what is stored of them, and for those that arrive late."""

from collections.abc import Hashable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from libs.contracts.audit import ActionRecorded
from libs.contracts.delivery import MessageRecorded, MessageRejected, NotificationRequested, ReceiptRecorded
from libs.contracts.envelope import Event
from libs.contracts.orders_notification import DecisionRecorded
from libs.contracts.tokens import RecipientErased
from libs.ids import parse_message_id, time_of

_ENTRIES: Mapping[type[Event], str] = {
    NotificationRequested: "recipients",
    MessageRecorded: "transitions",
    MessageRejected: "rejections",
    ReceiptRecorded: "receipts",
    DecisionRecorded: "decisions",
}
# What is removed from an entry about an erased recipient; codes, times and keyed hashes stay.
_PERSONAL = frozenset(
    {"recipient", "key", "object", "variables", "text", "detail", "note", "domain", "before", "after"}
)

E = TypeVar("E", bound=Event)
Who = TypeVar("Who", bound=Hashable)
Owner = tuple[int, int, str]  # tenant, mode, recipient's key


def is_gone(erased: Mapping[Who, datetime], who: Who | None, began: datetime) -> bool:
    """Whether an erasure covers what began then. Whoever comes back afterwards is somebody new."""
    at = None if who is None else erased.get(who)
    return at is not None and began <= at


def recipients_of(event: Event) -> set[str]:
    """Return the keys of all recipients that the event is about."""
    return {name for entry in _entries(event) if (name := _name(entry))}


def nameless(event: E, erased: Mapping[str, datetime]) -> E:
    """Return the event without names and words about these recipients (key → when erased), as far as it began before.

    An erased recipient of a request keeps its place, with an empty key: the account still adds up. An erasure itself
    stays as it is, because it is still to be carried out."""
    if isinstance(event, RecipientErased):
        return event
    field = _ENTRIES.get(type(event))
    if field is None:
        return _blank(event) if _is_about(event, event, erased) else event
    entries = getattr(event, field)
    changed: dict[str, Any] = {
        field: tuple(_blank(entry) if _is_about(entry, event, erased) else entry for entry in entries)
    }
    if isinstance(event, NotificationRequested) and not any(entry.key for entry in changed[field]):
        changed["event"] = {}  # the shared variables go with the last recipient
    return msgspec.structs.replace(event, **changed)


def _entries(event: Event) -> Iterator[Any]:
    field = _ENTRIES.get(type(event))
    yield from (event,) if field is None else getattr(event, field)


def _name(entry: Any) -> str | None:
    name: str | None = (
        entry.object if isinstance(entry, ActionRecorded) else getattr(entry, "recipient", getattr(entry, "key", None))
    )
    return name


def _is_about(entry: Any, event: Event, erased: Mapping[str, datetime]) -> bool:
    name = _name(entry)
    return name in erased and is_gone(erased, name, began(event, entry))


def began(event: Any, entry: Any = None) -> datetime:
    """Return when the cause of an event, or of one of its entries, was accepted, else when it happened itself."""
    entry = event if entry is None else entry
    if (cause := getattr(event, "cause_id", None)) is not None:
        return time_of(cause)
    if message := getattr(entry, "message", None) or getattr(entry, "message_id", None):
        with suppress(ValueError):
            return time_of(parse_message_id(message)[0])
    at: datetime = entry.at
    return at


def _blank(entry: Any) -> Any:
    fields = (field for field in msgspec.structs.fields(entry) if field.name in _PERSONAL)
    return msgspec.structs.replace(
        entry, **{f.name: "" if f.default is msgspec.NODEFAULT else f.default for f in fields}
    )
