"""A recipient's profile: its allowed values, and how a change applies to it."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import time
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from libs import exact_json
from libs.addresses import Address
from libs.contracts.outcomes import Channel, Mode
from libs.errors import Invalid
from libs.ids import RecipientKey
from services.tokens.domain.consents import Statement

MASK = "•••"
MAX_NAME = 200
MAX_ID = 200
MAX_ATTRIBUTES_BYTES = 16_384
MAX_ATTRIBUTES = 100
MAX_ATTRIBUTES_DEPTH = 5
MAX_ADDRESSES = 20  # per recipient and channel

_KEY = re.compile(r"(customer|installation):(\S{1,200})")
_LOCALE = re.compile(
    r"([A-Za-z]{2,3})([-_][A-Za-z]{4})?([-_](?:[A-Za-z]{2}|[0-9]{3}))?"
    # Phones append variants, calendars and first days of the week (RFC 5646 §2.2.5 to 2.2.7), and POSIX appends
    # encodings: no text of ours depends on them.
    r"(?:[-_](?:[A-Za-z0-9]{5,8}|[0-9][A-Za-z0-9]{3}))*(?:[-_][A-Za-wyz0-9](?:[-_][A-Za-z0-9]{2,8})+)*"
    r"(?:[-_][Xx](?:[-_][A-Za-z0-9]{1,8})+)?(?:\.[A-Za-z0-9-]{1,20})?(?:@[A-Za-z0-9=;-]{1,100})?"
)
_ZONE = re.compile(r"[A-Za-z0-9_+-]{1,32}(/[A-Za-z0-9_+-]{1,32}){0,2}")
_OFFSET = re.compile(r"(?:GMT|UTC)([+-])0?([0-9]|1[0-4])(?::?00)?")  # how phones without a place name it
_CLOCK_TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")


@dataclass(frozen=True, slots=True)
class Realm:
    """Tenant and mode: on every row, and in every query."""

    tenant: int
    mode: Mode


@dataclass(frozen=True, slots=True)
class Profile:
    """A recipient's names and preferences."""

    first_name: str | None = None
    last_name: str | None = None
    locale: str | None = None
    zone: str | None = None
    quiet_hours: Mapping[str, Any] | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)


PROFILE_FIELDS = tuple(item.name for item in fields(Profile))


