"""The audit's indices: a month each, named after the event's time, with a mapping that lets nothing else in."""

from datetime import datetime, timedelta
from typing import Any

from services.history.domain.search import IDS, TRUTHS, WORDS

_WORD, _SMALL, _LONG, _TRUTH = {"type": "keyword"}, {"type": "short"}, {"type": "long"}, {"type": "boolean"}
MAPPING: dict[str, Any] = {
    "dynamic": "strict",
    "properties": dict.fromkeys(("id", "mode", *WORDS, *IDS), _WORD)
    | dict.fromkeys(TRUTHS, _TRUTH)
    | dict.fromkeys(("tenant", "ordinal", "sender", "attempt", "reply_code"), _SMALL)
    | {
        "at": {"type": "date"},
        "at_us": _LONG,  # Unix microseconds: pages go by it, and a date has milliseconds
        "began_us": _LONG,  # when the message's cause was received: an erasure is about what began before it
        "address_key": _LONG,
        "detail": {"type": "text"},
        "body": {"type": "object", "enabled": False},  # kept, not searched: as many fields as there are event types
    },
}
MARKS: dict[str, Any] = {"dynamic": "strict", "properties": {"at_us": _LONG}}


def templates(prefix: str) -> dict[str, dict[str, Any]]:
    """The index templates by their names: of all months, and of the erasures' marks."""
    return {
        prefix: _template(f"{prefix}-2*", MAPPING, "The audit: what happened to every message, a month an index."),
        f"{prefix}-erased": _template(f"{prefix}-erased", MARKS, "Who was erased, and when: no names."),
    }


def _template(pattern: str, mapping: dict[str, Any], description: str) -> dict[str, Any]:
    meta = {"description": description, "managed_by": "depesche history"}
    return {"index_patterns": [pattern], "template": {"mappings": mapping}, "_meta": meta}


def month_of(prefix: str, moment: datetime) -> str:
    """The index of a moment (UTC): the same for every delivery of an event."""
    return f"{prefix}-{moment:%Y.%m}"


def outdated(indices: list[str], prefix: str, today: datetime, retention_days: int) -> list[str]:
    """The months that ended before the retention began."""
    oldest = month_of(prefix, today - timedelta(days=retention_days))
    return sorted(index for index in indices if index < oldest)
