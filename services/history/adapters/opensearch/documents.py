"""Converts decisions and other events to flat documents, one per decision, and back; nameless after an erasure."""

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from libs.contracts.envelope import Envelope
from libs.contracts.orders_notification import Decision as Decided
from libs.contracts.outcomes import Mode
from libs.contracts.reasons import Reason
from libs.ids import time_of
from libs.privacy import redacted
from services.history.domain.facts import Decision, Document
from services.history.domain.records import lifted, text_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_REASONS = {"requested": Reason.NONE} | {reason.word: reason for reason in Reason}
_NAMES = ("recipient", "address_key", "object", "detail", "body")

_PACKED = 1_000

Owner = tuple[int, str, str]  # tenant, mode's word, recipient's key


@dataclass(frozen=True, slots=True)
class Entry:
    """A document to write: its id, the time that names its index, its fields."""

    id: str
    month: datetime
    source: dict[str, Any]

    def nameless(self, gone: dict[Owner, int]) -> "Entry":
        """Return the entry without names if its owner was erased after it happened."""
        began = self.source.get("began_us", self.source["at_us"])
        wiped = any(began <= gone[owner] for owner in owners_of(self.source) if owner in gone)
        return Entry(self.id, self.month, without_names(self.source)) if wiped else self


def owners_of(source: dict[str, Any]) -> list[Owner]:
    """Return the recipients that a document concerns: its own, and the object of an action."""
    names = [source.get("recipient"), source.get("object") if source.get("action") else None]
    return [(source["tenant"], source["mode"], name) for name in names if name is not None]


def without_names(source: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in source.items() if name not in _NAMES}


def packed(entries: Sequence[Entry]) -> list[tuple[int, bytes]]:
    """Pack entries for the spill: up to 1,000 in one piece, a tenth of their size."""
    parts = [entries[start : start + _PACKED] for start in range(0, len(entries), _PACKED)]
    return [(len(part), zlib.compress(msgspec.json.encode(part), 1)) for part in parts]


def unpacked(body: bytes) -> list[Entry]:
    return msgspec.json.decode(zlib.decompress(body), type=list[Entry])


def mark_of(owner: Owner) -> str:
    """Return the id of an erasure's mark, which does not reveal the recipient."""
    tenant, mode, recipient = owner
    return f"{tenant}.{mode}.{hashlib.sha256(recipient.encode()).hexdigest()}"


def moment(at: datetime) -> int:
    """Unix microseconds."""
    return (at - _EPOCH) // timedelta(microseconds=1)


def entries_of(envelope: Envelope) -> list[Entry]:
    """Return one entry per decision. An event without a communication is one too: "I never got it" must find it."""
    data = envelope.data
    decided = data.decisions or (Decided(communication=None, outcome=Reason.NO_COMMUNICATION.word),)
    received = time_of(data.cause_id)
    shared = {
        "kind": "decision",
        "type": envelope.type,
        "id": str(envelope.id),
        "tenant": envelope.tenant,
        "mode": envelope.mode.word,
    }
    shared |= {"subject": envelope.subject, "cause": str(data.cause_id), "event_id": data.event_id} | time_fields(
        received
    )
    shared |= {"event_type": data.event_type, "event_source": data.event_source}
    return [
        Entry(f"{envelope.id}.{ordinal}", received, given(shared | {"ordinal": ordinal} | _decided(item)))
        for ordinal, item in enumerate(decided)
    ]


def entry_of(item: Document) -> Entry:
    source = {name: getattr(item, name) for name in ("type", "tenant", "subject", "recipient", "message", "body")}
    source |= {name: getattr(item, name) for name in ("address_key", "actor", "action", "object")}
    source |= {"kind": "document", "id": str(item.id), "mode": item.mode.word} | time_fields(item.at)
    source |= {"detail": text_of(item.body)} | lifted(item.body)
    return Entry(str(item.id), time_of(item.id), given(source))


def decision_of(source: dict[str, Any]) -> Decision:
    """A newer publisher's reason counts as our own fault until we know it; its word is stored."""
    notification = source.get("notification")
    return Decision(
        at=time_of_source(source),
        cause_id=UUID(source["cause"]),
        event_id=source["event_id"],
        event_type=source["event_type"],
        event_source=source["event_source"],
        reason=_REASONS.get(source["reason"], Reason.INTERNAL),
        subject=source.get("subject"),
        communication=source.get("communication"),
        recipient=source.get("recipient"),
        notification_id=UUID(notification) if notification else None,
        detail=source.get("detail"),
    )


def document_of(source: dict[str, Any]) -> Document:
    more = {name: source.get(name) for name in ("subject", "recipient", "message", "address_key")}
    more |= {name: source.get(name) for name in ("actor", "action", "object")}
    return Document(
        id=UUID(source["id"]),
        type=source["type"],
        tenant=source["tenant"],
        mode=Mode.parse(source["mode"]),
        at=time_of_source(source),
        body=source.get("body", {}),
        **more,
    )


def _decided(item: Decided) -> dict[str, Any]:
    notification = str(item.notification_id) if item.notification_id else None
    detail = redacted(item.detail) if item.detail else None
    who = {"communication": item.communication, "recipient": item.recipient, "notification": notification}
    return {"reason": item.outcome, "detail": detail} | who


def time_fields(at: datetime) -> dict[str, Any]:
    return {"at": at.astimezone(UTC).isoformat(timespec="milliseconds"), "at_us": moment(at)}


def time_of_source(source: dict[str, Any]) -> datetime:
    return _EPOCH + timedelta(microseconds=source["at_us"])


def given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