@dataclass(frozen=True, slots=True)
class Device:
    """An app installation that reported its address; `address.kind` is fcm_token or fid."""

    installation: str
    address: Address
    platform: str | None = None
    app_version: str | None = None
    locale: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change of one recipient. Fields that are not given stay unchanged, unless `whole` (PUT).

    `addresses` has the whole new set for each channel that it names; attributes are merged (null removes one)."""

    key: RecipientKey
    profile: Mapping[str, Any] = field(default_factory=dict)
    addresses: Mapping[Channel, tuple[Address, ...]] = field(default_factory=dict)
    devices: tuple[Device, ...] = ()
    statements: tuple[Statement, ...] = ()
    whole: bool = False


def changed_profile(current: Profile, change: Change) -> tuple[Profile, tuple[str, ...]]:
    """Return the profile after the change, and the fields that differ. Raises Invalid if attributes
    become too large."""
    given = dict(change.profile)
    if change.whole:
        given = asdict(Profile()) | given
    elif given.get("attributes") is not None:
        merged = {**current.attributes, **given["attributes"]}
        given["attributes"] = {name: value for name, value in merged.items() if value is not None}
    if given.get("attributes", {}) is None:
        given["attributes"] = {}
    after = replace(current, **given)
    differing = tuple(name for name in PROFILE_FIELDS if getattr(current, name) != getattr(after, name))
    if "attributes" in differing:
        try:
            check_attributes(after.attributes)
        except ValueError as error:
            raise Invalid(str(error), pointer="/attributes") from error
    return after, differing


def recipient_key(text: str) -> RecipientKey:
    """Return a key in its one form. Raises ValueError with a sentence."""
    if not _KEY.fullmatch(text) or not text.isprintable():
        raise ValueError(
            "A recipient's key must be customer:<the shop's id> or installation:<id>, "
            f"with an id of 1 to {MAX_ID} visible characters."
        )
    return RecipientKey(text)


def installation_id(text: str) -> str:
    """Return the id of an app installation, as the app chose it. Raises ValueError with a sentence."""
    recipient_key(f"installation:{text}")
    return text


def may_own(key: RecipientKey, installation: str) -> bool:
    """Whether a device may belong to a recipient: to any customer, and to its own installation."""
    return not key.startswith("installation:") or key == f"installation:{installation}"


def plain_text(text: str) -> str | None:
    """Return a name or label on one line, in NFC; None if empty. Raises ValueError with a sentence."""
    # a line break in a name comes from a spreadsheet's wrapping; in a subject or an SMS it would be an accident
    cleaned = " ".join(unicodedata.normalize("NFC", text).split())
    if len(cleaned) > MAX_NAME:
        raise ValueError(f"At most {MAX_NAME} characters; this has {len(cleaned)}.")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in cleaned):
        raise ValueError("Control characters are not allowed; remove them.")
    if MASK in cleaned:
        raise ValueError("This is the masked value; read it with the scope pii:read, or leave the field out.")
    return cleaned or None


def locale_tag(text: str) -> str | None:
    """Return a BCP 47 language tag in its usual case (de, de-AT, zh-Hant-TW), without variants and extensions.

    Raises ValueError with a sentence."""
    match = _LOCALE.fullmatch(text.strip())
    if not text.strip():
        return None
    if match is None:
        raise ValueError(
            "A locale must be a language with an optional script and region, like de, de-AT or zh-Hant-TW."
        )
    language, script, region = (part.strip("-_") if part else "" for part in match.groups())
    return "-".join(part for part in (language.lower(), script.title(), region.upper()) if part)


@lru_cache(maxsize=1024)
def time_zone(text: str) -> str | None:
    """Return a zone of the IANA database. Raises ValueError with a sentence."""
    name = text.strip()
    if not name:
        return None
    if offset := _OFFSET.fullmatch(name):  # Etc/ counts the other way
        name = f"Etc/GMT{'-' if offset[1] == '+' else '+'}{offset[2]}"
    try:
        if not _ZONE.fullmatch(name):
            raise ValueError(name)
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError("This is not a time zone of the IANA database; use a name like Europe/Berlin.") from error
    return name


def clock_time(text: str) -> str:
    """Return a time of day, HH:MM. Raises ValueError with a sentence."""
    if not _CLOCK_TIME.fullmatch(text):
        raise ValueError("A time of day must have the form HH:MM, from 00:00 to 23:59.")
    return time.fromisoformat(text).strftime("%H:%M")


def check_attributes(attributes: Mapping[str, Any]) -> None:
    """Check that attributes are small enough to be read for each message. Raises ValueError with a sentence."""
    if len(attributes) > MAX_ATTRIBUTES:
        raise ValueError(f"At most {MAX_ATTRIBUTES} attributes; this would have {len(attributes)}.")
    if any(not name or len(name) > 64 for name in attributes):
        raise ValueError("An attribute's name must have 1 to 64 characters.")
    if _depth(attributes) > MAX_ATTRIBUTES_DEPTH:
        raise ValueError(f"Attributes may be nested at most {MAX_ATTRIBUTES_DEPTH} deep; flatten them.")
    raw = exact_json.dumps(attributes)
    if len(raw) > MAX_ATTRIBUTES_BYTES:
        raise ValueError(
            f"Attributes may take at most {MAX_ATTRIBUTES_BYTES:,} bytes of JSON; these take {len(raw):,}."
        )
    if MASK.encode() in raw:
        raise ValueError("These contain masked values; read them with the scope pii:read, or leave them out.")


def _depth(value: Any) -> int:
    if isinstance(value, Mapping):
        return 1 + max((_depth(item) for item in value.values()), default=0)
    if isinstance(value, list | tuple):
        return 1 + max((_depth(item) for item in value), default=0)
    return 0
