"""Sources over HTTP: definitions, and the result of a rehearsal, with an example each."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from services.orders_notification.api.shapes import EventTypeName, Problematic, Strict
from services.orders_notification.domain.signatures import Scheme
from services.orders_notification.domain.topics import Hearing

Line = Annotated[str, StringConstraints(max_length=4_096)]
Secret = Annotated[str, StringConstraints(min_length=8, max_length=1_024, pattern=r"^[^\x00-\x1f\x7f]+$")]
Reply = Line | dict[str, Any] | list[Any]
HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$")]


class VerificationBody(Strict):
    """How the sender is authenticated; `algorithm`, `prefix` and others only for schemes that use them."""

    scheme: Scheme
    header: HeaderName | None = Field(None, examples=["X-Shopify-Hmac-Sha256"])
    field: Annotated[str, StringConstraints(max_length=200)] | None = Field(
        None, description="Path of the signature in the body, instead of a header.", examples=["data.signature"]
    )
    prefix: Annotated[str, StringConstraints(max_length=50)] | None = Field(None, examples=["sha256="])
    algorithm: Literal["sha1", "sha256", "sha512"] | None = None
    tolerance_seconds: Annotated[int, Field(ge=10, le=86_400)] | None = None
    encoding: Literal["hex", "base64"] | None = None
    timestamp_header: HeaderName | None = Field(None, examples=["X-Timestamp"])
    signed: Annotated[str, StringConstraints(max_length=1_000)] | None = Field(
        None,
        description="The signed content: a text with placeholders {body}, {timestamp}, {method}, {url}, {form}, "
        "{body.…}, {header.…} and {query.…}.",
        examples=["{timestamp}.{body}"],
    )
    key: Literal["text", "hex", "base64"] | None = Field(
        None, description="The encoding of the secrets, if they are not the key itself.", examples=["hex"]
    )
    query: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,60}$")] | None = Field(
        None, description="Query parameter with the token or the signature, instead of a header.", examples=["token"]
    )


class TopicBody(Strict):
    """A topic instead of a webhook. The broker controls who may publish on it; Dapr's component has the login."""

    component: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,100}$")] = Field(
        description="The name of Dapr's pub/sub component, as set up by the operators.", examples=["erp-kafka"]
    )
    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:/-]{1,249}$")] = Field(
        description="The topic's name on that broker.", examples=["sales.orders"]
    )


class MappingBody(Strict):
    """CEL over `body`, `headers` (lower-case names) and `query`. For a message, `headers` has its own and the broker's
    (Kafka's `__key`, `__partition`, `__offset`), and `body` is null if it has none."""

    type: Line = Field(examples=['"shopify." + headers["x-shopify-topic"]'])
    id: Line = Field(examples=['headers["x-shopify-event-id"]'])
    types: dict[Annotated[str, StringConstraints(max_length=200)], EventTypeName] = Field(
        default={}, max_length=500, description="Translates the result of `type`; unlisted values stay as they are."
    )
    subject: Line | None = Field(None, examples=["body.name"])
    time: Line | None = Field(None, examples=["body.updated_at"])
    recipient: Line | None = Field(None, examples=["string(body.customer.id)"])
    data: Line | dict[str, Any] | None = Field(
        None,
        description="An expression, or a tree of them. Without one, the whole body is the data.",
        examples=[{"number": "body.name", "total": "body.total_price"}],
    )
    filter: Line | None = Field(
        None, description="False drops the delivery.", examples=["!has(body.test) || body.test == false"]
    )


class UnwrapBody(Strict):
    """An envelope that a queue wraps around the payload (Pub/Sub: base64, SNS: JSON in a string, else an object)."""

    payload: Line = Field(examples=["body.message.data"])
    encoding: Literal["base64", "json", "none"] = "none"


class Definition(Strict):
    """A source: a webhook (`verification` and `mapping`), or a `topic`, whose messages are CloudEvents unless it has a
    `mapping`."""

    description: Annotated[str, StringConstraints(max_length=500)] = ""
    verification: VerificationBody | None = None
    topic: TopicBody | None = None
    mapping: MappingBody | None = None
    event_source: Annotated[str, StringConstraints(max_length=200)] | None = Field(None, examples=["/shopify"])
    handshake: Line | None = Field(
        None,
        description="For the sender's first call, by POST or GET, signed or not: true answers it with 200, a map with "
        "itself as JSON, a text with itself.",
        examples=["has(body.webhook_id) && size(body) == 1"],
    )
    answer: Reply | None = Field(
        None,
        description="What the sender must read for a delivery to count, with 200: a text as it is, else JSON. Without "
        "it deliveries are answered 202, with counts.",
        examples=[{"op": "success"}],
    )
    unwrap: list[UnwrapBody] = Field([], max_length=5, description="Envelopes, outermost first.")


class SourceBody(Strict):
    """A PUT's body: a definition, or the name of a shipped one with the differences.

    `secrets` are write-only; leave them out to keep the active ones.
    """

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"shipped": "shopify", "secrets": ["hush-hush-hush"]}}
    )
    shipped: Annotated[str, StringConstraints(max_length=63)] | None = Field(
        None, description="Start from a source that Depesche ships; GET /v1/shipped-sources lists them."
    )
    description: Annotated[str, StringConstraints(max_length=500)] | None = None
    verification: VerificationBody | None = None
    topic: TopicBody | None = None
    mapping: MappingBody | None = None
    event_source: Annotated[str, StringConstraints(max_length=200)] | None = None
    handshake: Line | None = None
    answer: Reply | None = None
    unwrap: list[UnwrapBody] | None = Field(None, max_length=5)
    secrets: list[Secret] | None = Field(None, min_length=1, max_length=5)


class HearingShown(BaseModel):
    """Whether a topic is consumed. `workers`: how many report this state; `since` when."""

    state: Hearing
    detail: str = Field(examples=["Its messages are received."])
    workers: int
    since: datetime | None


class SourceShown(Definition):
    """A stored source; secrets appear only as fingerprints."""

    name: str = Field(examples=["shopify"])
    version: int
    secrets: list[str] = Field(
        description="The first 8 hex digits of each active secret's SHA-256.", examples=[["5e884898"]]
    )
    webhook: str | None = Field(
        description="The URL to enter in the shop; null for a topic.",
        examples=["https://depesche.shop.example/orders-notification/v1/sources/shopify"],
    )
    hearing: HearingShown | None = Field(description="For a topic: whether a worker's sidecar consumes it.")
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
    definition: Definition | None = Field(None, description="A definition to try instead of the stored one.")


class ShippedSource(Definition):
    """A source that Depesche ships, based on the shop's public documentation."""

    name: str = Field(examples=["shopify"])


class Rehearsed(BaseModel):
    """What a delivery would become. Nothing was written."""

    handshake: bool
    verified: bool
    verification: str = Field(examples=["The signature matches an active secret."])
    filtered: int
    errors: list[Problematic]
    events: list[dict[str, Any]]
