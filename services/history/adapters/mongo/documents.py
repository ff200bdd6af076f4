"""Converts events to updates of their messages' documents, and documents back to messages.

Each fact is stored under a key derived from its event (`transitions.<attempt>_<was>_<status>`), so writing it twice
has no further effect. All words of people and providers are in `words`, so that one update erases them. `rank` says
how far the message has come (attempt, then stage), for those who query the collection; times have milliseconds.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pymongo import UpdateOne

from libs.contracts.envelope import Envelope
from libs.contracts.erasing import is_gone
from libs.contracts.outcomes import Channel, Mode, ReceiptKind, Status
from libs.contracts.reasons import Reason
from libs.ids import parse_message_id, time_of
from libs.privacy import redacted
from services.history.domain.facts import Message, Receipt, Rejection, Transition, address_key, stage

NAMES = ("recipient", "address_key", "words")
_REASONS = {reason.word: int(reason) for reason in Reason}
_UNKNOWN_REASON = int(Reason.INTERNAL)  # a newer publisher's reason counts as our own fault until we know it

Owner = tuple[int, Mode, str]


@dataclass(slots=True)
class Write:
    """What one batch says about one message."""

    tenant: int
    mode: Mode
    began: datetime
    fields: dict[str, Any] = field(default_factory=dict)
    rank: int = 0

    @property
    def owner(self) -> Owner | None:
        recipient = self.fields.get("recipient")
        return None if recipient is None else (self.tenant, self.mode, recipient)

    def operation(self, id_: str, gone: dict[Owner, datetime]) -> UpdateOne:
        fields = self.fields
        if is_gone(gone, self.owner, self.began):
            kept = {name: value for name, value in fields.items() if name.partition(".")[0] not in NAMES}
            fields = kept | {"erased": True}
        first = {"tenant": self.tenant, "mode": int(self.mode), "began": self.began}
        update: dict[str, Any] = {"$set": fields, "$setOnInsert": first}
        if self.rank:
            update["$max"] = {"rank": self.rank}
        return UpdateOne({"_id": id_}, update, upsert=True)


def of_messages(batch: Sequence[Envelope]) -> dict[str, Write]:
    """Return transitions and the fields that their messages share."""
    writes: dict[str, Write] = {}
    for envelope in batch:
        data = envelope.data
        shared = {"cause": data.cause_id, "release": data.release_id, "request": data.request_id}
        shared |= given(communication=data.communication, subject=envelope.subject)
        for t in data.transitions:
            write = _write(writes, envelope, f"{t.notification_id}.{t.address_id}")
            was, status = Status.parse(t.was), Status.parse(t.is_)
            key = f"{t.attempt}_{was:d}_{status:d}"
            write.fields |= shared | _person(t.recipient, t.address_hash) | _words(f"transition_{key}", t.detail)
            write.fields[f"transitions.{key}"] = _transition_fields(t)
            write.rank = max(write.rank, t.attempt * 10 + stage(was, status))
    return writes


def of_receipts(batch: Sequence[Envelope]) -> dict[str, Write]:
    """Return receipts; one may arrive before its message's transitions."""
    writes: dict[str, Write] = {}
    for envelope in batch:
        for r in envelope.data.receipts:
            key = hashlib.blake2b(f"{r.provider}\0{r.provider_event_id}".encode(), digest_size=8).hexdigest()
            told = {
                "at": r.at,
                "attempt": r.attempt,
                "kind": int(ReceiptKind.parse(r.kind)),
                "provider": r.provider,
            }
            write = _write(writes, envelope, r.message)
            words = None if r.erased else r.detail
            write.fields |= _person(r.recipient, r.address_hash) | _words(f"receipt_{key}", words)
            write.fields[f"receipts.{key}"] = told
    return writes


def of_rejections(batch: Sequence[Envelope]) -> dict[str, Write]:
    """Return the refusing replies of providers."""
    writes: dict[str, Write] = {}
    for envelope in batch:
        for r in envelope.data.rejections:
            codes = given(reply_code=r.reply_code, enhanced_code=r.enhanced_code, error=r.error)
            write = _write(writes, envelope, r.message)
            write.fields |= _person(r.recipient, r.address_hash) | _words(f"rejection_{r.attempt}", r.text)
            write.fields[f"rejections.{r.attempt}"] = {"at": r.at, "final": r.final} | codes
    return writes


def _write(writes: dict[str, Write], envelope: Envelope, id_: str) -> Write:
    notification, _ = parse_message_id(id_)
    return writes.setdefault(id_, Write(envelope.tenant, envelope.mode, time_of(notification)))


def _person(recipient: str | None, address_hash: bytes | None) -> dict[str, Any]:
    return given(recipient=recipient, address_key=address_key(address_hash))


def _words(key: str, text: str | None) -> dict[str, Any]:
    return {f"words.{key}": redacted(text)} if text else {}


def given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _transition_fields(t: Any) -> dict[str, Any]:
    reason = _REASONS.get(t.reason, _UNKNOWN_REASON)
    channel = int(Channel.parse(t.channel)) if t.channel else None
    told = {"at": t.at, "reason": reason, "sender": t.sender, "step": t.step}
    return told | given(channel=channel, locale=t.locale, provider_ref=t.provider_ref)


def message_of(document: dict[str, Any]) -> Message:
    notification, address = parse_message_id(document["_id"])
    words = document.get("words", {})
    transitions = [_transition(key, told, words) for key, told in document["transitions"].items()]
    receipts = [_receipt(key, told, words) for key, told in document.get("receipts", {}).items()]
    rejections = [_rejection(key, told, words) for key, told in document.get("rejections", {}).items()]
    return Message(
        notification_id=notification,
        address_id=address,
        communication=document["communication"],
        cause_id=document["cause"],
        release_id=document["release"],
        request_id=document["request"],
        recipient=document.get("recipient"),
        subject=document.get("subject"),
        transitions=tuple(sorted(transitions, key=lambda t: (t.attempt, t.at, stage(t.was, t.status)))),
        receipts=tuple(sorted(receipts, key=lambda r: r.at)),
        rejections=tuple(sorted(rejections, key=lambda r: (r.attempt, r.at))),
        address_key=document.get("address_key"),
    )


def _transition(key: str, told: dict[str, Any], words: dict[str, str]) -> Transition:
    attempt, was, status = (int(part) for part in key.split("_"))
    return Transition(
        at=told["at"],
        attempt=attempt,
        was=Status(was),
        status=Status(status),
        reason=Reason(told["reason"]),
        channel=Channel(told["channel"]) if "channel" in told else None,
        sender=told["sender"],
        step=told["step"],
        locale=told.get("locale"),
        provider_ref=told.get("provider_ref"),
        detail=words.get(f"transition_{key}"),
    )


def _receipt(key: str, told: dict[str, Any], words: dict[str, str]) -> Receipt:
    detail = words.get(f"receipt_{key}")
    return Receipt(told["at"], told["attempt"], ReceiptKind(told["kind"]), told["provider"], detail)


def _rejection(key: str, told: dict[str, Any], words: dict[str, str]) -> Rejection:
    codes = {name: told.get(name) for name in ("reply_code", "enhanced_code", "error")}
    return Rejection(told["at"], int(key), told["final"], words.get(f"rejection_{key}", ""), **codes)
