"""access's HTTP requests and responses, with an example each."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from libs.auth import SCOPES
from services.access import domain

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
Locale = Annotated[str, AfterValidator(domain.locale), Field(max_length=20)]
Zone = Annotated[str, AfterValidator(domain.zone), Field(max_length=64)]
Expiry = Annotated[AwareDatetime, AfterValidator(domain.expiry)]
ModeWord = Literal["live", "test"]
TopicName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]

TENANT = {"name": "Nordlicht", "default_locale": "de", "zone": "Europe/Berlin"}
TOPIC = {"category": "marketing", "description": "A watched price fell", "active": True}
KEY = {"name": "shop back end", "scopes": ["events:send", "events:read"]}
ROTATION = {"grace_hours": 24}
SHOWN_KEY = {
    "id": "7mxq4zdkzt3la5vw",
    "tenant": 1,
    "mode": "live",
    "name": "shop back end",
    "scopes": ["events:read", "events:send"],
    "state": "active",
    "created_at": "2027-03-01T09:00:00Z",
    "created_by": "o2xv6hq4kzpl3rmw",
    "expires_at": None,
    "revoked_at": None,
    "last_used_at": "2027-03-02T14:00:00Z",
    "replaces": None,
}


def example(value: dict[str, Any]) -> ConfigDict:
    """Return the config of a shape that rejects unknown fields, with this example in the document."""
    return ConfigDict(extra="forbid", json_schema_extra={"examples": [value]})


class TenantBody(BaseModel):
    """The editable part of a tenant."""

    model_config = example(TENANT)
    name: Name = Field(description="Unique within the installation.")
    default_locale: Locale = Field("en", description="Ends every locale chain: de-AT → de → this.")
    zone: Zone = Field(
        "UTC",
        description="Time zone (tz database) of times in texts and of quiet hours, for recipients without one. If it "
        "is UTC, quiet hours use the default zone in tokens' settings.",
    )


class TenantShown(TenantBody):
    """A tenant."""

    model_config = example({"number": 1, **TENANT, "version": 3, "changed_at": "2027-03-01T09:00:00Z"})
    number: int
    version: int
    changed_at: AwareDatetime


class TopicBody(BaseModel):
    """The editable part of a topic."""

    model_config = example(TOPIC)
    category: Literal["transactional", "marketing"] = Field(
        description="Marketing needs a recorded consent; the category cannot be changed later."
    )
    description: str = Field("", max_length=1000, description="For people: what customers receive under this topic.")
    active: bool = Field(True, description="False: nothing new can be published under it.")


class TopicShown(TopicBody):
    """A topic."""

    model_config = example({"name": "price-alerts", **TOPIC, "version": 1, "changed_at": "2027-03-01T09:00:00Z"})
    name: str
    version: int
    changed_at: AwareDatetime


class KeyBody(BaseModel):
    """The key to create."""

    model_config = example(KEY)
    name: Name = Field(description="What uses it; shown in lists and the audit.")
    scopes: list[str] = Field(
        min_length=1, max_length=len(SCOPES), description=f"Of the closed list: {', '.join(SCOPES)}."
    )
    tenant: int | None = Field(None, ge=1, le=domain.MAX_TENANTS, description="Default: the caller's own.")
    mode: ModeWord | None = Field(None, description="Default: the caller's own.")
    expires_at: Expiry | None = Field(None, description="When it stops working; default: never.")


class KeyShown(BaseModel):
    """A key as lists show it: everything but the secret."""

    model_config = example(SHOWN_KEY)
    id: str
    tenant: int
    mode: ModeWord
    name: str
    scopes: list[str]
    state: Literal["active", "expired", "revoked"]
    created_at: AwareDatetime
    created_by: str
    expires_at: AwareDatetime | None
    revoked_at: AwareDatetime | None
    last_used_at: AwareDatetime | None = Field(description="To the hour.")
    replaces: str | None = Field(description="The key that this one replaced.")


class KeyMade(KeyShown):
    """A new key. `key` is shown only this once and stored nowhere."""

    model_config = example(SHOWN_KEY | {"key": "dp_live_7mxq4zdkzt3la5vw_" + "k" * 52})
    key: str


class Rotation(BaseModel):
    """How long to keep the old key."""

    model_config = example(ROTATION)
    grace_hours: float | None = Field(
        None, ge=0, le=720, allow_inf_nan=False, description="Hours that the old key keeps working."
    )


class Presented(BaseModel):
    """The key that a caller presented to a service."""

    model_config = example({"key": "dp_live_7mxq4zdkzt3la5vw_" + "k" * 52})
    key: str = Field(max_length=1000)


class Verified(BaseModel):
    """A key's tenant and mode, and its scopes."""

    model_config = example({"key_id": "7mxq4zdkzt3la5vw", "tenant": 1, "mode": "live", "scopes": ["events:send"]})
    key_id: str
    tenant: int
    mode: ModeWord
    scopes: list[str]


class Wanted(BaseModel):
    """Topics that a communication or a consent names."""

    model_config = example({"topics": ["price-alerts"]})
    topics: list[Annotated[str, StringConstraints(max_length=100)]] = Field(default_factory=list, max_length=1000)


class Resolved(BaseModel):
    """The caller's tenant, and the requested topics that exist. `near`: for each other, topics that resemble it."""

    tenant: TenantShown
    topics: dict[str, TopicShown]
    near: dict[str, list[str]] = Field({}, examples=[{"price-alert": ["price-alerts"]}])


class NumbersWanted(BaseModel):
    """Tenants to look up."""

    model_config = example({"numbers": [1, 2]})
    numbers: list[Annotated[int, Field(ge=1, le=domain.MAX_TENANTS)]] = Field(max_length=1000)


class TenantsFound(BaseModel):
    """The tenants that exist, by number."""

    tenants: dict[int, TenantShown]
