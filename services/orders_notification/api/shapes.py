"""What intake takes and gives over HTTP, with an example each."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from services.orders_notification.domain.signatures import Scheme

ORDER_PLACED: dict[str, Any] = {
    "specversion": "1.0",
    "type": "order.placed",
    "source": "/shop",
    "id": "evt-100045",
    "subject": "100045",
    "time": "2026-03-01T09:30:00+01:00",
    "data": {"customer_id": "4711", "number": "100045", "total": "59.90", "currency": "EUR"},
}

Line = Annotated[str, StringConstraints(max_length=4_096)]
Secret = Annotated[str, StringConstraints(min_length=8, max_length=512, pattern=r"^[^\x00-\x1f\x7f]+$")]
HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$")]
EventTypeName = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]


class Strict(BaseModel):
    """Unknown fields are refused: they are typing mistakes."""

    model_config = ConfigDict(extra="forbid")


class Problematic(BaseModel):
    """One thing that is wrong, and where."""

    pointer: str
    detail: str


class DecisionShown(BaseModel):
    """What one communication decided about an event, for one recipient where there is one."""

    communication: str | None
    outcome: str = Field(description="`requested`, or the word of the reason why not.")
    recipient: str | None = None
    release_id: UUID | None = None
    notification_id: UUID | None = None
    detail: str | None = None


class Taken(BaseModel):
    """A single event was taken in."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "status": "accepted",
                "id": "019afe2c-7a31-7cc4-b0a1-3d1f0a2b4c5d",
                "event_id": "evt-100045",
                "decisions": [
                    {
                        "communication": "order-confirmation",
                        "outcome": "requested",
                        "recipient": "customer:4711",
                        "release_id": "019afe2c-0000-7000-8000-000000000001",
                        "notification_id": "019afe2c-7a31-8f00-9aa0-5b1e6f70c1d2",
                        "detail": None,
                    }
                ],
            }
        }
    )
    status: Literal["accepted", "duplicate"]
    id: UUID = Field(description="The cause id: the first one's, for a duplicate.")
    event_id: str
    decisions: list[DecisionShown]


class Result(BaseModel):
    """What became of one event of a batch."""

    index: int
    status: Literal["accepted", "duplicate", "rejected"]
    event_id: str | None = None
    id: UUID | None = Field(None, description="The cause; for a rejected event that is kept, the rejection.")
    notifications: int = 0
    reason: str | None = None
    detail: str | None = None
    errors: list[Problematic] = []


class BatchTaken(BaseModel):
    """What became of each event of a batch, in order."""

    accepted: int
    duplicate: int
    rejected: int
    results: list[Result]


class EventShown(BaseModel):
    """An accepted event. `data` is null once it was erased."""

    id: UUID
    type: str
    source: str
    event_id: str
    subject: str | None
    recipient: str | None
    client: str
    time: str
    occurred_at: datetime
    received_at: datetime
    state: Literal["decided", "settled"]
    requests: int
    requests_settled: int
    trace_id: str | None


class EventDetail(EventShown):
    """An accepted event with its data and all decisions."""

    data: Any
    extensions: dict[str, Any] | None
    decisions: list[DecisionShown]


class VerificationBody(Strict):
    """How the sender proves itself; `algorithm`, `prefix` and others only where the scheme has them."""

    scheme: Scheme
    header: HeaderName | None = None
    prefix: Annotated[str, StringConstraints(max_length=50)] | None = None
    algorithm: Literal["sha1", "sha256", "sha512"] | None = None
    tolerance_seconds: Annotated[int, Field(ge=10, le=86_400)] | None = None
    encoding: Literal["hex", "base64"] | None = None
    timestamp_header: HeaderName | None = None
    signed: Annotated[str, StringConstraints(max_length=200)] | None = None
    query: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,60}$")] | None = None


class MappingBody(Strict):
    """CEL over `body`, `headers` (lower-case names) and `query`."""

    type: Line
    id: Line
    types: dict[Annotated[str, StringConstraints(max_length=200)], EventTypeName] = Field(
        default={}, max_length=500, description="Translates what `type` gave; what is not listed stays as it is."
    )
    subject: Line | None = None
    time: Line | None = None
    recipient: Line | None = None
    data: Line | dict[str, Any] | None = Field(
        None, description="An expression, or a tree of them. Without it the whole body is the data."
    )
    filter: Line | None = Field(None, description="False leaves a delivery out.")


class UnwrapBody(Strict):
    """An envelope that a queue puts round the payload (Pub/Sub: base64, SNS: JSON in a string, else an object)."""

    payload: Line
    encoding: Literal["base64", "json", "none"] = "none"


