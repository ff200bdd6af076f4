"""Requests and responses of the communications' routes, with an example each."""

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, field_validator

from services.orders_notification.domain import communications as domain
from services.orders_notification.domain.communications import ChannelUse, Communication, Definition, Release, Step

CommunicationName = Annotated[str, StringConstraints(pattern=domain.NAME)]
ChannelWord = Literal["push", "email", "sms", "webhook"]
StateWord = Literal["draft", "published", "changed", "retired"]

STEP = {
    "mode": "first",
    "channels": [
        {"channel": "push", "template": "parcel-shipped.push"},
        {"channel": "email", "template": "parcel-shipped.email"},
    ],
}
COMMUNICATION = {
    "description": "The carrier has the parcel",
    "trigger": "parcel.shipped",
    "condition": "event.data.carrier != 'pickup'",
    "recipient": "event.data.customer",
    "category": "transactional",
    "expiry_seconds": 86400,
    "on_unknown": "leave",
    "plan": [STEP],
}
RELEASE_ID = "01936d3e-7c00-7000-8000-00000000aaaa"


def example(value: dict[str, Any]) -> ConfigDict:
    """Return the configuration of a shape that rejects unknown fields, with this example in the document."""
    return ConfigDict(extra="forbid", json_schema_extra={"examples": [value]})


class ChannelBody(BaseModel):
    """One channel of a step."""

    model_config = example(STEP["channels"][0])  # type: ignore[arg-type]
    channel: ChannelWord
    template: Annotated[str, StringConstraints(pattern=domain.NAME)] = Field(description="A published template.")
    sender: int | None = Field(None, ge=1, le=32_767, description="A sender's number; default: the channel's own.")


class StepBody(BaseModel):
    """One step of the plan; the next begins when every message of this one has definitely failed."""

    model_config = example(STEP)
    mode: Literal["all", "first"] = Field("all", description="All channels, or the first that reaches the recipient.")
    channels: list[ChannelBody] = Field(min_length=1, max_length=4)


class CommunicationBody(BaseModel):
    """A communication as people edit it. Expressions are CEL over `event` (id, type, source, subject, time, data)."""

    model_config = example(COMMUNICATION)
    trigger: str = Field(min_length=1, max_length=200, description="The event type that triggers it.")
    plan: list[StepBody] = Field(min_length=1, max_length=8)
    category: Literal["transactional", "marketing"]
    description: str = Field("", max_length=1000)
    condition: str | None = Field(None, max_length=4000, description="Sent only if true; without one, always.")
    recipient: str | None = Field(
        None,
        max_length=4000,
        description="Gives one key, a list of keys or null; without one, the event names its recipient.",
    )
    topic: str | None = Field(None, max_length=64, description="Required for marketing: consent is given per topic.")
    lane: Literal["transactional", "bulk"] | None = Field(None, description="Default: by category.")
    on_unknown: Literal["leave", "resend", "verify"] = Field(
        "leave",
        description="What to do when it is not known whether the provider accepted a message: leave it unknown; send "
        "it again; or ask the provider, which only SMS supports: on other channels `verify` acts as `leave`.",
    )
    expiry_seconds: int = Field(
        86_400,
        ge=1,
        le=30 * 86_400,
        description="Seconds after the event's own time, or after its arrival if that is earlier.",
    )
    quiet_hours: Literal["obey", "ignore"] | None = Field(None, description="Default: by category.")

    @field_validator("plan", mode="after")
    @classmethod
    def _channels_once(cls, plan: list[StepBody]) -> list[StepBody]:
        for number, step in enumerate(plan):
            channels = [use.channel for use in step.channels]
            if len(set(channels)) != len(channels):
                raise ValueError(f"step {number} of the plan names a channel twice")
        return plan

    def definition(self) -> Definition:
        """Return the body as a domain value."""
        steps = tuple(
            Step(s.mode, tuple(ChannelUse(c.channel, c.template, c.sender) for c in s.channels)) for s in self.plan
        )
        return Definition(plan=steps, **self.model_dump(exclude={"plan"}))


class CommunicationShown(CommunicationBody):
    """A draft as returned."""

    model_config = example({
        "name": "parcel-shipped", **COMMUNICATION, "state": "published", "version": 2, "released": 1,
        "release_id": RELEASE_ID, "changed_at": "2027-03-01T09:00:00Z",
    })  # fmt: skip
    name: str
    state: StateWord = Field(description="changed: edited since it was published.")
    version: int = Field(description="Version of the draft; its entity tag.")
    release_id: str | None = Field(description="The active release.")
    released: int | None = Field(description="Version of the latest release.")
    changed_at: AwareDatetime
    outdated: list[str] = Field(default_factory=list, description="Templates that have a newer published version.")


class ReleaseShown(BaseModel):
    """A release: the decision pins it, and everything downstream renders exactly it."""

    model_config = example({
        "id": RELEASE_ID, "communication": "parcel-shipped", "version": 1, "digest": "ab" * 32,
        "templates": {"parcel-shipped.push": 3}, "published_at": "2027-03-01T09:00:00Z",
        "published_by": "7mxq4zdkzt3la5vw",
    })  # fmt: skip
    id: str
    communication: str
    version: int
    digest: str
    templates: dict[str, int] = Field(description="Template → version.")
    published_at: AwareDatetime
    published_by: str
    notices: list[str] = Field(
        default_factory=list, description="Where sending differs from what one might expect; none is an error."
    )


class Republish(BaseModel):
    """The template whose communications are to be published again."""

    model_config = example({"template": "parcel-shipped.push"})
    template: Annotated[str, StringConstraints(pattern=domain.NAME)]


class Republished(BaseModel):
    """The new releases, by communication."""

    releases: dict[str, ReleaseShown]


def shown(communication: Communication, outdated: list[str] | None = None) -> CommunicationShown:
    """Return a draft's response."""
    return CommunicationShown(
        **domain.plain(communication.definition),
        name=communication.name,
        state=communication.state,
        version=communication.version,
        release_id=str(communication.release_id) if communication.release_id else None,
        released=communication.released,
        changed_at=communication.changed_at,
        outdated=outdated or [],
    )


def shown_release(release: Release) -> ReleaseShown:
    """Return a release's response, without its templates' sources."""
    return ReleaseShown(
        id=str(release.id),
        communication=release.communication,
        version=release.version,
        digest=release.digest.hex(),
        templates={name: template["version"] for name, template in release.bundle["templates"].items()},
        published_at=release.published_at,
        published_by=release.published_by,
        notices=domain.notices_of(release.bundle),
    )
