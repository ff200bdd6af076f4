"""The audit's indices: a month each, named after the event's time, with a mapping that lets nothing else in."""

from datetime import datetime, timedelta
from typing import Any

_WORD, _SMALL, _LONG = {"type": "keyword"}, {"type": "short"}, {"type": "long"}
_WORDS = (
    "kind id type mode subject recipient message actor action object "
    "cause event_id event_type event_source reason communication notification"
).split()
MAPPING: dict[str, Any] = {
    "dynamic": "strict",
    "properties": dict.fromkeys(_WORDS, _WORD)
    | {
        "at": {"type": "date"},
        "at_us": _LONG,  # Unix microseconds: pages go by it, and a date has milliseconds
        "tenant": _SMALL,
        "ordinal": _SMALL,
        "address_key": _LONG,
        "detail": {"type": "text"},
        "body": {"type": "object", "enabled": False},  # kept, not searched: as many fields as there are event types
    },
}
MARKS: dict[str, Any] = {"dynamic": "strict", "properties": {"at_us": _LONG}}


def template(prefix: str) -> dict[str, Any]:
    """The index template of all months."""
    return {"index_patterns": [f"{prefix}-2*"], "template": {"mappings": MAPPING}}


def template_of_marks(prefix: str) -> dict[str, Any]:
    """The index template of the erasures' marks."""
    return {"index_patterns": [f"{prefix}-erased"], "template": {"mappings": MARKS}}


def month_of(prefix: str, moment: datetime) -> str:
    """The index of a moment (UTC): the same for every delivery of an event."""
    return f"{prefix}-{moment:%Y.%m}"


def outdated(indices: list[str], prefix: str, today: datetime, retention_days: int) -> list[str]:
    """The months that ended before the retention began."""
    oldest = month_of(prefix, today - timedelta(days=retention_days))
    return sorted(index for index in indices if index < oldest)