class Definition(Strict):
    """A source: verification and mapping."""

    description: Annotated[str, StringConstraints(max_length=500)] = ""
    verification: VerificationBody
    mapping: MappingBody
    event_source: Annotated[str, StringConstraints(max_length=200)] | None = None
    handshake: Line | None = None
    unwrap: list[UnwrapBody] = Field([], max_length=5, description="Envelopes, from the outside in.")


class SourceBody(Strict):
    """What a PUT sends: a definition, or the name of a shipped one with what is to differ.

    `secrets` are write-only; leave them out to keep those that are active.
    """

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"shipped": "shopify", "secrets": ["hush-hush-hush"]}}
    )
    shipped: Annotated[str, StringConstraints(max_length=63)] | None = Field(
        None, description="Start from a source that Depesche ships; GET /v1/shipped-sources lists them."
    )
    description: Annotated[str, StringConstraints(max_length=500)] | None = None
    verification: VerificationBody | None = None
    mapping: MappingBody | None = None
    event_source: Annotated[str, StringConstraints(max_length=200)] | None = None
    handshake: Line | None = None
    unwrap: list[UnwrapBody] | None = Field(None, max_length=5)
    secrets: list[Secret] | None = Field(None, min_length=1, max_length=5)


class SourceShown(Definition):
    """A source as it stands; of each secret only a fingerprint."""

    name: str
    version: int
    secrets: list[str] = Field(description="The first 8 hex digits of each active secret's SHA-256.")
    webhook: str = Field(description="The address to enter in the shop.")
    created_at: datetime
    updated_at: datetime


class Pasted(Strict):
    """A delivery to try: the body as text (exactly as signed), or as JSON."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "headers": {"X-Shopify-Topic": "orders/create", "X-Shopify-Webhook-Id": "b54557e4"},
                "body": {"id": 820982911946154508, "name": "#9999", "customer": {"id": 115310627314723954}},
            }
        },
    )
    body: Any
    headers: dict[HeaderName, Annotated[str, StringConstraints(max_length=8_192)]] = Field({}, max_length=100)
    query: dict[str, str] = Field({}, max_length=100)
    definition: Definition | None = Field(None, description="A definition to try in place of the stored one.")


class ShippedSource(Definition):
    """A source that Depesche ships, written from the shop's public documentation."""

    name: str


class Rehearsed(BaseModel):
    """What a delivery would become. Nothing was written."""

    handshake: bool
    verified: bool
    verification: str
    filtered: int
    errors: list[Problematic]
    events: list[dict[str, Any]]


class EventTypeBody(Strict):
    """What is declared about one type of event."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "description": "A customer placed an order.",
                "schema": {
                    "type": "object",
                    "required": ["customer_id", "number"],
                    "properties": {
                        "customer_id": {"type": "string"},
                        "number": {"type": "string"},
                        "email": {"type": "string", "x-pii": True},
                    },
                },
            }
        },
    )
    description: Annotated[str, StringConstraints(max_length=500)] = ""
    schema_: dict[str, Any] | None = Field(None, alias="schema", description="JSON Schema of `data`; null: anything.")


class EventTypeShown(BaseModel):
    """An event type as it stands."""

    type: str
    version: int
    description: str
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    updated_at: datetime


class RejectionShown(BaseModel):
    """What could not become an event. `body` and headers need the scope pii:read."""

    id: UUID
    source: str | None
    client: str
    reason: str
    detail: str
    errors: list[Problematic]
    event_type: str | None
    event_id: str | None
    subject: str | None
    times: int = Field(description="How often the same came.")
    received_at: datetime
    last_at: datetime
    state: Literal["open", "replayed"]
    replayed_at: datetime | None
    body: str | None = None
    headers: dict[str, str] | None = None


class ReplayBody(Strict):
    """Which open rejections to replay: by ids, or all that fit the filter, at most `limit`, the newest first."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"source": "shopify", "limit": 100}})
    ids: list[UUID] | None = Field(None, min_length=1, max_length=1_000)
    source: str | None = None
    type: str | None = None
    reason: str | None = None
    limit: Annotated[int, Field(ge=1, le=1_000)] = 1_000


class Replayed(BaseModel):
    """What became of each."""

    replayed: int
    rejected: int
    results: list[dict[str, Any]]


class TraceBody(Strict):
    """What other services ask about, in one call."""

    causes: list[UUID] = Field([], max_length=1_000)
    subjects: list[str] = Field([], max_length=100)


class Traced(BaseModel):
    """What intake knows: accepted events with their decisions, and kept rejections."""

    events: list[EventDetail]
    rejections: list[RejectionShown]
