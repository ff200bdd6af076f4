"""Shared by the readers of vendors' webhooks: batches event by event, other people's values, and freshness."""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, TypeVar

import msgspec

from libs.errors import BadRequest, FieldError, Invalid, Unauthorized
from services.delivery.domain.mail_vendors import MailNews, Reading

MOST_EVENTS = 10_000
_TEXT_LIMIT = 2_000
_ID_LIMIT = 100
_AHEAD = timedelta(minutes=5)  # how far a vendor's clock may be ahead of ours
_ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")
_TYPED = re.compile(r"\s*(?:smtp|x-[\w-]{1,30})\s*;\s*", re.IGNORECASE)  # RFC 3464: Diagnostic-Code's type

T = TypeVar("T")


class Said(Enum):
    """What an event is if it is not news about a mail."""

    NOTHING = 0  # a known kind that says nothing about a mail to its recipient
    NEW_TO_US = 1


def events_of(body: bytes) -> list[msgspec.Raw]:
    """Split one event or a list of them. Raises BadRequest, Invalid."""
    several = body.lstrip()[:1] == b"["
    try:
        events = (
            msgspec.json.decode(body, type=list[msgspec.Raw]) if several else [msgspec.json.decode(body, type=_RAW)]
        )
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"The webhook is not valid JSON: {error}.") from error
    if len(events) > MOST_EVENTS:
        raise Invalid(f"At most {MOST_EVENTS:,} events at a time; send them in parts.", pointer="")
    return events


_RAW = msgspec.Raw


def read_each(
    events: Sequence[bytes | msgspec.Raw], decode: Callable[[Any], T], translate: Callable[[T], MailNews | Said]
) -> Reading:
    """Return every readable event, and the errors of the others: one bad event does not affect the rest."""
    reading = Reading()
    several = len(events) > 1
    for place, raw in enumerate(events):
        try:
            news = translate(decode(raw))
        except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
            reading.unreadable.append(FieldError(f"/{place}" if several else "", f"The event cannot be read: {error}."))
            continue
        if isinstance(news, MailNews):
            reading.news.append(news)
        elif news is Said.NOTHING:
            reading.ignored += 1
        else:
            reading.new_to_us += 1
    return reading


def require_fresh(at: datetime, now: datetime, window: timedelta) -> None:
    """Check that a signed time is within the window. Raises Unauthorized.

    The window is how long the vendor keeps retrying: a webhook delayed by an outage of ours is still accepted, and
    one replayed within the window has no further effect."""
    if not -_AHEAD <= now - at <= window:
        hours = window.total_seconds() / 3_600
        raise Unauthorized(f"The webhook's timestamp is more than {hours:g} hours old, or ahead: check the clock.")


def seconds(text: str) -> datetime:
    """Parse a signature's time in Unix seconds. Raises Unauthorized."""
    if not (text.isascii() and text.isdigit() and len(text) <= 11):  # 12 digits are a year that no calendar has
        raise Unauthorized("The webhook's timestamp is missing or not a number of seconds.")
    return datetime.fromtimestamp(int(text), UTC)


def moment(value: float | str | None, now: datetime) -> datetime:
    """Return when an event happened: Unix seconds or RFC 3339, now if it is not given, never later than now. Raises
    ValueError, OverflowError."""
    if value is None or value == "":
        return now
    if isinstance(value, str) and not value.replace(".", "", 1).isdigit():
        at = datetime.fromisoformat(value)
        return min(at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC), now)
    try:
        return min(datetime.fromtimestamp(float(value), UTC), now)
    except OSError as error:  # how the platform refuses some numbers that are too large
        raise ValueError("the time is out of range") from error


def words(text: str | None) -> str | None:
    """Return a server's text, without the type that a delivery status prefixes, and without NUL."""
    if not text:
        return None
    return _TYPED.sub("", text[:_TEXT_LIMIT].replace("\0", ""), count=1).strip() or None


def reply_code(value: int | str | None) -> int | None:
    """Return an SMTP reply code, or None if it is not one: vendors have numbers of their own from 600."""
    try:
        number = int(value or 0)
    except ValueError:
        return None
    return number if 200 <= number < 600 else None


def enhanced(value: str | None) -> str | None:
    """Return an RFC 3463 code, or None for x.0.0, which says nothing that the text does not say better."""
    if not value or not _ENHANCED.fullmatch(value) or value.endswith(".0.0"):
        return None
    return value


def made_id(*parts: object) -> str:
    """Return an id for an event without one: a hash of what identifies it, so that it contains no address."""
    return hashlib.sha256("\0".join(str(part) for part in parts).encode("utf-8", "replace")).hexdigest()[:32]


def own_id(value: object) -> str:
    """Return the id that the vendor gave an event. Raises ValueError."""
    text = str(value or "")
    if not text or len(text) > _ID_LIMIT or not text.isprintable():
        raise ValueError("it has no id")
    return text


def path_in(variables: Mapping[str, Any] | None) -> str:
    """Return our return path from the variables that a vendor returns: every mail carries it as `depesche`."""
    found = (variables or {}).get("depesche")
    return found if isinstance(found, str) else ""
