"""Retry-After (RFC 9110 §10.2.3): seconds, or a date in any of HTTP's three forms."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_SECONDS = 86_400.0  # a wrong clock at the other end must not park a message for a year


def retry_after_seconds(value: str | None, now: datetime) -> float | None:
    """Return the seconds to wait, never negative; None if there is no header or it cannot be parsed."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), LONGEST_SECONDS)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # an offset of a million years
        return None
    if moment.tzinfo is None:  # asctime's form, and "-0000": both mean UTC in HTTP
        moment = moment.replace(tzinfo=UTC)
    return min(max(0.0, (moment - now).total_seconds()), LONGEST_SECONDS)
