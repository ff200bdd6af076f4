"""Intake's requests and responses, with an example each."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

ORDER_PLACED: dict[str, Any] = {
    "specversion": "1.0",
    "type": "order.placed",
    "source": "/shop",
    "id": "evt-100045",
    "subject": "100045",
    "time": "2026-03-01T09:30:00+01:00",
    "data": {"customer_id": "4711", "number": "100045", "total": "59.90", "currency": "EUR"},
}

PLAIN = r"^[^\x00-\x1f\x7f]*$"  # no control characters: Postgres stores no U+0000

EventTypeName = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]


class Strict(BaseModel):
    """Rejects unknown fields: they are typing mistakes."""

    model_config = ConfigDict(extra="forbid")


class Problematic(BaseModel):
    """One problem, and where it is."""

    pointer: str = Field(examples=["/data/total"])
    detail: str = Field(examples=['the value is not of type "string".'])


class DecisionShown(BaseModel):
    """What one communication decided about an event, for one recipient where there is one."""

    communication: str | None = Field(examples=["order-confirmation"])
    outcome: str = Field(description="`requested`, or the reason's word.", examples=["requested"])
    recipient: str | None = Field(None, examples=["customer:4711"])
    release_id: UUID | None = None
    notification_id: UUID | None = None
    detail: str | None = Field(None, examples=["The condition is false."])


class Taken(BaseModel):
    """A single event was accepted."""

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
    """The result of one event of a batch."""

    index: int
    status: Literal["accepted", "duplicate", "rejected"]
    event_id: str | None = None
    id: UUID | None = Field(None, description="The cause; for a rejected event that is stored, the rejection.")
    notifications: int = 0
    reason: str | None = None
    detail: str | None = None
    errors: list[Problematic] = []


class BatchTaken(BaseModel):
    """The results of a batch's events, in order."""

    accepted: int
    duplicate: int
    rejected: int
    results: list[Result]


class EventShown(BaseModel):
    """An accepted event. `data` is null once it is erased."""

    id: UUID
    type: str = Field(examples=["order.placed"])
    source: str = Field(examples=["/shop"])
    event_id: str = Field(examples=["evt-100045"])
    subject: str | None = Field(examples=["100045"])
    recipient: str | None = Field(examples=["customer:4711"])
    client: str = Field(description="The key or source that sent it.", examples=["source:shopify"])
    time: str = Field(description="As written in the event.", examples=["2026-03-01T09:30:00+01:00"])
    occurred_at: datetime
    received_at: datetime
    state: Literal["decided", "settled"]
    requests: int
    requests_settled: int
    trace_id: str | None = Field(examples=["0af7651916cd43dd8448eb211c80319c"])


class EventDetail(EventShown):
    """An accepted event with its data and all decisions."""

    data: Any = Field(examples=[ORDER_PLACED["data"]])
    extensions: dict[str, Any] | None
    decisions: list[DecisionShown]


class EventTypeBody(Strict):
    """The declaration of an event type."""

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
    """A declared event type."""

    type: str = Field(examples=["order.placed"])
    version: int
    description: str = Field(examples=["A customer placed an order."])
    schema_: dict[str, Any] | None = Field(
        None, alias="schema", examples=[{"type": "object", "required": ["customer_id"]}]
    )
    updated_at: datetime


class EventTypes(BaseModel):
    """One page of the declared event types."""

    items: list[EventTypeShown]
    next_cursor: str | None = Field(None, examples=["WyJvcmRlci5wbGFjZWQiXQ"])


class Delivered(BaseModel):
    """The result of one event of a shop's delivery: accepted, duplicate, or stored with its reason."""

    status: Literal["accepted", "duplicate", "kept"]
    id: UUID | None = Field(description="The cause; for a stored rejection, the rejection.")
    reason: str | None = Field(description="Why it was rejected.", examples=[None])


class DeliveryTaken(BaseModel):
    """A shop's webhook was accepted."""

    results: list[Delivered]
    filtered: int = Field(description="How many the source's filter left out.", examples=[0])


class RejectionShown(BaseModel):
    """A delivery that could not become an event. Body, headers and query need the scope pii:read.

    Values that a schema marks x-secret are hidden; the body is null where they cannot be told from the rest.
    """

    id: UUID
    source: str | None = Field(examples=["shopify"])
    client: str = Field(examples=["source:shopify"])
    reason: str = Field(examples=["schema_invalid"])
    detail: str = Field(examples=["The event does not match the schema of its type."])
    errors: list[Problematic]
    event_type: str | None = Field(examples=["order.placed"])
    event_id: str | None = Field(examples=["orders/create:7b8c9d0a"])
    subject: str | None = Field(examples=["#1001"])
    times: int = Field(description="How often the same bytes arrived.")
    received_at: datetime
    last_at: datetime
    state: Literal["open", "replayed"]
    replayed_at: datetime | None
    body: str | None = Field(None, examples=['{"id": 820982911946154508, "total_price": 19.9}'])
    headers: dict[str, str] | None = Field(None, examples=[{"x-shopify-topic": "orders/create"}])
    query: dict[str, str] | None = Field(None, examples=[{"klarna_order_id": "41d7d2f0"}])


class ReplayBody(Strict):
    """The open rejections to replay: by ids, or all that match the filter, at most `limit`, oldest first."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"source": "shopify", "limit": 100}})
    ids: list[UUID] | None = Field(None, min_length=1, max_length=1_000)
    source: Annotated[str, StringConstraints(max_length=63, pattern=PLAIN)] | None = None
    type: Annotated[str, StringConstraints(max_length=200, pattern=PLAIN)] | None = None
    reason: Annotated[str, StringConstraints(max_length=50)] | None = None
    limit: Annotated[int, Field(ge=1, le=1_000)] = 1_000
    cursor: str | None = Field(None, max_length=500, examples=["WyIwMTk5Il0"])


class Replayed(BaseModel):
    """The result of each. `next_cursor`: there are more; null after the last."""

    replayed: int
    rejected: int
    results: list[dict[str, Any]]
    next_cursor: str | None = Field(examples=["WyIwMTk5Il0"])


class TraceBody(Strict):
    """What another service asks about, in one call."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"causes": [], "subjects": ["100045"]}})
    causes: list[UUID] = Field([], max_length=1_000)
    subjects: list[Annotated[str, StringConstraints(max_length=256, pattern=PLAIN)]] = Field([], max_length=100)


class Traced(BaseModel):
    """What intake knows: accepted events with their decisions, and stored rejections."""

    events: list[EventDetail]
    rejections: list[RejectionShown]
