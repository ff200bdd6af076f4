"""What the communications' routes take and give, with an example each."""

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
    """A shape that refuses unknown fields, with this example in the document."""
    return ConfigDict(extra="forbid", json_schema_extra={"examples": [value]})


class ChannelBody(BaseModel):
    """One channel of a step."""

    model_config = example(STEP["channels"][0])  # type: ignore[arg-type]
    channel: ChannelWord
    template: Annotated[str, StringConstraints(pattern=domain.NAME)] = Field(description="A published template.")
    sender: int | None = Field(None, ge=1, le=32_767, description="A sender's number; else the channel's default.")


class StepBody(BaseModel):
    """One step of the plan; the next begins when every message of this one ended in definite failure."""

    model_config = example(STEP)
    mode: Literal["all", "first"] = Field("all", description="All channels, or the first that reaches the recipient.")
    channels: list[ChannelBody] = Field(min_length=1, max_length=4)


class CommunicationBody(BaseModel):
    """What people edit. Expressions are CEL over `event` (id, type, source, subject, time, data)."""

    model_config = example(COMMUNICATION)
    trigger: str = Field(min_length=1, max_length=200, description="The event type that it listens to.")
    plan: list[StepBody] = Field(min_length=1, max_length=8)
    category: Literal["transactional", "marketing"]
    description: str = Field("", max_length=1000)
    condition: str | None = Field(None, max_length=4000, description="Sent only where it is true; always without.")
    recipient: str | None = Field(
        None,
        max_length=4000,
        description="Gives one key, a list of keys or null; without it the event names its recipient.",
    )
    topic: str | None = Field(None, max_length=64, description="Needed for marketing: what consent hangs on.")
    lane: Literal["transactional", "bulk"] | None = Field(None, description="By category where it is left out.")
    on_unknown: Literal["leave", "resend", "verify"] = Field(
        "leave",
        description="What follows when nobody knows whether the provider accepted it: leave it unknown; send it again; "
        "or have the provider asked, which SMS alone allows: on other channels `verify` is `leave`.",
    )
    expiry_seconds: int = Field(86_400, ge=1, le=30 * 86_400, description="Seconds after the event's own time.")
    quiet_hours: Literal["obey", "ignore"] | None = Field(None, description="By category where it is left out.")

    @field_validator("plan", mode="after")
    @classmethod
    def _channels_once(cls, plan: list[StepBody]) -> list[StepBody]:
        for number, step in enumerate(plan):
            channels = [use.channel for use in step.channels]
            if len(set(channels)) != len(channels):
                raise ValueError(f"step {number} of the plan names a channel twice")
        return plan

    def definition(self) -> Definition:
        """The same as a value of the domain."""
        steps = tuple(
            Step(s.mode, tuple(ChannelUse(c.channel, c.template, c.sender) for c in s.channels)) for s in self.plan
        )
        return Definition(plan=steps, **self.model_dump(exclude={"plan"}))


class CommunicationShown(CommunicationBody):
    """A draft as it is given out."""

    model_config = example({
        "name": "parcel-shipped", **COMMUNICATION, "state": "published", "version": 2, "released": 1,
        "release_id": RELEASE_ID, "changed_at": "2027-03-01T09:00:00Z",
    })  # fmt: skip
    name: str
    state: StateWord = Field(description="changed: edited since it was published.")
    version: int = Field(description="Of the draft; its entity tag.")
    release_id: str | None = Field(description="The active release.")
    released: int | None = Field(description="The latest release's version.")
    changed_at: AwareDatetime
    outdated: list[str] = Field(default_factory=list, description="Templates that have a newer published version.")


class ReleaseShown(BaseModel):
    """A release: what the decision pins and everything downstream renders."""

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
        default_factory=list, description="What is sent otherwise than one might expect; nothing of it was refused."
    )


class Republish(BaseModel):
    """Which template's users are to be published again."""

    model_config = example({"template": "parcel-shipped.push"})
    template: Annotated[str, StringConstraints(pattern=domain.NAME)]


class Republished(BaseModel):
    """The new releases, by communication."""

    releases: dict[str, ReleaseShown]


def shown(communication: Communication, outdated: list[str] | None = None) -> CommunicationShown:
    """A draft as it is given out."""
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
    """A release as it is given out, without its templates' sources."""
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
