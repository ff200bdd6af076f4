"""The audit's indices: one per month, named after the event's time, with a mapping that rejects unknown fields."""

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
        "at_us": _LONG,  # Unix microseconds: pages sort by it, because a date has only milliseconds
        "began_us": _LONG,  # when the message's cause was received: an erasure covers what began before it
        "address_key": _LONG,
        "detail": {"type": "text"},
        "body": {"type": "object", "enabled": False},  # stored, not indexed: as many fields as there are event types
    },
}
MARKS: dict[str, Any] = {"dynamic": "strict", "properties": {"at_us": _LONG}}


def templates(prefix: str) -> dict[str, dict[str, Any]]:
    """Return the index templates by name: for the monthly indices, and for the erasures' marks."""
    return {
        prefix: _template(f"{prefix}-2*", MAPPING, "The audit: what happened to every message, a month an index."),
        f"{prefix}-erased": _template(f"{prefix}-erased", MARKS, "Who was erased, and when: no names."),
    }


def _template(pattern: str, mapping: dict[str, Any], description: str) -> dict[str, Any]:
    meta = {"description": description, "managed_by": "depesche history"}
    return {"index_patterns": [pattern], "template": {"mappings": mapping}, "_meta": meta}


def month_of(prefix: str, moment: datetime) -> str:
    """Return the index of a moment (UTC): the same for every delivery of an event."""
    return f"{prefix}-{moment:%Y.%m}"


def outdated(indices: list[str], prefix: str, today: datetime, retention_days: int) -> list[str]:
    """Return the months that ended before the retention period."""
    oldest = month_of(prefix, today - timedelta(days=retention_days))
    return sorted(index for index in indices if index < oldest)
