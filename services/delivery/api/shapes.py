"""Delivery's HTTP requests and responses, with an example each."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

MESSAGE_ID = "01936b1e-7c00-8000-8000-000000000001.17"
NOTIFICATION_ID = "01936b1e-7c00-8000-8000-000000000001"
CAUSE_ID = "01936b1e-7c00-7000-8000-000000000000"
REQUEST_ID = "7b8f4f2a-6a1b-5c1e-9d7e-2f8f3a1b4c5d"

Channel = Literal["push", "email", "sms", "webhook"]
Target = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[0-9A-Za-z-]+$")]
Note = Annotated[str, StringConstraints(strip_whitespace=True, min_length=3, max_length=500, pattern=r"^[^\x00]*$")]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=r"^[^\x00]*$")]

_ACCOUNT = {"sent": 1, "failed": 0, "skipped": 0, "suppressed": 0, "unknown": 0, "pending": 0}
_SENDER = {
    "name": "Shop, push",
    "channel": "push",
    "account": {"project": "shop-prod", "credentials": '{"type": "service_account", "…": "…"}'},
    "rate_per_second": 10_000,
    "burst": 10_000,
}
_SENDER_SHOWN = {
    "number": 1,
    "name": "Shop, push",
    "channel": "push",
    "provider": "provider",
    "account": {"project": "shop-prod"},
    "secrets": ["credentials"],
    "rate_per_second": 10_000,
    "burst": 10_000,
    "version": 1,
    "changed_at": "2027-03-01T09:00:00Z",
    "webhook_url": None,
}
_HOLD = {"kind": "cause", "target": CAUSE_ID, "note": "Wrong price in the text"}


def example(value: dict[str, Any], *, extra: Literal["forbid", "ignore"] = "ignore") -> ConfigDict:
    return ConfigDict(extra=extra, json_schema_extra={"examples": [value]})


class SenderBody(BaseModel):
    """A sender. Without `account` it uses the simulator. Secrets left out of an edit stay unchanged."""

    model_config = example(_SENDER, extra="forbid")
    name: Name
    channel: Channel
    account: dict[str, Any] | None = None
    rate_per_second: float | None = Field(None, gt=0, le=1_000_000, description="Messages a second; null: no limit.")
    burst: float | None = Field(None, ge=1, le=1_000_000, description="Messages at once; null: one second's worth.")


class SenderShown(BaseModel):
    """A sender without its secrets: `secrets` names those that are set."""

    model_config = example(_SENDER_SHOWN)
    number: int
    name: str
    channel: str
    provider: str
    account: dict[str, Any]
    secrets: list[str]
    rate_per_second: float | None
    burst: float | None
    version: int
    changed_at: datetime | None
    webhook_url: str | None = Field(None, description="Where the account's mail vendor reports to.")


class WebhookTaken(BaseModel):
    """The result of a webhook's events. `unknown_messages`: mails that this tenant did not send in this mode;
    `ignored`: events that say nothing about a mail to its recipient, or are of an unknown kind."""

    model_config = example({"new": 1, "repeated": 0, "unknown_messages": 0, "ignored": 0})
    new: int
    repeated: int
    unknown_messages: int
    ignored: int


class SenderNumbers(BaseModel):
    """Senders to look up, by number."""

    model_config = example({"numbers": [1, 2]}, extra="forbid")
    numbers: list[Annotated[int, Field(ge=1, le=32_767)]] = Field(max_length=1_000)


class SendersFound(BaseModel):
    """By number: the channel of each configured sender."""

    model_config = example({"senders": {"1": {"channel": "push"}}})
    senders: dict[int, dict[str, str]]


class HoldBody(BaseModel):
    """What to stop: a cause, a release, a sender (its number), or the tenant (its number)."""

    model_config = example(_HOLD, extra="forbid")
    kind: Literal["cause", "release", "sender", "tenant"]
    target: Target
    note: Note | None = None


class HoldShown(BaseModel):
    """A hold."""

    model_config = example(_HOLD | {"version": 1, "active": True, "actor": "k1", "changed_at": "2027-03-01T09:00:00Z"})
    kind: str
    target: str
    note: str | None
    version: int
    active: bool
    actor: str
    changed_at: datetime


class CancelBody(BaseModel):
    """Why a cause is cancelled; the audit records it."""

    model_config = example({"note": "Sent to the wrong audience"}, extra="forbid")
    note: Note | None = None


class Cancelled(BaseModel):
    """How many requests of the cause were still open."""

    model_config = example({"cause_id": CAUSE_ID, "open_requests": 1})
    cause_id: UUID
    open_requests: int


class RequestShown(BaseModel):
    """A request with its account: the sum of the counters is always recipients + extra."""

    model_config = example(
        {
            "id": REQUEST_ID,
            "cause_id": CAUSE_ID,
            "cause_kind": "event",
            "release_id": REQUEST_ID,
            "communication": "parcel-shipped",
            "subject": "order-4711",
            "lane": "transactional",
            "on_unknown": "leave",
            "recipients": 1,
            "extra": 0,
            "counters": _ACCOUNT,
            "expires_at": "2027-03-02T09:00:00Z",
            "received_at": "2027-03-01T09:00:00Z",
            "settled_at": "2027-03-01T09:00:01Z",
        }
    )
    id: UUID
    cause_id: UUID
    cause_kind: str
    parent_id: UUID | None = None
    release_id: UUID
    communication: str
    subject: str | None
    lane: str
    on_unknown: str
    recipients: int
    extra: int
    counters: dict[str, int]
    expires_at: datetime
    received_at: datetime
    cancelled_at: datetime | None = None
    settled_at: datetime | None


class MessageShown(BaseModel):
    """A message: its last attempt, the superseded attempts, and its receipts."""

    model_config = example(
        {
            "id": MESSAGE_ID,
            "request_id": REQUEST_ID,
            "recipient": "customer:1042",
            "status": "sent",
            "reason": "none",
            "sentence": "The provider accepted it.",
            "channel": "push",
            "sender": 1,
            "step": 0,
            "locale": "de",
            "attempt": 1,
            "duplicates": 0,
            "claimed_at": "2027-03-01T09:00:00Z",
            "recorded_at": "2027-03-01T09:00:00Z",
            "attempts": [],
            "receipts": [],
        }
    )
    id: str
    request_id: UUID
    recipient: str | None
    status: str
    reason: str
    sentence: str
    channel: str | None
    sender: int
    step: int
    locale: str | None
    attempt: int
    duplicates: int
    provider_ref: str | None = None
    detail: str | None = None
    claimed_at: datetime
    recorded_at: datetime | None
    attempts: list[dict[str, Any]]
    receipts: list[dict[str, Any]]


class Ids(BaseModel):
    """Notification or message ids, up to 500."""

    model_config = example({"ids": [NOTIFICATION_ID]}, extra="forbid")
    ids: list[Annotated[str, StringConstraints(max_length=80)]] = Field(max_length=500)


class Figures(BaseModel):
    """Sums over the requests of the last hours, and the queue of all tenants."""

    model_config = example(
        {
            "requests": 1,
            "open_requests": 0,
            "messages": _ACCOUNT | {"total": 1},
            "communications": {"order-confirmation": _ACCOUNT | {"total": 1}},
            "backlog": {"transactional": 0, "bulk": 0, "verify": 0},
            "held_chunks": 0,
            "oldest_due_seconds": 0,
            "outbox": 0,
            "outbox_lag_seconds": 0,
        }
    )
    requests: int
    open_requests: int
    messages: dict[str, int]
    communications: dict[str, dict[str, int]]
    backlog: dict[str, int]
    held_chunks: int
    oldest_due_seconds: float
    outbox: int
    outbox_lag_seconds: float


class Standings(BaseModel):
    """By notification id; ids that delivery does not know are absent."""

    model_config = example(
        {
            "notifications": {
                NOTIFICATION_ID: {
                    "state": "waiting",
                    "reason": "quiet_hours",
                    "until": "2027-03-02T06:00:00Z",
                    "detail": "The customer's quiet hours are in effect. It is retried (attempt 1).",
                    "messages": [],
                }
            }
        }
    )
    notifications: dict[str, dict[str, Any]]


class RenderedShown(BaseModel):
    """By message id: `digest` is equal, differs or not_reproducible. Texts only for keys with pii:read."""

    model_config = example({"messages": {MESSAGE_ID: {"digest": "equal", "why": None, "parts": {"title": "Shipped"}}}})
    messages: dict[str, dict[str, Any]]


class LookedUp(BaseModel):
    """By message id: its tenant, mode and recipient, and the keyed hash of its address (base64)."""

    model_config = example(
        {"messages": {MESSAGE_ID: {"tenant": 1, "mode": "live", "address_hash": "…", "recipient": "customer:1042"}}}
    )
    messages: dict[str, dict[str, Any]]
