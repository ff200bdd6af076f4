"""Requests and responses of templates, with an example each."""

from typing import Annotated, Any, Literal

from fastapi import Path
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from services.templates import domain
from services.templates.domain import Template, Version

TemplateName = Annotated[str, StringConstraints(pattern=domain.NAME)]
NameInPath = Annotated[TemplateName, Path(description="The template's name.", examples=["parcel-shipped.push"])]
ChannelWord = Literal["push", "email", "sms", "webhook"]
LocaleMap = dict[Annotated[str, StringConstraints(max_length=20)], dict[str, Any]]

LOCALES = {
    "en": {
        "title": "Your parcel is on its way",
        "body": "{{ recipient.first_name | default: 'Hello' }}, order {{ event.subject }} left us today.",
        "link": "{{ event.data.tracking_url }}",
    },
    "de": {
        "title": "Dein Paket ist unterwegs",
        "body": "{{ recipient.first_name | default: 'Hallo' }}, Bestellung {{ event.subject }} ist unterwegs.",
        "link": "{{ event.data.tracking_url }}",
    },
}
TEMPLATE = {"channel": "push", "description": "The carrier has the parcel", "locales": LOCALES}
EVENT = {
    "id": "7c1f",
    "type": "parcel.shipped",
    "source": "https://shop.example",
    "subject": "B-1042",
    "data": {"tracking_url": "https://track.example/00340434161094042557"},
}


def example(value: dict[str, Any]) -> ConfigDict:
    """Return the configuration of a shape that rejects unknown fields, with this example in the document."""
    return ConfigDict(extra="forbid", json_schema_extra={"examples": [value]})


class TemplateBody(BaseModel):
    """A template as people edit it. Parts by channel: push has title, body, image, link, data, collapse_key,
    ttl_seconds; email subject, html, text, preheader, from_name, reply_to; sms text; webhook json. All are Liquid."""

    model_config = example(TEMPLATE)
    channel: ChannelWord
    description: str = Field("", max_length=1000, description="For people.")
    locales: LocaleMap = Field(description="Locale → part → Liquid source.")


class TemplateShown(BaseModel):
    """A draft as returned."""

    model_config = example({
        "name": "parcel-shipped.push", **TEMPLATE, "state": "published", "version": 4, "published": 3,
        "changed_at": "2027-03-01T09:00:00Z",
    })  # fmt: skip
    name: str
    channel: ChannelWord
    description: str
    locales: LocaleMap
    state: Literal["draft", "published", "changed"] = Field(description="changed: edited since it was published.")
    version: int = Field(description="Version of the draft; its entity tag.")
    published: int | None = Field(description="The latest published version.")
    changed_at: AwareDatetime


class VersionShown(BaseModel):
    """A published version."""

    model_config = example({
        "name": "parcel-shipped.push", "channel": "push", "version": 3, "locales": LOCALES, "digest": "ab" * 32,
        "published_at": "2027-03-01T09:00:00Z", "published_by": "7mxq4zdkzt3la5vw",
    })  # fmt: skip
    name: str
    channel: ChannelWord
    version: int
    locales: LocaleMap
    digest: str = Field(description="SHA-256 of channel and locales, in hex.")
    published_at: AwareDatetime
    published_by: str


class Wanted(BaseModel):
    """The templates that a communication names."""

    model_config = example({"names": ["parcel-shipped.push"]})
    names: list[Annotated[str, StringConstraints(max_length=100)]] = Field(max_length=1000)


class Found(BaseModel):
    """The published ones of them, by name."""

    templates: dict[str, VersionShown]


class PreviewBody(BaseModel):
    """The values to render with; missing ones are made up."""

    model_config = example({
        "locale": "de-AT", "event": EVENT, "recipient": {"first_name": "Jörg", "zone": "Europe/Vienna"},
    })  # fmt: skip
    locale: str | None = Field(None, max_length=35, description="The recipient's locale; a region falls back.")
    version: int | None = Field(None, ge=1, le=2**31 - 1, description="A published version; default: the draft.")
    event: dict[str, Any] | None = Field(None, description="id, type, source, subject, time and data, as sent.")
    recipient: dict[str, Any] | None = Field(None, description="key, first_name, last_name, locale, zone, attributes.")
    event_schema: dict[str, Any] | None = Field(
        None, description="The event type's JSON Schema: what it does not require may be missing, as when it is sent."
    )
    links: dict[str, str] | None = Field(None, description="Links that delivery signs: unsubscribe.")


class PreviewShown(BaseModel):
    """What the recipient would get."""

    model_config = example({
        "locale": "de", "digest": "ab" * 32, "warnings": [], "sizes": {"bytes": 402, "limit_bytes": 4096},
        "parts": {"title": "Dein Paket ist unterwegs", "body": "Jörg, Bestellung B-1042 ist unterwegs.",
                  "image": None, "link": "https://track.example/00340434161094042557", "data": {},
                  "collapse_key": None, "ttl_seconds": None},
    })  # fmt: skip
    locale: str = Field(description="The locale that was chosen.")
    parts: dict[str, Any] = Field(description="The rendered parts; a missing text part of a mail is derived.")
    sizes: dict[str, Any] = Field(description="Bytes, and for SMS the segments, the encoding and its units.")
    warnings: list[str]
    digest: str = Field(description="SHA-256 of the content, in hex, as compared by history.")


def shown(template: Template) -> TemplateShown:
    """Return a draft's response."""
    fields = ("name", "description", "locales", "state", "version", "published", "changed_at")
    return TemplateShown.model_validate(
        {"channel": template.channel.word} | {name: getattr(template, name) for name in fields}
    )


def shown_version(version: Version) -> VersionShown:
    """Return a version's response."""
    fields = ("name", "version", "locales", "published_at", "published_by")
    return VersionShown.model_validate(
        {"channel": version.channel.word, "digest": version.digest.hex()}
        | {name: getattr(version, name) for name in fields}
    )
