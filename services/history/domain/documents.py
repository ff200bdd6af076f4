"""Owns the mapping from an event to the audit's document: found by its recipient, free of addresses."""

from datetime import datetime
from typing import Any

import msgspec

from libs.contracts.envelope import Envelope
from libs.privacy import redacted
from services.history.domain.facts import Document, address_key

_STOP_WORDS = frozenset({"stop", "stopall", "unsubscribe", "cancel", "end", "quit", "start", "help", "yes", "no"})
_INDEXED = ("recipient", "message_id", "address_hash", "actor", "action", "object", "at")


def document_of(envelope: Envelope) -> Document:
    """Return the document of one event; fields that have a column of their own are left out of the body."""
    data: dict[str, Any] = msgspec.to_builtins(envelope.data, builtin_types=(datetime, bytes))
    body = {name: _plain(value) for name, value in data.items() if name not in _INDEXED and value is not None}
    if "text" in body:
        body["text"] = _reply(body["text"]) if envelope.type == "reply.received" else redacted(str(body["text"]))
    at = data.get("at")
    return Document(
        id=envelope.id,
        type=envelope.type,
        tenant=envelope.tenant,
        mode=envelope.mode,
        at=at if isinstance(at, datetime) else envelope.time,
        body=body,
        subject=envelope.subject,
        recipient=data.get("recipient"),
        message=data.get("message_id"),
        address_key=address_key(data.get("address_hash")),
        actor=data.get("actor"),
        action=data.get("action"),
        object=data.get("object"),
    )


def _reply(text: object) -> str:
    """A customer's words are private: only keywords that trigger an action are stored."""
    word = str(text).strip().lower()
    return word.upper() if word in _STOP_WORDS else "[text]"


def _plain(value: Any) -> Any:
    match value:
        case datetime():
            return value.isoformat()
        case bytes():
            return value.hex()
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case _:
            return value
