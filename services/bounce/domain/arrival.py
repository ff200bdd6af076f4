"""Owns the arrival time of a mail that was stored elsewhere first: its facts count for that day, not for today."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_HEAD_BYTES = 32 * 1024
_END = re.compile(rb"\r?\n\r?\n")
# the first Received is the last server's own, and so more reliable than the sender's Date
_RECEIVED = re.compile(rb"^received:((?:[^\n]{0,1000}\n[ \t]){0,12}[^\n]{0,1000})", re.I | re.M)
_DATE = re.compile(rb"^date:([^\n]{0,200})", re.I | re.M)
_OLDEST = datetime(1990, 1, 1, tzinfo=UTC)


def arrived_at(raw: bytes, now: datetime) -> datetime:
    """Read it from the first Received, else from Date; `now` if neither has a plausible time."""
    head = raw[:_HEAD_BYTES]
    end = _END.search(head)
    head = head[: end.start()] if end else head
    received, date = _RECEIVED.search(head), _DATE.search(head)
    for said in (received[1].rpartition(b";")[2] if received else b"", date[1] if date else b""):
        at = _time(said)
        if at is not None and _OLDEST <= at <= now:
            return at
    return now


def _time(said: bytes) -> datetime | None:
    try:
        at = parsedate_to_datetime(" ".join(said.decode("ascii", "replace").split())[:100])
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
