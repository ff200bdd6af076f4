"""tokens' HTTP requests and import rows, with an example each."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from libs.ids import RecipientKey
from services.tokens.domain.consents import MAX_PROOF, topic_name
from services.tokens.domain.recipients import (
    MAX_ADDRESSES,
    check_attributes,
    clock_time,
    installation_id,
    locale_tag,
    plain_text,
    recipient_key,
    time_zone,
)

Text = Annotated[str, AfterValidator(plain_text)]
Key = Annotated[RecipientKey, AfterValidator(recipient_key), Field(max_length=215, examples=["customer:4711"])]
Installation = Annotated[str, AfterValidator(installation_id), Field(max_length=200, examples=["fHk3-92b"])]
Written = Annotated[str, Field(max_length=4_200)]
Proof = Annotated[str, Field(max_length=MAX_PROOF), AfterValidator(plain_text)]
Region = Annotated[str, Field(pattern="^[A-Z]{2}$")]
ChannelWord = Literal["push", "email", "sms", "webhook"]
PushKind = Literal["fcm_token", "fid"]

PROFILE = {
    "first_name": "Jörg",
    "last_name": "Müller",
    "locale": "de-AT",
    "zone": "Europe/Vienna",
    "quiet_hours": {"from": "22:00", "to": "07:00"},
    "attributes": {"tier": "gold", "points": 1200},
    "emails": ["joerg@example.com"],
    "phones": ["+43 664 1234567"],
}
CONSENT = {
    "topic": "price-alerts",
    "channel": "email",
    "granted": True,
    "at": "2027-03-01T09:00:00Z",
    "how": "checkbox at checkout",
    "text_version": "2027-02",
}
DEVICE = {
    "installation": "fHk3-92b",
    "kind": "fcm_token",
    "token": "fHk3-92b:APA91bExampleTokenOfFirebase",
    "platform": "android",
    "app_version": "8.2.1",
    "locale": "de",
}


def example(value: dict[str, Any]) -> ConfigDict:
    """Return the config of a shape that rejects unknown fields, with this example in the document."""
    return ConfigDict(extra="forbid", populate_by_name=True, json_schema_extra={"examples": [value]})


def _attributes(value: dict[str, Any]) -> dict[str, Any]:
    check_attributes(value)
    return value


def _sensible(value: datetime) -> datetime:
    # a spreadsheet's day number parses as a second of 1970; in the last years an offset can overflow the calendar
    if not 1990 <= value.year <= 2200:
        raise ValueError("This year is out of range; send a time like 2027-03-01T09:00:00Z.")
    return value


class QuietHours(BaseModel):
    """When not to disturb; over midnight if `from` is later than `to`. Without a zone, the recipient's own applies."""

    model_config = example({"from": "22:00", "to": "07:00", "zone": "Europe/Vienna"})
    from_: Annotated[str, AfterValidator(clock_time), Field(alias="from", examples=["22:00"])]
    to: Annotated[str, AfterValidator(clock_time), Field(examples=["07:00"])]
    zone: Annotated[str, AfterValidator(time_zone)] | None = None

    @model_validator(mode="after")
    def _some_time(self) -> Self:
        if self.from_ == self.to:
            raise ValueError("Quiet hours must begin and end at different times; leave them out for none.")
        return self


class RecipientBody(BaseModel):
    """A recipient. Address lists, if given, are the whole new set of their channel."""

    model_config = example(PROFILE)
    first_name: Text | None = None
    last_name: Text | None = None
    locale: Annotated[str, AfterValidator(locale_tag)] | None = None
    zone: Annotated[str, AfterValidator(time_zone)] | None = None
    quiet_hours: QuietHours | None = None
    attributes: Annotated[dict[str, Any], AfterValidator(_attributes)] | None = None
    emails: list[Written] | None = Field(None, max_length=MAX_ADDRESSES)
    phones: list[Written] | None = Field(None, max_length=MAX_ADDRESSES)
    webhooks: list[Written] | None = Field(None, max_length=MAX_ADDRESSES)


class ConsentBody(BaseModel):
    """A yes or no to a topic on a channel. A yes needs its proof: `how`, and the version of the text."""

    model_config = example(CONSENT)
    topic: Annotated[str, AfterValidator(topic_name), Field(description="`*` means all topics, and is only for a no.")]
    channel: ChannelWord
    granted: bool
    at: Annotated[AwareDatetime, AfterValidator(_sensible)] | None = Field(
        None, description="When it was stated; default: now."
    )
    how: Proof | None = Field(None, description="Where and how it was stated.")
    text_version: Proof | None = Field(None, description="The version of the text that was agreed to.")


class ConsentsBody(BaseModel):
    """A recipient's statements, in any order: the latest one on a topic and channel holds."""

    model_config = example({"consents": [CONSENT]})
    consents: list[ConsentBody] = Field(min_length=1, max_length=200)


class DeviceToken(BaseModel):
    """The address that Firebase gave an installation."""

    model_config = example({"kind": "fcm_token", "token": DEVICE["token"], "app_version": "8.2.2"})
    kind: PushKind = Field("fcm_token", description="fcm_token: a registration token; fid: a Firebase installation id.")
    token: Written
    platform: Text | None = None
    app_version: Text | None = None
    locale: Annotated[str, AfterValidator(locale_tag)] | None = None


class DeviceBody(DeviceToken):
    """A device of a known recipient."""

    model_config = example(DEVICE)
    installation: Installation


class DeviceRegistration(DeviceBody):
    """An app that started. `recipient` is the customer who is logged in; leave it out if nobody is."""

    model_config = example({**DEVICE, "recipient": "customer:4711", "zone": "Europe/Vienna"})
    recipient: Key | None = None
    zone: Annotated[str, AfterValidator(time_zone)] | None = None


class Login(BaseModel):
    """The customer who logged in."""

    model_config = example({"recipient": "customer:4711"})
    recipient: Key


class AddressBody(BaseModel):
    """An address as people write it."""

    model_config = example({"value": "joerg@example.com"})
    value: Written
    region: Region | None = Field(None, description="Country (ISO 3166) for a phone number without a country code.")


class ImportDevice(DeviceToken):
    """A device in an import; without an installation id, its token is used as one."""

    installation: Installation | None = None


class ImportRow(RecipientBody):
    """A line of an NDJSON import. Fields that are left out or null stay unchanged."""

    model_config = example({"key": "customer:4711", **PROFILE, "consents": [CONSENT]})
    key: Key
    region: Region | None = Field(None, description="Country (ISO 3166) of phone numbers without a country code.")
    devices: list[ImportDevice] = Field(default_factory=list, max_length=MAX_ADDRESSES)
    consents: list[ConsentBody] = Field(default_factory=list, max_length=200)
