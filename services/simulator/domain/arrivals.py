"""The newest messages that arrived, to view and search, like Mailpit; limited in number and bytes."""

import json
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes
from email.errors import MessageError
from email.message import EmailMessage
from email.policy import default as modern
from typing import Any

import msgspec


class Arrival(msgspec.Struct, gc=False):
    """One call that carried a message. `raw` is its content: a push's JSON, a mail, a form as JSON."""

    channel: str
    address: str
    tag: str
    attempt: int
    raw: bytes
    sender: str = ""
    outcome: str = "accepted"  # or how it was refused
    milliseconds: int = 0
    number: int = 0


@dataclass(frozen=True, slots=True)
class Wanted:
    """A search; all given fields must match. Texts match anywhere, case-insensitively."""

    channel: str | None = None
    to: str | None = None
    subject: str | None = None
    text: str | None = None
    message: str | None = None
    outcome: str | None = None

    def fits(self, arrival: Arrival) -> bool:
        if self.channel is not None and arrival.channel != self.channel:
            return False
        if self.outcome is not None and arrival.outcome != self.outcome:
            return False
        if self.message is not None and arrival.tag != self.message:
            return False
        if self.to is not None and self.to.casefold() not in arrival.address.casefold():
            return False
        if self.subject is not None and self.subject.casefold() not in subject_of(arrival).casefold():
            return False
        return self.text is None or self.text.casefold() in text_of(arrival).casefold()


class Arrivals:
    """A ring buffer of the newest messages."""

    def __init__(self, messages: int, size: int) -> None:
        self._ring: deque[Arrival] = deque()
        self._most_messages, self._most_bytes = messages, size
        self._bytes = 0
        self._number = 0

    def __len__(self) -> int:
        return len(self._ring)

    def add(self, arrival: Arrival) -> None:
        """Store one, and number it."""
        self._number = arrival.number = self._number + 1
        ring = self._ring
        ring.append(arrival)
        self._bytes += len(arrival.raw)
        while len(ring) > self._most_messages or (self._bytes > self._most_bytes and len(ring) > 1):
            self._bytes -= len(ring.popleft().raw)

    def clear(self) -> None:
        self._ring.clear()
        self._bytes = 0

    def get(self, number: int) -> Arrival | None:
        """Return one by its number; None if it never existed, or is no longer stored."""
        if not self._ring:
            return None
        place = number - self._ring[0].number
        return self._ring[place] if 0 <= place < len(self._ring) else None

    def search(self, wanted: Wanted, before: int | None = None) -> Iterator[Arrival]:
        """Yield the matching ones numbered below `before`, newest first."""
        for arrival in reversed(self._ring):
            if (before is None or arrival.number < before) and wanted.fits(arrival):
                yield arrival


def subject_of(arrival: Arrival) -> str:
    """Return a mail's subject, a push's title; empty if there is none."""
    match arrival.channel:
        case "email":
            return str(_mail(arrival.raw).get("subject", ""))
        case "push":
            return str(_push(arrival.raw).get("notification", {}).get("title", ""))
        case _:
            return ""


def text_of(arrival: Arrival) -> str:
    """Return the text as a person would read it."""
    match arrival.channel:
        case "email":
            return body_of(arrival.raw, "plain") or body_of(arrival.raw, "html")
        case "push":
            notification = _push(arrival.raw).get("notification", {})
            return "\n".join(str(notification[part]) for part in ("title", "body") if notification.get(part))
        case "sms":
            return str(_document(arrival.raw).get("Body", ""))
        case _:
            return arrival.raw.decode("utf-8", "replace")


def body_of(raw: bytes, kind: str) -> str:
    """Return the plain or HTML part of a mail; empty if there is none, or its charset is unknown."""
    try:
        part = _mail(raw).get_body((kind,))
        return str(part.get_content()) if part is not None else ""
    except (LookupError, MessageError, ValueError):
        return ""


def shown(arrival: Arrival, *, whole: bool = False) -> dict[str, Any]:
    """Return an arrival in the control API's form."""
    document: dict[str, Any] = {
        "number": arrival.number,
        "at": datetime.fromtimestamp(arrival.milliseconds / 1000, UTC).isoformat(),
        "channel": arrival.channel,
        "to": arrival.address,
        "from": arrival.sender,
        "message": arrival.tag,
        "attempt": arrival.attempt,
        "outcome": arrival.outcome,
        "subject": subject_of(arrival),
        "bytes": len(arrival.raw),
    }
    if whole:
        document["text"] = text_of(arrival)
        if arrival.channel == "email":
            mail = _mail(arrival.raw)
            document["headers"] = [[name, str(value)] for name, value in mail.items()]
            document["html"] = body_of(arrival.raw, "html")
        else:
            document["content"] = _document(arrival.raw)
    return document


def _mail(raw: bytes) -> EmailMessage:
    mail = message_from_bytes(raw, policy=modern)
    assert isinstance(mail, EmailMessage)
    return mail


def _push(raw: bytes) -> dict[str, Any]:
    message = _document(raw).get("message", {})
    return message if isinstance(message, dict) else {}


def _document(raw: bytes) -> dict[str, Any]:
    try:
        document = json.loads(raw)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
