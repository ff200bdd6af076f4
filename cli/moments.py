"""Times as people type them, for every option that takes one."""

from datetime import UTC, datetime, timedelta
from typing import Any

import typer

FORMS = "2027-03-01, a time with its zone, or 90m, 24h, 7d, 4w ago"

_SPANS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def moment(text: str) -> str:
    """Parse a date (UTC), a time or an offset into the past; return ISO 8601 with a zone. Raises typer.BadParameter."""
    try:
        if text[:-1].isdecimal() and text[-1] in _SPANS:
            parsed = datetime.now(UTC) - timedelta(**{_SPANS[text[-1]]: int(text[:-1])})
        else:
            parsed = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            f"{text!r} is not a time; write 2027-03-01, 2027-03-01T09:30:00+01:00, or 90m, 24h, 7d, 4w."
        ) from None
    zoned = parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    return zoned.isoformat().replace("+00:00", "Z")


# what typer.Option takes for a time
TIME: dict[str, Any] = {"parser": moment, "metavar": "TIME"}
