"""The audit's records and counts as HTTP responses, with an example each."""

from typing import Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from services.history.api.reading import Mask
from services.history.api.shapes import MESSAGE
from services.history.domain.records import Record
from services.history.domain.search import Group

_MASKED = ("recipient", "object", "detail")
_ID = "0193c8a4-1e00-8f4c-b1ce-5b7a9d1c2e3f"
_RECORD: dict[str, Any] = {
    "kind": "transition",
    "id": f"{MESSAGE}.1.sending.failed",
    "type": "message.recorded",
    "at": "2027-03-01T09:30:01.250Z",
    "order": "A-1042",
    "recipient": "customer:1042",
    "communication": "parcel-shipped",
    "cause": "0193c8a4-1e00-7a10-8c4d-2e1f0a9b8c7d",
    "notification": _ID,
    "message": MESSAGE,
    "attempt": 1,
    "was": "sending",
    "status": "failed",
    "reason": "address_invalid",
    "channel": "email",
    "sender": 1,
    "locale": "de",
    "detail": "550 5.1.1 no such user",
}
_COUNTS: dict[str, Any] = {
    "by": ["day", "status"],
    "groups": [
        {"values": {"day": "2027-03-01T00:00:00Z", "status": "sent"}, "count": 48_210},
        {"values": {"day": "2027-03-01T00:00:00Z", "status": "failed"}, "count": 117},
    ],
    "total": 48_327,
}


class RecordShown(BaseModel):
    """One thing that happened. Fields that do not apply to a kind, or are not known, are null."""

    model_config = ConfigDict(json_schema_extra={"examples": [_RECORD]})
    kind: str = Field(description="decision, transition, receipt, rejection or document (any other event).")
    id: str = Field(description="Opaque and stable.")
    type: str
    at: AwareDatetime
    order: str | None = None
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
    detail: str | None = Field(None, description="The text of what happened, without addresses.")
    body: dict[str, Any] | None = Field(None, description="The event's other data; needs the scope pii:read.")


class GroupShown(BaseModel):
    """The number of records with these values; a day or hour is given by its start."""

    values: dict[str, AwareDatetime | int | str]
    count: int


class CountsShown(BaseModel):
    """Groups ordered by time where days or hours are counted, else the most frequent first."""

    model_config = ConfigDict(json_schema_extra={"examples": [_COUNTS]})
    by: list[str]
    groups: list[GroupShown]
    total: int = Field(description="Records that have all of the fields counted by.")


def shown(record: Record, mask: Mask, *, whole: bool) -> RecordShown:
    """`whole`: include the body."""
    fields = {name: getattr(record, name) for name in RecordShown.model_fields if name not in ("order", "body")}
    fields |= {name: mask(fields[name]) for name in _MASKED if fields[name] is not None}
    body = dict(record.body) if whole and record.body else None
    return RecordShown(**fields, order=record.subject, body=body)


def counted(by: tuple[str, ...], groups: list[Group]) -> CountsShown:
    told = [GroupShown(values=dict(zip(by, group.values, strict=True)), count=group.count) for group in groups]
    return CountsShown(by=list(by), groups=told, total=sum(group.count for group in groups))
