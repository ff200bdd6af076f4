"""Converts the events of messages to flat documents: one per transition, receipt and refusal.

A document's id is derived from the event (`<message>.<attempt>.<was>.<status>`), its index from the time in the
message's id: a redelivered event is the same document in the same index.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from libs.contracts.delivery import MessageRejected, ReceiptRecorded
from libs.contracts.envelope import Envelope
from libs.ids import message_id, parse_message_id, time_of
from libs.privacy import redacted
from services.history.adapters.opensearch.documents import Entry, given, moment, time_fields
from services.history.domain.facts import address_key

_NO_REASON = "none"


def of_messages(batch: Sequence[Envelope]) -> list[Entry]:
    """Return one entry per transition."""
    entries = []
    for envelope in batch:
        data = envelope.data
        shared = {"communication": data.communication}
        shared |= {"cause": str(data.cause_id), "release": str(data.release_id)}
        for t in data.transitions:
            message = message_id(t.notification_id, t.address_id)
            told = {"attempt": t.attempt, "was": t.was, "status": t.is_, "channel": t.channel, "sender": t.sender}
            told |= {"reason": t.reason if t.reason != _NO_REASON else None, "locale": t.locale}
            told |= {"provider_ref": t.provider_ref} | _person(t.recipient, t.address_hash, t.detail)
            id_ = f"{message}.{t.attempt}.{t.was}.{t.is_}"
            entries.append(_entry(envelope, "transition", id_, (message, t.at), shared | told))
    return entries


def of_receipts(batch: Sequence[Envelope]) -> list[Entry]:
    """Return one entry per receipt."""
    entries = []
    for envelope in batch:
        data: ReceiptRecorded = envelope.data
        for r in data.receipts:
            key = hashlib.blake2b(f"{r.provider}\0{r.provider_event_id}".encode(), digest_size=8).hexdigest()
            told = {"attempt": r.attempt, "receipt": r.kind, "provider": r.provider}
            told |= _person(r.recipient, r.address_hash, None if r.erased else r.detail)
            entries.append(_entry(envelope, "receipt", f"{r.message}.r{key}", (r.message, r.at), told))
    return entries


def of_rejections(batch: Sequence[Envelope]) -> list[Entry]:
    """Return one entry per refusing reply."""
    entries = []
    for envelope in batch:
        data: MessageRejected = envelope.data
        for r in data.rejections:
            told = {"attempt": r.attempt, "channel": r.channel, "sender": r.sender, "final": r.final}
            told |= {"reply_code": r.reply_code, "enhanced_code": r.enhanced_code, "error": r.error}
            told |= _person(r.recipient, r.address_hash, r.text)
            entries.append(_entry(envelope, "rejection", f"{r.message}.x{r.attempt}", (r.message, r.at), told))
    return entries


def _entry(envelope: Envelope, kind: str, id_: str, when: tuple[str, datetime], told: dict[str, Any]) -> Entry:
    message, at = when
    notification, _ = parse_message_id(message)
    began = time_of(notification)
    source = {"kind": kind, "id": id_, "type": envelope.type, "tenant": envelope.tenant, "mode": envelope.mode.word}
    source |= {
        "subject": envelope.subject,
        "message": message,
        "notification": str(notification),
        "began_us": moment(began),
    } | time_fields(at)
    return Entry(id_, began, given(source | told))


def _person(recipient: str | None, address_hash: bytes | None, text: str | None) -> dict[str, Any]:
    said = redacted(text) if text else None
    return {"recipient": recipient, "address_key": address_key(address_hash), "detail": said}
