"""Templates and their validation: the parts of each channel, names, versions. Pure."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from libs import exact_json
from libs.contracts.outcomes import Channel
from libs.errors import FieldError
from libs.rendering.limits import MAX_SOURCE

Parts = Mapping[str, Any]
Locales = Mapping[str, Parts]

NAME = r"^[a-z0-9][a-z0-9._-]{0,99}$"
MAX_LOCALES = 100

_LOCALE = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?")


@dataclass(frozen=True, slots=True)
class Shape:
    """The parts of a channel: required and optional ones."""

    required: frozenset[str]
    optional: frozenset[str]


SHAPES: Mapping[Channel, Shape] = {
    Channel.PUSH: Shape(
        frozenset({"title", "body"}), frozenset({"image", "link", "data", "collapse_key", "ttl_seconds"})
    ),
    Channel.EMAIL: Shape(frozenset({"subject", "html"}), frozenset({"text", "preheader", "from_name", "reply_to"})),
    Channel.SMS: Shape(frozenset({"text"}), frozenset()),
    Channel.WEBHOOK: Shape(frozenset({"json"}), frozenset()),
}


@dataclass(frozen=True, slots=True)
class Template:
    """A draft. `version` grows with each edit; `published` is its latest published version."""

    name: str
    channel: Channel
    description: str
    locales: Locales
    version: int
    published: int | None
    published_draft: int | None
    changed_at: datetime

    @property
    def state(self) -> str:
        """draft (never published), published, or changed (edited since)."""
        if self.published is None:
            return "draft"
        return "published" if self.published_draft == self.version else "changed"


@dataclass(frozen=True, slots=True)
class Version:
    """A published version; never changed."""

    name: str
    version: int
    channel: Channel
    locales: Locales
    digest: bytes
    published_at: datetime
    published_by: str


def digest(channel: Channel, locales: Locales) -> bytes:
    """Hash a version's content in 32 bytes: equal content has the same digest."""
    ordered = {locale: dict(sorted(parts.items())) for locale, parts in sorted(locales.items())}
    return hashlib.sha256(exact_json.dumps([channel.word, ordered])).digest()


def problems_of_shape(channel: Channel, locales: Locales) -> Iterator[FieldError]:
    """Yield unknown and missing parts, names that are not locales, and oversized texts."""
    if not locales:
        yield FieldError("/locales", "A template needs at least one locale, for instance `en`.")
    if len(locales) > MAX_LOCALES:
        yield FieldError("/locales", f"There are more than {MAX_LOCALES} locales.")
    shape = SHAPES[channel]
    for locale, parts in locales.items():
        place = f"/locales/{_escaped(locale)}"
        if not _LOCALE.fullmatch(locale):
            yield FieldError(place, "Not a locale: write a language and optionally a region, like `de` or `de-AT`.")
        for missing in sorted(shape.required - parts.keys()):
            yield FieldError(f"{place}/{missing}", f"A template for {channel.word} needs the part `{missing}`.")
        for name, value in parts.items():
            yield from _problems_of_part(channel, f"{place}/{_escaped(name)}", name, value)


def _problems_of_part(channel: Channel, place: str, name: str, value: Any) -> Iterator[FieldError]:
    shape = SHAPES[channel]
    if name not in shape.required | shape.optional:
        known = ", ".join(sorted(shape.required | shape.optional))
        yield FieldError(place, f"A template for {channel.word} has no part `{name}`; its parts are {known}.")
    elif name == "data":
        if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
            yield FieldError(place, "`data` is a map of names to texts.")
    elif name == "ttl_seconds":
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 2_419_200:
            yield FieldError(place, "`ttl_seconds` is a whole number from 0 to 2419200 (28 days, FCM's limit).")
    elif not isinstance(value, str):
        yield FieldError(place, f"`{name}` is a text.")
    elif len(value) > MAX_SOURCE:
        yield FieldError(place, f"It has more than {MAX_SOURCE:,} characters.")
    elif name in shape.required and not value.strip():
        yield FieldError(place, f"`{name}` is empty.")


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
