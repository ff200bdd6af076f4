"""Requests and responses of the webhooks' routes, with an example each."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from services.bounce.domain.webhooks import KINDS

_KINDS = list(KINDS)
_BODY: dict[str, Any] = {
    "url": "https://crm.example/hooks/bounces",
    "kinds": _KINDS,
    "note": "the CRM's list hygiene",
    "enabled": True,
}
_WEBHOOK: dict[str, Any] = {
    **_BODY,
    "id": "0193c8a4-6a10-7c11-9a5e-7f0d1c2b3a49",
    "version": 1,
    "created_at": "2027-03-01T09:00:00Z",
    "changed_at": "2027-03-01T09:00:00Z",
    "disabled_for": None,
    "failing_since": None,
    "waiting": 0,
    "given_up": 0,
}
_ATTEMPT: dict[str, Any] = {
    "id": "0193c8a4-6b20-7d00-8a00-3f2e1d0c9b8a",
    "at": "2027-03-01T09:00:01Z",
    "event": "0193c8a4-6b10-7a00-9a00-1a2b3c4d5e6f",
    "kind": "bounce.classified",
    "status": 503,
    "error": "try later",
    "milliseconds": 41,
}


def _example(value: dict[str, Any], *, extra: Literal["forbid", "ignore"] = "ignore") -> ConfigDict:
    return ConfigDict(extra=extra, json_schema_extra={"examples": [value]})


class WebhookBody(BaseModel):
    """Where to send events, and which."""

    model_config = _example(_BODY, extra="forbid")
    url: str = Field(max_length=2_048, description="https, at a public address.")
    kinds: list[Literal["bounce.classified", "suppression.changed"]] = Field(min_length=1, max_length=10)
    note: Annotated[str, StringConstraints(strip_whitespace=True, max_length=500)] = Field(
        "", description="Its purpose."
    )
    enabled: bool = True


class WebhookShown(BaseModel):
    """A webhook without its secrets. `waiting`, `given_up`: events, counted up to 10,000."""

    model_config = _example(_WEBHOOK)
    id: UUID
    url: str
    kinds: list[str]
    note: str
    enabled: bool
    version: int
    created_at: AwareDatetime
    changed_at: AwareDatetime
    disabled_for: str | None = Field(description="Why it was disabled: `failing` for days, or `gone` (HTTP 410).")
    failing_since: AwareDatetime | None = Field(description="The time since when no call has succeeded.")
    waiting: int
    given_up: int


class WebhookMade(WebhookShown):
    """A webhook with its secret, which is shown only once."""

    model_config = _example({**_WEBHOOK, "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"})
    secret: str


class TryShown(BaseModel):
    """The result of a call. Without a status there was no reply, and `error` says why."""

    model_config = _example({"delivered": True, "status": 204, "error": None, "milliseconds": 41})
    delivered: bool
    status: int | None
    error: str | None
    milliseconds: int


class AttemptShown(BaseModel):
    """A call. `event` is the `webhook-id` that the receiver got."""

    model_config = _example(_ATTEMPT)
    id: UUID
    at: AwareDatetime
    event: UUID
    kind: str
    status: int | None
    error: str | None
    milliseconds: int


class AgainBody(BaseModel):
    """Which events to send again: of a time span, or some of these by id."""

    model_config = _example({"since": "2027-03-01T08:00:00Z", "delivered": False}, extra="forbid")
    since: AwareDatetime
    until: AwareDatetime | None = Field(None, description="Default: now.")
    delivered: bool = Field(False, description="Delivered ones too.")
    events: list[UUID] = Field(default_factory=list, max_length=1_000, description="Only these; empty: all.")


class AgainShown(BaseModel):
    """How many events are due again."""

    model_config = _example({"count": 188})
    count: int
