"""Owns the audit's record: one flat shape for every decision, transition, receipt, refusal and other event.

A field's type says how it can be queried: words and numbers match whole and can be counted, texts are searched.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.contracts.outcomes import Mode

KINDS = ("decision", "transition", "receipt", "rejection", "document")

# Fields of an event's body that records can be filtered by; they name nobody and survive a recipient's erasure.
LIFTED = ("category", "group", "origin", "scope", "active", "reason", "reply_code", "enhanced_code")
# The first of these that a body has becomes the record's text.
TEXTS = ("text", "note", "why")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One thing that happened. `id` is opaque and assigned by the store; None: the field does not apply or is unknown.

    `reason`: `requested` for a decision that led to a notification, else a word of the closed list.
    """

    kind: str
    id: str
    type: str
    at: datetime
    tenant: int
    mode: Mode
    subject: str | None = None
    recipient: str | None = None
    communication: str | None = None
    cause: UUID | None = None
    release: UUID | None = None
    notification: UUID | None = None
    message: str | None = None
    attempt: int | None = None
    was: str | None = None
    status: str | None = None
    reason: str | None = None
    channel: str | None = None
    sender: int | None = None
    locale: str | None = None
    provider: str | None = None
    provider_ref: str | None = None
    receipt: str | None = None
    reply_code: int | None = None
    enhanced_code: str | None = None
    error: str | None = None
    final: bool | None = None
    category: str | None = None
    group: str | None = None
    origin: str | None = None
    scope: str | None = None
    active: bool | None = None
    event_id: str | None = None
    event_type: str | None = None
    event_source: str | None = None
    actor: str | None = None
    action: str | None = None
    object: str | None = None
    address_key: int | None = None
    detail: str | None = None
    body: Mapping[str, Any] = field(default_factory=dict)


def text_of(body: Mapping[str, Any]) -> str | None:
    """Return the text of a body."""
    return next((str(body[name]) for name in TEXTS if body.get(name)), None)


def lifted(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body's fields that are also fields of the record."""
    return {name: body[name] for name in LIFTED if body.get(name) is not None}
